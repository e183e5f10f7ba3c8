//! Decoding under limits: a message is measured, then the items of its lists are counted where they
//! lie, and only then is anything allocated. Without that, 8 MiB of two-byte items would become
//! four million structs.

use ketch_types::Hash;
use prost::Message;

use crate::fault::{List, TooLong, WireFault};

/// The fields of a message that are counted or gone into, by their numbers; all others are skipped.
pub(crate) type Shape = &'static [(u64, Field)];

/// What is known of a field before it is decoded.
#[derive(Clone, Copy)]
pub(crate) enum Field {
    /// A message with lists of its own.
    Message(Shape),
    /// An item of a list, of messages or of bytes.
    Item(List),
    /// Numbers of a list: one, or many packed into one field.
    Numbers(List),
}

/// The message, of at most `bytes_max` bytes, that `bytes` from a peer are.
pub(crate) fn decode<M: Message + Default>(
    bytes: &[u8],
    bytes_max: usize,
    shape: Shape,
) -> Result<M, WireFault> {
    TooLong::check(bytes.len(), bytes_max)?;
    Counts::default().add_message(bytes, shape)?;
    M::decode(bytes).map_err(|_| WireFault::Malformed)
}

/// The hash that a field holds.
pub(crate) fn hash(bytes: &[u8]) -> Result<Hash, WireFault> {
    bytes.try_into().map(Hash).map_err(|_| WireFault::HashBytes(bytes.len()))
}

/// How many items of each list a message has. They are counted over the whole message, since a
/// message that comes in pieces is one message.
#[derive(Default)]
struct Counts([usize; 6]);

impl Counts {
    /// Counts what a message holds. Recursion goes as deep as `shape`, whatever the bytes are.
    fn add_message(&mut self, bytes: &[u8], shape: Shape) -> Result<(), WireFault> {
        let mut fields = Fields { rest: bytes, open_groups: 0 };
        while let Some(found) = fields.next()? {
            let Some((_, field)) = shape.iter().find(|(known, _)| *known == found.number) else {
                continue;
            };
            match (*field, found.bytes) {
                (Field::Message(shape), Some(bytes)) => self.add_message(bytes, shape)?,
                (Field::Numbers(list), Some(packed)) => self.add(list, numbers_in(packed))?,
                (Field::Item(list) | Field::Numbers(list), _) => self.add(list, 1)?,
                (Field::Message(_), None) => return Err(WireFault::Malformed),
            }
        }
        Ok(())
    }

    fn add(&mut self, list: List, items: usize) -> Result<(), WireFault> {
        let Some(count) = self.0.get_mut(list as usize) else {
            return Err(WireFault::Malformed);
        };
        *count = count.saturating_add(items);
        Ok(list.check(*count)?)
    }
}

/// How many numbers are packed into one field: each ends with the one byte of it below 128.
fn numbers_in(packed: &[u8]) -> usize {
    packed.iter().filter(|byte| **byte < 0x80).count()
}

/// The type of what closes a group.
const GROUP_END: u64 = 4;

/// A field as it lies in the bytes of its message.
struct Found<'a> {
    number: u64,
    /// Its bytes, if it has a length.
    bytes: Option<&'a [u8]>,
}

/// The fields of a message as they lie in its bytes. What is let through here may still be refused
/// by the decoder, never the other way round.
struct Fields<'a> {
    rest: &'a [u8],
    /// How many groups are open: unknown fields of an old kind, skipped with all that is in them.
    open_groups: usize,
}

