use prost::Message;
use thiserror::Error;

use crate::fault::WireFault;
use crate::holding::Holding;
use crate::limits::{EXPIRY_AHEAD_MAX, GOSSIP_BYTES_MAX};
use crate::{proto, scan};

/// What a peer tells everybody that it holds: a hint, which asking it confirms.
///
/// *Units:* milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// What is held; nothing, if the announcement is a withdrawal.
    pub holding: Holding,
    /// Rises with every announcement of this peer for this shard, across restarts too.
    pub sequence: u64,
    /// From when on the announcement says nothing any more.
    pub expires_at_ms: u64,
}

/// Why an announcement is not taken for its expiry. Clocks differ, so it is ignored, not blamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExpiryError {
    /// It has expired.
    #[error("the announcement has expired {0} ms ago")]
    Past(u64),
    /// It expires more than [`EXPIRY_AHEAD_MAX`] from now.
    #[error("the announcement expires in {0} ms, which is too far ahead")]
    TooFarAhead(u64),
}

impl Announcement {
    /// The announcement as a gossip message.
    pub fn encode(&self) -> Vec<u8> {
        let message = proto::Announcement {
            holding: Some((&self.holding).into()),
            sequence: self.sequence,
            expires_at_ms: self.expires_at_ms,
        };
        message.encode_to_vec()
    }

    /// The announcement that a gossip message holds.
    ///
    /// *Errors:* see [`WireFault`].
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let message: proto::Announcement = scan::decode(bytes, GOSSIP_BYTES_MAX, &[])?;
        Ok(Self {
            holding: message.holding.unwrap_or_default().try_into()?,
            sequence: message.sequence,
            expires_at_ms: message.expires_at_ms,
        })
    }

    /// Checks that the announcement has not expired at `now_ms` and does so within an hour.
    ///
    /// *Errors:* see [`ExpiryError`].
    pub fn check_expiry(&self, now_ms: u64) -> Result<(), ExpiryError> {
        let ahead_max_ms = u64::try_from(EXPIRY_AHEAD_MAX.as_millis()).unwrap_or(u64::MAX);
        match self.expires_at_ms.checked_sub(now_ms) {
            None | Some(0) => Err(ExpiryError::Past(now_ms.saturating_sub(self.expires_at_ms))),
            Some(ahead) if ahead > ahead_max_ms => Err(ExpiryError::TooFarAhead(ahead)),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::TooLong;
    use crate::limits::PART_COUNT_MAX;
    use ketch_types::{Epoch, PartIndex, PartSet, ShardId, StateRoot};

    fn announcement(held: PartSet) -> Announcement {
        let root = StateRoot::new([0xaa; 32]);
        let holding = Holding::new(ShardId(1), Epoch(2), root, 3, held).unwrap();
        Announcement { holding, sequence: 300, expires_at_ms: 5_000_000 }
    }

    #[test]
    fn an_announcement_has_fixed_bytes() {
        let bytes = announcement(PartSet::full(7)).encode();
        let root = "aa".repeat(32);
        let bitmap = "3b3000000100000600010000000600";
        let golden = format!("0a3b080110021a20{root}20032807320f{bitmap}10ac0218c096b102");
        assert_eq!(hex::encode(&bytes), golden);
        assert_eq!(Announcement::decode(&bytes), Ok(announcement(PartSet::full(7))));
    }

    #[test]
    fn the_largest_announcement_fits_its_limit_and_no_byte_more_is_read() {
        let mut held = PartSet::empty(PART_COUNT_MAX);
        (0..PART_COUNT_MAX).filter(|part| part % 3 > 0).for_each(|part| {
            held.insert(PartIndex(part));
        });
        let largest = announcement(held);
        assert_eq!(Announcement::decode(&largest.encode()), Ok(largest));
        let too_long = TooLong { bytes: GOSSIP_BYTES_MAX + 1, bytes_max: GOSSIP_BYTES_MAX };
        let bytes = vec![0; GOSSIP_BYTES_MAX + 1];
        assert_eq!(Announcement::decode(&bytes), Err(too_long.into()));
    }

    #[test]
    fn an_announcement_without_a_holding_is_refused() {
        assert_eq!(Announcement::decode(&[0x10, 1]), Err(WireFault::HashBytes(0)));
    }

    #[test]
    fn an_announcement_counts_until_it_expires_and_not_for_longer_than_an_hour() {
        let at = |now_ms| announcement(PartSet::empty(7)).check_expiry(now_ms);
        assert_eq!(at(4_999_999), Ok(()));
        assert_eq!(at(5_000_000), Err(ExpiryError::Past(0)));
        assert_eq!(at(u64::MAX), Err(ExpiryError::Past(u64::MAX - 5_000_000)));
        assert_eq!(at(1_400_000), Ok(()));
        assert_eq!(at(1_399_999), Err(ExpiryError::TooFarAhead(3_600_001)));
    }
}
