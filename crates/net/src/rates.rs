use std::time::Duration;

use leaky_bucket::RateLimiter;

/// How often a limit's bucket is filled, and so how long one answer may take the whole line.
const REFILL_INTERVAL: Duration = Duration::from_millis(20);

/// How many refills a bucket holds: what was not used for longer is lost.
const REFILLS_HELD: usize = 5;

/// Limits on the bytes of answers, both ways, over all peers.
pub(crate) struct Rates {
    upload: Option<RateLimiter>,
    download: Option<RateLimiter>,
}

impl Rates {
    /// *Units:* bytes per second.
    pub(crate) fn new(upload: Option<u64>, download: Option<u64>) -> Self {
        Self { upload: upload.map(limiter), download: download.map(limiter) }
    }

    /// Waits until so many bytes may be sent.
    pub(crate) async fn sending(&self, bytes: usize) {
        if let Some(limiter) = &self.upload {
            limiter.acquire(bytes).await;
        }
    }

    /// Waits until so many bytes, which have been read, may be followed by others.
    pub(crate) async fn received(&self, bytes: usize) {
        if let Some(limiter) = &self.download {
            limiter.acquire(bytes).await;
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
            rates.sending(256 << 10).await;
        }
        let sent = begun.elapsed().as_secs_f64();
        assert!((9.8..10.3).contains(&sent), "{sent}");
        let begun = Instant::now();
        for _ in 0..40 {
            rates.received(256 << 10).await;
        }
        let received = begun.elapsed().as_secs_f64();
        assert!((2.4..2.6).contains(&received), "{received}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let rates = Rates::new(None, None);
        let begun = Instant::now();
        rates.sending(usize::MAX).await;
        rates.received(usize::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_is_lost() {
        let rates = Rates::new(Some(1 << 20), None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        rates.sending(1 << 20).await;
        assert!(begun.elapsed() > Duration::from_millis(850), "{:?}", begun.elapsed());
    }
}
