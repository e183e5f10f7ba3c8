use ketch_types::{KEY_BYTES_MAX, KeyRange, OutputsRoot, VALUE_BYTES_MAX};
use thiserror::Error;

use crate::chunk_header::{CHUNK_BYTES_MAX, ChunkHeader};
use crate::encoding::{BytesField, DecodeError, ListField, Reader, write_bytes, write_option};
use crate::list_commit::OutputsCommit;
use crate::tree::{OUTPUTS, TreeBuilder};

/// The bytes of a list's count, before its items.
const COUNT_BYTES: usize = 4;

/// What a chunk writes: for each key its new value, or that it is deleted.
///
/// *Shape:* the encoding itself, checked once: keys rise strictly, all limits are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outputs {
    encoded: Vec<u8>,
    count: u32,
}

/// Why outputs are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OutputsError {
    /// A key has 1 to [`KEY_BYTES_MAX`] bytes.
    #[error("an output's key has {0} bytes, not 1 to {KEY_BYTES_MAX}")]
    Key(usize),
    /// A value has at most [`VALUE_BYTES_MAX`] bytes.
    #[error("an output's value has {0} bytes, more than {VALUE_BYTES_MAX}")]
    Value(usize),
    /// A key is not above the one before it.
    #[error("an output's key is not above the one before it")]
    Order,
    /// All together have more than [`CHUNK_BYTES_MAX`] bytes.
    #[error("a chunk's outputs have more than {CHUNK_BYTES_MAX} bytes")]
    Bytes,
}

/// Why a body is not the outputs of a chunk: proof that its sender lies.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OutputsFault {
    /// The body has another size than the header says.
    #[error("the outputs have {got} bytes, the header says {expected}")]
    Bytes {
        /// What the header says.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The body is not a list of outputs.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The body has another number of outputs than the header says.
    #[error("there are {got} outputs, the header says {expected}")]
    Count {
        /// What the header says.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// The outputs do not have the header's root.
    #[error("the outputs do not have the root that the header names")]
    Root,
}

impl Outputs {
    /// The outputs that write these values, in key order; without a value, the key is deleted.
    ///
    /// *Errors:* see [`OutputsError`].
    pub fn new<'a>(
        writes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<Self, OutputsError> {
        let mut outputs = Self { encoded: vec![0; COUNT_BYTES], count: 0 };
        let mut below: &[u8] = &[];
        for (key, value) in writes {
            check_write(below, key, value)?;
            write_bytes(&mut outputs.encoded, key);
            write_option(&mut outputs.encoded, value, write_bytes);
            outputs.count += 1;
            if outputs.bytes() > CHUNK_BYTES_MAX {
                return Err(OutputsError::Bytes);
            }
            below = key;
        }
        if let Some(count) = outputs.encoded.first_chunk_mut() {
            *count = outputs.count.to_le_bytes();
        }
        Ok(outputs)
    }

    /// The outputs that all of `encoded` is the encoding of.
    ///
    /// *Errors:* see [`DecodeError`].
    pub fn decode(encoded: Vec<u8>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(&encoded);
        let count = reader.count(ListField::Outputs)?;
        let mut below: &[u8] = &[];
        for _ in 0..count {
            let (key, value) = read_write(&mut reader)?;
            check_write(below, key, value)?;
            below = key;
        }
        reader.finish()?;
        let outputs = Self { encoded, count };
        if outputs.bytes() > CHUNK_BYTES_MAX {
            return Err(OutputsError::Bytes.into());
        }
        Ok(outputs)
    }

    /// The outputs of the chunk with this trusted header, from the body that a peer sent for it.
    ///
    /// *Errors:* see [`OutputsFault`]; sizes are checked before anything is read or hashed.
    pub fn verify(body: Vec<u8>, header: &ChunkHeader) -> Result<Self, OutputsFault> {
        let expected = header.outputs();
        let got = (body.len() as u64).saturating_sub(COUNT_BYTES as u64);
        if got != expected.bytes {
            return Err(OutputsFault::Bytes { expected: expected.bytes, got });
        }
        let outputs = Self::decode(body)?;
        if outputs.count != expected.count {
            let (expected, got) = (expected.count, outputs.count);
            return Err(OutputsFault::Count { expected, got });
        }
        if outputs.root() != expected.root {
            return Err(OutputsFault::Root);
        }
        Ok(outputs)
    }

    /// The list's one encoding: what is sent and stored.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// The number of outputs.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of all outputs' encodings, without the list's count. *Units:* bytes.
    pub fn bytes(&self) -> u64 {
        (self.encoded.len() - COUNT_BYTES) as u64
    }

    /// The root of the tree over the outputs.
    pub fn root(&self) -> OutputsRoot {
        let mut tree = TreeBuilder::new(&OUTPUTS);
        self.iter_encoded().for_each(|(encoded, ..)| tree.push(encoded));
        OutputsRoot::new(tree.finish())
    }

    /// What a chunk header says of these outputs.
    pub fn commit(&self) -> OutputsCommit {
        OutputsCommit { root: self.root(), count: self.count, bytes: self.bytes() }
    }

    /// The keys that are written, in order, each with its value unless it is deleted.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.iter_encoded().map(|(_, key, value)| (key, value))
    }

    /// Whether every key lies in `range`: a shard's chunk writes to that shard alone.
    pub fn lie_in(&self, range: &KeyRange) -> bool {
        self.iter().all(|(key, _)| range.contains(key))
    }

    /// Each output's encoding, key and value.
    fn iter_encoded(&self) -> impl Iterator<Item = (&[u8], &[u8], Option<&[u8]>)> {
        let mut reader = Reader::new(self.encoded.get(COUNT_BYTES..).unwrap_or_default());
        std::iter::from_fn(move || {
            let before = reader.rest();
            // The bytes were parsed to the end when they were checked.
            let (key, value) = read_write(&mut reader).ok()?;
            let encoded = before.get(..before.len() - reader.rest().len())?;
            Some((encoded, key, value))
        })
    }
}

