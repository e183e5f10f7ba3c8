use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Prometheus, a few probes and an operator need one each.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// How long a newcomer waits for a place before it is given the oldest one's: long for a request
/// that is answered in a millisecond, short for a person.
const PLACE_PATIENCE: Duration = Duration::from_millis(250);

/// The connections that are served now, of which there are at most [`CONNECTIONS_MAX`].
///
/// Where all places are taken, the connection that has its own for longest makes room: since each is
/// for one request, that one is slow, and slow clients never keep others out. All end with this.
#[derive(Default)]
pub(super) struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first.
    by_age: VecDeque<AbortHandle>,
}

impl Connections {
    /// Serves one more connection, as soon as there is a place.
    pub(super) async fn admit(&mut self, serve: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.try_join_next().is_some() {}
        while self.tasks.len() >= CONNECTIONS_MAX {
            if timeout(PLACE_PATIENCE, self.tasks.join_next()).await.is_err() {
                self.drop_oldest();
            }
        }
        self.by_age.retain(|task| !task.is_finished());
        self.by_age.push_back(self.tasks.spawn(serve));
    }

    /// Returns when a connection has ended; never if there is none.
    pub(super) async fn ended(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when every connection has ended.
    pub(super) async fn all_ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn drop_oldest(&mut self) {
        self.by_age.retain(|task| !task.is_finished());
        if let Some(oldest) = self.by_age.pop_front() {
            oldest.abort();
            metrics::counter!("ketch_http_dropped_connections_count").increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;

    /// A connection that never ends by itself; the other end tells when it was dropped.
    fn slow() -> (impl Future<Output = ()> + Send + 'static, oneshot::Receiver<()>) {
        let (alive, dropped) = oneshot::channel();
        let serve = async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        };
        (serve, dropped)
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_connection_makes_room_and_no_other() {
        let mut connections = Connections::default();
        let mut dropped = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let (serve, ended) = slow();
            connections.admit(serve).await;
            dropped.push(ended);
        }
        let full = Instant::now();
        connections.admit(async {}).await;
        assert_eq!(full.elapsed(), PLACE_PATIENCE);
        assert!(dropped.remove(0).await.is_err());
        for ended in &mut dropped {
            assert_eq!(ended.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        }
        assert_eq!(connections.tasks.len(), CONNECTIONS_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn quick_connections_are_all_served_without_waiting() {
        let mut connections = Connections::default();
        let begun = Instant::now();
        let (count, mut counted) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..10 * CONNECTIONS_MAX {
            let count = count.clone();
            connections.admit(async move { count.send(()).unwrap() }).await;
        }
        drop(count);
        connections.all_ended().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        let mut served = 0;
        while counted.recv().await.is_some() {
            served += 1;
        }
        assert_eq!(served, 10 * CONNECTIONS_MAX);
        assert!(connections.by_age.len() <= CONNECTIONS_MAX);
    }
}
