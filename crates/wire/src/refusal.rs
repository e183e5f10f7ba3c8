use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::WireFault;
use crate::limits::RETRY_AFTER_MAX;
use crate::proto;

/// Why a request is not answered, or not in full. None of them is a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Refusal {
    /// The node does not have it: ask another, and remember it.
    NotHeld,
    /// The node dropped it as too old: ask another; if all say so, the target has moved.
    NotRetained,
    /// Not now: ask again later, and others meanwhile.
    Busy {
        /// How long to wait. It travels in whole milliseconds, rounded up, and never as more than
        /// [`RETRY_AFTER_MAX`].
        retry_after: Duration,
    },
    /// The node's software does not answer such requests: do not ask it for that again.
    Unsupported,
    /// The request breaks a rule of the protocol: whoever made it has an error.
    Invalid,
}

impl Refusal {
    /// The reason and the milliseconds to wait, as messages carry them.
    pub(crate) fn to_fields(refusal: Option<Refusal>) -> (i32, u64) {
        match refusal {
            None => (0, 0),
            Some(Refusal::NotHeld) => (1, 0),
            Some(Refusal::NotRetained) => (2, 0),
            Some(Refusal::Busy { retry_after }) => (3, whole_millis(retry_after)),
            Some(Refusal::Unsupported) => (4, 0),
            Some(Refusal::Invalid) => (5, 0),
        }
    }

    /// The refusal that a message's fields say, if they say one.
    pub(crate) fn from_fields(reason: i32, retry_ms: u64) -> Result<Option<Refusal>, WireFault> {
        let retry_after = Duration::from_millis(retry_ms);
        let refusal = match reason {
            0 => None,
            1 => Some(Refusal::NotHeld),
            2 => Some(Refusal::NotRetained),
            3 if retry_after <= RETRY_AFTER_MAX => return Ok(Some(Refusal::Busy { retry_after })),
            3 => return Err(WireFault::RetryAfter(retry_ms)),
            4 => Some(Refusal::Unsupported),
            5 => Some(Refusal::Invalid),
            _ => return Err(WireFault::Reason(reason)),
        };
        if retry_ms == 0 { Ok(refusal) } else { Err(WireFault::RetryAfter(retry_ms)) }
    }
}

impl From<Refusal> for proto::Refusal {
    fn from(refusal: Refusal) -> Self {
        let (reason, retry_after_ms) = Refusal::to_fields(Some(refusal));
        Self { reason, retry_after_ms }
    }
}

impl TryFrom<proto::Refusal> for Refusal {
    type Error = WireFault;

    fn try_from(message: proto::Refusal) -> Result<Self, WireFault> {
        let refusal = Refusal::from_fields(message.reason, message.retry_after_ms)?;
        refusal.ok_or(WireFault::Reason(message.reason))
    }
}

/// The milliseconds of a wait, rounded up so that nobody comes too early.
fn whole_millis(wait: Duration) -> u64 {
    let nanos = wait.min(RETRY_AFTER_MAX).as_nanos();
    // At most a minute of nanoseconds, which 64 bits hold.
    u64::try_from(nanos.div_ceil(1_000_000)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_and_never_longer_than_a_minute() {
        let travelled = |retry_after| {
            let (reason, ms) = Refusal::to_fields(Some(Refusal::Busy { retry_after }));
            Refusal::from_fields(reason, ms)
        };
        let busy = |ms| Ok(Some(Refusal::Busy { retry_after: Duration::from_millis(ms) }));
        assert_eq!(travelled(Duration::from_micros(1_001)), busy(2));
        assert_eq!(travelled(Duration::MAX), busy(60_000));
        assert_eq!(travelled(Duration::ZERO), busy(0));
    }

    #[test]
    fn a_wait_that_is_too_long_or_without_busy_is_refused() {
        assert_eq!(Refusal::from_fields(3, 60_001), Err(WireFault::RetryAfter(60_001)));
        assert_eq!(Refusal::from_fields(3, u64::MAX), Err(WireFault::RetryAfter(u64::MAX)));
        for reason in [0, 1, 2, 4, 5] {
            assert_eq!(Refusal::from_fields(reason, 1), Err(WireFault::RetryAfter(1)));
        }
    }

    #[test]
    fn an_unknown_reason_is_refused_and_a_refusal_needs_one() {
        for reason in [-1, 6, i32::MIN, i32::MAX] {
            assert_eq!(Refusal::from_fields(reason, 0), Err(WireFault::Reason(reason)));
        }
        let none = proto::Refusal { reason: 0, retry_after_ms: 0 };
        assert_eq!(Refusal::try_from(none), Err(WireFault::Reason(0)));
    }
}