/// A key, and the value that is written to it, if one is.
type Write<'a> = (&'a [u8], Option<&'a [u8]>);

fn read_write<'a>(reader: &mut Reader<'a>) -> Result<Write<'a>, DecodeError> {
    let key = reader.bytes(BytesField::Key)?;
    let value = reader.option(|reader| reader.bytes(BytesField::Value))?;
    Ok((key, value))
}

fn check_write(below: &[u8], key: &[u8], value: Option<&[u8]>) -> Result<(), OutputsError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(OutputsError::Key(key.len()));
    }
    if let Some(value) = value.filter(|value| value.len() > VALUE_BYTES_MAX) {
        return Err(OutputsError::Value(value.len()));
    }
    if key <= below { Err(OutputsError::Order) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ketch_types::{Height, ShardId, StateRoot};
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::every_bit_flipped;
    use crate::list_commit::TransactionsCommit;

    type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

    fn arbitrary_writes() -> impl Strategy<Value = Writes> {
        let value = option::of(vec(any::<u8>(), 0..9));
        btree_map(vec(any::<u8>(), 1..5), value, 0..20)
    }

    fn outputs(writes: &Writes) -> Outputs {
        Outputs::new(writes.iter().map(|(k, v)| (k.as_slice(), v.as_deref()))).unwrap()
    }

    fn two() -> Outputs {
        Outputs::new([(&b"a"[..], Some(&b"12"[..])), (b"bc", None)]).unwrap()
    }

    fn header(outputs: OutputsCommit) -> ChunkHeader {
        ChunkHeader::genesis(ShardId(0), StateRoot::new([0; 32]))
            .next(Height(1), StateRoot::new([1; 32]), TransactionsCommit::EMPTY, outputs)
            .unwrap()
    }

    #[test]
    fn outputs_are_written_as_the_page_says() {
        let outputs = two();
        assert_eq!(outputs.encoded(), b"\x02\0\0\0\x01\0\0\0a\x01\x02\0\0\x0012\x02\0\0\0bc\0");
        assert_eq!((outputs.len(), outputs.bytes()), (2, 19));
        let items = [&b"\x01\0\0\0a\x01\x02\0\0\x0012"[..], b"\x02\0\0\0bc\0"];
        assert_eq!(*outputs.root().as_bytes(), OUTPUTS.root(items));
        assert_eq!(Outputs::new([]).unwrap().commit(), OutputsCommit::EMPTY);
    }

    #[test]
    fn keys_that_do_not_rise_are_refused() {
        for keys in [[b"b", b"a"], [b"a", b"a"]] {
            let refused = Outputs::new(keys.map(|key| (&key[..], None)));
            assert_eq!(refused, Err(OutputsError::Order));
            let mut encoded = vec![2, 0, 0, 0];
            keys.iter().for_each(|key| encoded.extend([1, 0, 0, 0, key[0], 0]));
            let refused = Outputs::decode(encoded);
            assert_eq!(refused, Err(DecodeError::Outputs(OutputsError::Order)));
        }
    }

    #[test]
    fn keys_and_values_over_their_limits_are_refused() {
        let (key, value) = (vec![0; KEY_BYTES_MAX + 1], vec![0; VALUE_BYTES_MAX + 1]);
        let one = |key, value| Outputs::new([(key, value)]).map(|outputs| outputs.bytes());
        assert_eq!(one(&[], None), Err(OutputsError::Key(0)));
        assert_eq!(one(&key, None), Err(OutputsError::Key(key.len())));
        assert_eq!(one(&[1], Some(&value)), Err(OutputsError::Value(value.len())));
        assert!(one(&key[1..], Some(&value[1..])).is_ok());
        let empty = Outputs::decode(vec![1, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(empty, Err(DecodeError::Outputs(OutputsError::Key(0))));
    }

    #[test]
    fn outputs_over_64_mib_are_refused() {
        // Sixteen outputs of 4 MiB each fill a chunk.
        let value = vec![0; VALUE_BYTES_MAX - 10];
        let keys: Vec<_> = (0..17).map(|key| [key]).collect();
        let write = |count| Outputs::new(keys[..count].iter().map(|k| (&k[..], Some(&value[..]))));
        let most = write(16).unwrap();
        assert_eq!(most.bytes(), CHUNK_BYTES_MAX);
        assert_eq!(write(17), Err(OutputsError::Bytes));
        let mut more = most.encoded;
        more.extend_from_slice(b"\x01\0\0\0\xff\0");
        more[0] = 17;
        let refused = Outputs::decode(more);
        assert_eq!(refused, Err(DecodeError::Outputs(OutputsError::Bytes)));
    }

    #[test]
    fn a_body_is_checked_against_the_header() {
        let (outputs, commit) = (two(), two().commit());
        let verify = |body: &[u8], commit| Outputs::verify(body.to_vec(), &header(commit));
        assert_eq!(verify(outputs.encoded(), commit), Ok(outputs.clone()));
        let bytes = verify(outputs.encoded(), OutputsCommit { bytes: 18, ..commit });
        assert_eq!(bytes, Err(OutputsFault::Bytes { expected: 18, got: 19 }));
        let count = verify(outputs.encoded(), OutputsCommit { count: 3, ..commit });
        assert_eq!(count, Err(OutputsFault::Count { expected: 3, got: 2 }));
        let root = OutputsCommit { root: OutputsRoot::new([0; 32]), ..commit };
        assert_eq!(verify(outputs.encoded(), root), Err(OutputsFault::Root));
        for short in 0..4 {
            let refused = verify(&[0; 4][..short], OutputsCommit::EMPTY);
            assert_eq!(refused, Err(OutputsFault::Decode(DecodeError::Truncated)));
        }
    }

    #[test]
    fn a_body_with_any_bit_changed_is_refused() {
        let header = header(two().commit());
        for body in every_bit_flipped(two().encoded()) {
            assert!(Outputs::verify(body, &header).is_err());
        }
    }

    #[test]
    fn outputs_lie_in_a_range_if_every_key_does() {
        let range = |low: &[u8], high: &[u8]| KeyRange { low: low.into(), high: Some(high.into()) };
        assert!(two().lie_in(&range(b"a", b"c")));
        assert!(!two().lie_in(&range(b"a", b"bc")) && !two().lie_in(&range(b"b", b"c")));
        assert!(Outputs::new([]).unwrap().lie_in(&range(b"a", b"a")));
    }

    proptest! {
        #[test]
        fn outputs_have_one_encoding(writes in arbitrary_writes()) {
            let outputs = outputs(&writes);
            let again: Writes = outputs.iter().map(|(k, v)| (k.into(), v.map(Into::into))).collect();
            prop_assert_eq!(again, writes);
            prop_assert_eq!(Outputs::decode(outputs.encoded().to_vec()), Ok(outputs.clone()));
            for cut in 0..outputs.encoded().len() {
                let refused = Outputs::decode(outputs.encoded()[..cut].to_vec());
                prop_assert_eq!(refused, Err(DecodeError::Truncated));
            }
            let more = [outputs.encoded(), &[0]].concat();
            prop_assert_eq!(Outputs::decode(more), Err(DecodeError::Trailing(1)));
        }

        #[test]
        fn arbitrary_bodies_never_panic(mut body in vec(any::<u8>(), 0..64), count in 0_u8..4) {
            if let Some(count_bytes) = body.first_chunk_mut() {
                *count_bytes = [count, 0, 0, 0];
            }
            if let Ok(outputs) = Outputs::decode(body.clone()) {
                prop_assert_eq!(outputs.encoded(), body);
            }
        }
    }
}
