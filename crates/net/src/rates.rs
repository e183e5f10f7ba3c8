use std::time::Duration;

use leaky_bucket::RateLimiter;

use crate::protocol::Protocol;

/// How often a limit's bucket is filled, and so how long one answer may take the whole line.
const REFILL_INTERVAL: Duration = Duration::from_millis(20);

/// How many refills a bucket holds: what was not used for longer is lost.
const REFILLS_HELD: usize = 5;

/// Limits on the bytes of answers, both ways, over all peers.
///
/// States, and what is said of the chain, have a bucket each: on a line that is full of parts a head
/// or a chunk's outputs would otherwise wait behind megabytes, and a node that fetches would lose the
/// chain that it follows.
pub(crate) struct Rates {
    upload: Option<Buckets>,
    download: Option<Buckets>,
}

/// One way's buckets, filled at the same rate.
struct Buckets {
    state: RateLimiter,
    chain: RateLimiter,
}

impl Rates {
    /// *Units:* bytes per second.
    pub(crate) fn new(upload: Option<u64>, download: Option<u64>) -> Self {
        Self { upload: upload.map(Buckets::new), download: download.map(Buckets::new) }
    }

    /// Waits until so many bytes may be sent.
    pub(crate) async fn sending(&self, of: Protocol, bytes: usize) {
        if let Some(buckets) = &self.upload {
            buckets.take(of, bytes).await;
        }
    }

    /// Waits until so many bytes, which have been read, may be followed by others.
    pub(crate) async fn received(&self, of: Protocol, bytes: usize) {
        if let Some(buckets) = &self.download {
            buckets.take(of, bytes).await;
        }
    }
}

impl Buckets {
    fn new(bytes_per_second: u64) -> Self {
        Self { state: limiter(bytes_per_second), chain: limiter(bytes_per_second) }
    }

    async fn take(&self, of: Protocol, bytes: usize) {
        match of {
            Protocol::Outline | Protocol::Parts => self.state.acquire(bytes).await,
            Protocol::Control | Protocol::Outputs => {
                // States leave room for the chain, where they do not wait for room themselves.
                let _ = self.state.try_acquire(bytes);
                self.chain.acquire(bytes).await;
            }
        }
    }
}

fn limiter(bytes_per_second: u64) -> RateLimiter {
    // A limit that does not fit is beyond what any machine moves.
    let bytes = usize::try_from(bytes_per_second).unwrap_or(usize::MAX);
    let refill = (bytes / 50).max(1);
    RateLimiter::builder()
        .interval(REFILL_INTERVAL)
        .refill(refill)
        .max(refill.saturating_mul(REFILLS_HELD))
        .initial(refill)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn bytes_take_the_time_that_the_limit_says() {
        let rates = Rates::new(Some(1 << 20), Some(4 << 20));
        let begun = Instant::now();
        for _ in 0..40 {
            rates.sending(Protocol::Parts, 256 << 10).await;
        }
        let sent = begun.elapsed().as_secs_f64();
        assert!((9.8..10.3).contains(&sent), "{sent}");
        let begun = Instant::now();
        for _ in 0..40 {
            rates.received(Protocol::Parts, 256 << 10).await;
        }
        let received = begun.elapsed().as_secs_f64();
        assert!((2.4..2.6).contains(&received), "{received}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_chain_does_not_wait_behind_states_and_has_a_limit_too() {
        let rates = std::sync::Arc::new(Rates::new(None, Some(100 << 10)));
        for _ in 0..100 {
            let rates = std::sync::Arc::clone(&rates);
            tokio::spawn(async move { rates.received(Protocol::Parts, 256 << 10).await });
        }
        tokio::task::yield_now().await;
        let begun = Instant::now();
        rates.received(Protocol::Control, 1 << 10).await;
        assert!(begun.elapsed() < Duration::from_millis(50), "{:?}", begun.elapsed());
        rates.received(Protocol::Outputs, 1 << 20).await;
        assert!(begun.elapsed() > Duration::from_secs(9), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let rates = Rates::new(None, None);
        let begun = Instant::now();
        rates.sending(Protocol::Parts, usize::MAX).await;
        rates.received(Protocol::Outputs, usize::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_is_lost() {
        let rates = Rates::new(Some(1 << 20), None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        rates.sending(Protocol::Control, 1 << 20).await;
        assert!(begun.elapsed() > Duration::from_millis(850), "{:?}", begun.elapsed());
    }
}
