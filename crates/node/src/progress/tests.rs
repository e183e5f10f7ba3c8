use std::fmt::Debug;
use std::sync::Mutex;

use indicatif::ProgressDrawTarget;
use tokio::task::yield_now;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use super::*;

/// The events of this thread, each as its fields on one line.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

fn report(shard: u32, phase: &str) -> ShardReport {
    ShardReport {
        shard,
        phase: phase.into(),
        parts: 4,
        parts_held: 1,
        bytes: 4 << 20,
        bytes_held: 1 << 20,
        bytes_per_second: 1 << 20,
        eta_seconds: Some(3.0),
        margin_seconds: Some(-0.5),
        ..ShardReport::default()
    }
}

fn status(shards: Vec<ShardReport>) -> Arc<NodeStatus> {
    Arc::new(NodeStatus { shards, ..NodeStatus::default() })
}

#[tokio::test(start_paused = true)]
async fn a_line_each_ten_seconds_tells_of_each_shard_that_is_being_caught_up() {
    let events = Events::default();
    let subscriber = Registry::default().with(events.clone());
    let _here = tracing::subscriber::set_default(subscriber);
    let shards = vec![report(3, "downloading"), report(5, "following"), report(7, "frozen")];
    let (tell, watched) = watch::channel(status(shards));
    let shown = tokio::spawn(show_progress(Terminal::of_bars(None), watched));
    yield_now().await;
    tokio::time::advance(LINE_INTERVAL - Duration::from_millis(1)).await;
    yield_now().await;
    assert_eq!(*events.0.lock().unwrap(), Vec::<String>::new());
    for count in 1..=3 {
        tokio::time::sleep(LINE_INTERVAL).await;
        assert_eq!(events.0.lock().unwrap().len(), count);
    }
    let line = events.0.lock().unwrap()[0].clone();
    let rest = r#"shard=3 phase="downloading" percent=25.0% rate=1.0MiB/s eta=3.0s margin=-0.5s"#;
    assert!(line.contains("catching up") && line.contains(rest), "{line}");
    drop(tell);
    shown.await.unwrap();
}

#[tokio::test]
async fn a_bar_is_there_for_as_long_as_its_shard_is_being_caught_up() {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    let mut bars = Bars { all: &all, of: BTreeMap::new() };
    bars.show(&status(vec![report(3, "downloading"), report(5, "locating")]));
    assert_eq!(bars.of.keys().copied().collect::<Vec<_>>(), [3, 5]);
    let bar = bars.of[&3].clone();
    assert_eq!((bar.position(), bar.length()), (1 << 20, Some(4 << 20)));
    assert_eq!(bar.message(), " 25.0%     1.0MiB/s eta 3.0s margin -0.5s downloading");
    bars.show(&status(vec![report(3, "following"), report(5, "replaying")]));
    assert_eq!(bars.of.keys().copied().collect::<Vec<_>>(), [5]);
    assert!(bar.is_hidden());
}

#[tokio::test]
async fn bars_end_with_the_node() {
    let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
    let (tell, watched) = watch::channel(status(vec![report(3, "downloading")]));
    let shown = tokio::spawn(show_progress(Terminal::of_bars(Some(all)), watched));
    tell.send(status(vec![report(3, "replaying")])).unwrap();
    drop(tell);
    shown.await.unwrap();
}
