//! How catching up goes, for whoever watches the process: lines in the log, or bars.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use crate::figure::{Known, PercentFigure, RateFigure, TimeFigure};
use crate::status::{NodeStatus, ShardReport};
use crate::terminal::Terminal;

/// How often a line tells of a shard: seldom enough to be read, often enough to see a stall.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// A bar's template: the message tells all figures, so that bars and lines say the same.
const BAR: &str = "{prefix:>10} [{bar:30}] {msg}";

/// Tells of every shard that is being caught up, as bars on a terminal that shows them and as lines
/// in the log elsewhere, until nobody tells the node's status any more.
pub async fn show_progress(terminal: Terminal, status: watch::Receiver<Arc<NodeStatus>>) {
    match terminal.bars() {
        Some(bars) => show_bars(bars, status).await,
        None => log_lines(status).await,
    }
}

async fn log_lines(mut status: watch::Receiver<Arc<NodeStatus>>) {
    let mut ticks = interval_at(Instant::now() + LINE_INTERVAL, LINE_INTERVAL);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let now = Arc::clone(&status.borrow());
                now.shards.iter().filter(|report| report.is_catching_up()).for_each(log_line);
            }
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

fn log_line(report: &ShardReport) {
    let figures = Figures::of(report);
    tracing::info!(
        shard = report.shard,
        phase = report.phase,
        percent = %figures.percent,
        rate = %figures.rate,
        eta = %figures.eta,
        margin = %figures.margin,
        "catching up"
    );
}

async fn show_bars(bars: &MultiProgress, mut status: watch::Receiver<Arc<NodeStatus>>) {
    let mut shown = Bars { all: bars, of: BTreeMap::new() };
    loop {
        let now = Arc::clone(&status.borrow_and_update());
        shown.show(&now);
        if status.changed().await.is_err() {
            return;
        }
    }
}

/// The bars that are shown, which are taken away with this.
struct Bars<'a> {
    all: &'a MultiProgress,
    of: BTreeMap<u32, ProgressBar>,
}

impl Bars<'_> {
    fn show(&mut self, status: &NodeStatus) {
        let reports = status.shards.iter().filter(|report| report.is_catching_up());
        let reports: BTreeMap<_, _> = reports.map(|report| (report.shard, report)).collect();
        self.of.retain(|shard, bar| {
            let stays = reports.contains_key(shard);
            if !stays {
                self.all.remove(bar);
            }
            stays
        });
        for (shard, report) in reports {
            let bar = self.of.entry(shard).or_insert_with(|| self.all.add(bar(shard)));
            bar.set_length(report.bytes);
            bar.set_position(report.bytes_held.min(report.bytes));
            let Figures { percent, rate, eta, margin } = Figures::of(report);
            let phase = &report.phase;
            bar.set_message(format!("{percent:>6} {rate:>12} eta {eta} margin {margin} {phase}"));
        }
    }
}

impl Drop for Bars<'_> {
    fn drop(&mut self) {
        self.of.values().for_each(|bar| self.all.remove(bar));
    }
}

fn bar(shard: u32) -> ProgressBar {
    // The template is ours and right; if it were not, the default shows the same shares.
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_prefix(format!("shard {shard}"))
}

/// The figures of a shard that is being caught up, as they are shown.
pub(crate) struct Figures {
    pub(crate) percent: Known<PercentFigure>,
    pub(crate) rate: Known<RateFigure>,
    pub(crate) eta: Known<TimeFigure>,
    pub(crate) margin: Known<TimeFigure>,
}

impl Figures {
    pub(crate) fn of(report: &ShardReport) -> Self {
        Self {
            percent: Known(report.fraction_held().map(PercentFigure)),
            rate: Known(report.is_catching_up().then_some(RateFigure(report.bytes_per_second))),
            eta: Known(report.eta_seconds.map(TimeFigure)),
            margin: Known(report.margin_seconds.map(TimeFigure)),
        }
    }
}

#[cfg(test)]
mod tests;