impl<'a> Fields<'a> {
    /// The next field outside of groups.
    fn next(&mut self) -> Result<Option<Found<'a>>, WireFault> {
        while !self.rest.is_empty() {
            let key = self.varint()?;
            let found = Found { number: key >> 3, bytes: self.value(key & 7)? };
            if self.open_groups == 0 && key & 7 != GROUP_END {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Goes past a value of this type; its bytes, if it has a length.
    fn value(&mut self, wire_type: u64) -> Result<Option<&'a [u8]>, WireFault> {
        match wire_type {
            0 => drop(self.varint()?),
            1 => drop(self.take(8)?),
            2 => {
                let length = self.varint()?;
                return self.take(length).map(Some);
            }
            3 => self.open_groups += 1,
            GROUP_END => {
                self.open_groups = self.open_groups.checked_sub(1).ok_or(WireFault::Malformed)?;
            }
            5 => drop(self.take(4)?),
            _ => return Err(WireFault::Malformed),
        }
        Ok(None)
    }

    fn varint(&mut self) -> Result<u64, WireFault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(WireFault::Malformed)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireFault::Malformed)
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8], WireFault> {
        let bytes = usize::try_from(bytes).map_err(|_| WireFault::Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or(WireFault::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::RuleError;
    use crate::proto;
    use proptest::prelude::*;

    const SHARDS: Shape = &[(1, Field::Numbers(List::SummaryShards))];
    const SUMMARY: Shape = &[(1, Field::Item(List::Holdings)), (2, Field::Item(List::Followings))];
    const RESPONSE: Shape = &[(2, Field::Message(SUMMARY))];

    fn counted(bytes: &[u8], shape: Shape) -> Result<(), WireFault> {
        Counts::default().add_message(bytes, shape)
    }

    fn too_many(list: List) -> Result<(), WireFault> {
        Err(RuleError::TooManyItems(list).into())
    }

    #[test]
    fn millions_of_empty_items_are_counted_and_never_made() {
        let items = [0x0a, 0].repeat(4 << 20);
        assert_eq!(counted(&items, SUMMARY), too_many(List::Holdings));
        assert_eq!(counted(&[0x12, 0].repeat(65), SUMMARY), too_many(List::Followings));
        assert_eq!(counted(&[0x0a, 0, 0x12, 0].repeat(64), SUMMARY), Ok(()));
    }

    #[test]
    fn items_of_a_message_in_pieces_are_counted_together() {
        let piece = [vec![0x12, 66], [0x0a, 0].repeat(33)].concat();
        assert_eq!(counted(&piece, RESPONSE), Ok(()));
        assert_eq!(counted(&piece.repeat(2), RESPONSE), too_many(List::Holdings));
        // What decodes them joins the pieces too.
        let joined = proto::Response::decode(&piece.repeat(2)[..]).unwrap();
        let Some(proto::AnyResponse::Summary(summary)) = joined.response else {
            panic!("{joined:?}")
        };
        assert_eq!(summary.holdings.len(), 66);
    }

    #[test]
    fn numbers_are_counted_packed_and_one_by_one() {
        let packed = |count: u8| [vec![0x0a, 2 * count], [0x80, 1].repeat(count.into())].concat();
        assert_eq!(counted(&packed(16), SHARDS), Ok(()));
        assert_eq!(counted(&packed(17), SHARDS), too_many(List::SummaryShards));
        assert_eq!(counted(&[8, 1].repeat(17), SHARDS), too_many(List::SummaryShards));
        let both = [packed(8), [8, 1].repeat(9)].concat();
        assert_eq!(counted(&both, SHARDS), too_many(List::SummaryShards));
    }

    #[test]
    fn unknown_fields_of_every_kind_are_skipped() {
        let unknown = "9801ff01 990100000000000000009a0103616263 9b010a000a009c01 9d0100000000";
        let unknown = hex::decode(unknown.replace(' ', "")).unwrap();
        assert_eq!(counted(&unknown.repeat(100), SUMMARY), Ok(()));
        assert!(proto::Summary::decode(&unknown[..]).is_ok());
    }

    #[test]
    fn bytes_that_end_within_a_field_are_malformed() {
        for bytes in
            [&[8][..], &[8, 0x80], &[9, 0, 0], &[10, 2, 0], &[13, 0], &[12], &[14], &[0x80]]
        {
            assert_eq!(counted(bytes, SHARDS), Err(WireFault::Malformed), "{bytes:?}");
        }
        let endless = [[8].as_slice(), &[0x80; 10], &[0]].concat();
        assert_eq!(counted(&endless, SHARDS), Err(WireFault::Malformed));
        let beyond = [10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        assert_eq!(counted(&beyond, SHARDS), Err(WireFault::Malformed));
    }

    proptest! {
        /// The decoder takes nothing that was refused here as malformed, and makes no item that was
        /// not counted.
        #[test]
        fn the_decoder_finds_no_more_than_was_counted(
            fields in proptest::collection::vec((0_u8..24, 0_u8..6, any::<u8>()), 0..60),
        ) {
            let bytes: Vec<u8> =
                fields.iter().flat_map(|(key, length, byte)| [key ^ 10, *length, *byte]).collect();
            let mut counts = Counts::default();
            let refused = counts.add_message(&bytes, SUMMARY).is_err();
            if let Ok(summary) = proto::Summary::decode(&bytes[..]) {
                prop_assert!(!refused || counts.0.iter().any(|count| *count > 64));
                let (holdings, followings) = (summary.holdings.len(), summary.following.len());
                prop_assert!(refused || counts.0[1..3] == [holdings, followings]);
            }
        }
    }
}
