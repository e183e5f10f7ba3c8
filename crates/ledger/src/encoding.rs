//! The one way in which fields are written and read.

use std::fmt;

use ketch_types::{
    ADDRESS_BYTES_MAX, KEY_BYTES_MAX, LayoutError, OpaqueError, PEER_ID_BYTES_MAX, SHARDS_MAX,
    VALUE_BYTES_MAX,
};
use thiserror::Error;

use crate::block::BlockError;
use crate::chunk_header::{CHUNK_ITEMS_MAX, ChunkHeaderError};
use crate::chunk_range::CHUNK_RANGE_MAX;
use crate::chunks::SIBLINGS_MAX;
use crate::consensus_key::ConsensusKeyError;
use crate::epoch_info::EpochInfoError;
use crate::genesis::{GenesisError, NAME_BYTES_MAX};
use crate::outputs::OutputsError;
use crate::validator::{ADDRESSES_MAX, VALIDATORS_MAX};

/// Why bytes are not the one encoding of an object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end within the object.
    #[error("the bytes end within the object")]
    Truncated,
    /// Something follows the object.
    #[error("{0} bytes follow the object")]
    Trailing(usize),
    /// A byte that says what comes next says nothing known.
    #[error("{0} is not a tag here")]
    Tag(u8),
    /// A list is longer than its limit; its items were not read.
    #[error("{count} {list}, more than {}", list.max())]
    Count {
        /// Which list.
        list: ListField,
        /// How many items it claims.
        count: u32,
    },
    /// A string of bytes is longer than its limit; it was not read.
    #[error("{field} of {bytes} bytes, more than {}", field.max())]
    Length {
        /// Which string.
        field: BytesField,
        /// How long it claims to be.
        bytes: u32,
    },
    /// A peer's id or an address is empty.
    #[error(transparent)]
    Opaque(#[from] OpaqueError),
    /// A consensus key is not one.
    #[error(transparent)]
    ConsensusKey(#[from] ConsensusKeyError),
    /// A shard layout breaks a rule.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// An epoch info breaks a rule.
    #[error(transparent)]
    EpochInfo(#[from] EpochInfoError),
    /// A chunk header breaks a rule.
    #[error(transparent)]
    ChunkHeader(#[from] ChunkHeaderError),
    /// A block breaks a rule.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A chunk's outputs break a rule.
    #[error(transparent)]
    Outputs(#[from] OutputsError),
    /// A genesis breaks a rule.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
}

macro_rules! fields {
    ($(#[doc = $doc:literal])+ $name:ident { $($field:ident($text:literal, $max:expr),)* }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = concat!("The ", $text, ".")] $field,)*
        }

        impl $name {
            /// The most that there may be.
            pub const fn max(self) -> usize {
                match self { $(Self::$field => $max,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$field => $text,)* })
            }
        }
    };
}

fields! {
    /// The lists of the encodings. *Units:* items.
    ListField {
        Shards("shards", SHARDS_MAX),
        Boundaries("boundaries", SHARDS_MAX - 1),
        Validators("validators", VALIDATORS_MAX),
        Addresses("addresses", ADDRESSES_MAX),
        TrackedShards("tracked shards", SHARDS_MAX),
        Outputs("outputs", CHUNK_ITEMS_MAX as usize),
        StateRoots("state roots", SHARDS_MAX),
        Signatures("signatures", VALIDATORS_MAX),
        Siblings("siblings", SIBLINGS_MAX),
        Headers("chunk headers", CHUNK_RANGE_MAX),
    }
}

fields! {
    /// The strings of bytes in the encodings. *Units:* bytes.
    BytesField {
        Boundary("boundary", KEY_BYTES_MAX),
        PeerId("peer id", PEER_ID_BYTES_MAX),
        Address("address", ADDRESS_BYTES_MAX),
        Key("key", KEY_BYTES_MAX),
        Value("value", VALUE_BYTES_MAX),
        Name("name", NAME_BYTES_MAX),
    }
}

/// What has one encoding.
pub(crate) trait Codec: Sized {
    /// Appends the encoding.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads one object.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// The encoding alone.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// The object that all of `bytes` encode.
    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let object = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(object)
    }
}

/// Reads fields one after the other.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading, where nothing may be left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string of bytes behind its length.
    pub(crate) fn bytes(&mut self, field: BytesField) -> Result<&'a [u8], DecodeError> {
        let bytes = self.u32()?;
        let length = bytes as usize;
        if length > field.max() {
            return Err(DecodeError::Length { field, bytes });
        }
        let (string, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(string)
    }

    /// The number of a list's items, which come next.
    pub(crate) fn count(&mut self, list: ListField) -> Result<u32, DecodeError> {
        let count = self.u32()?;
        if count as usize > list.max() {
            return Err(DecodeError::Count { list, count });
        }
        Ok(count)
    }

    /// A list behind its count. Memory grows only with the items that are really there.
    pub(crate) fn list<T>(
        &mut self,
        list: ListField,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(list)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// What may be absent.
    pub(crate) fn option<T>(
        &mut self,
        some: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => some(self).map(Some),
            tag => Err(DecodeError::Tag(tag)),
        }
    }
}

/// Appends a string of bytes behind its length.
pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a list behind its count.
pub(crate) fn write_list<T>(out: &mut Vec<u8>, items: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    write_count(out, items.len());
    for item in items {
        write(out, item);
    }
}

/// Appends what may be absent.
pub(crate) fn write_option<T>(
    out: &mut Vec<u8>,
    option: Option<T>,
    write: impl FnOnce(&mut Vec<u8>, T),
) {
    match option {
        None => out.push(0),
        Some(some) => {
            out.push(1);
            write(out, some);
        }
    }
}

/// Appends a count, which the limits of every list and string keep within its field.
fn write_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use ketch_types::ShardId;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::Chain;
    use crate::{
        Block, ChunkHeader, ChunkProof, ChunkRange, EpochInfo, Genesis, LedgerInfo,
        SignedLedgerInfo,
    };

    /// Reads one kind of object, which is written again as it came.
    fn read_again<T: Codec>(bytes: &[u8]) {
        if let Ok(object) = T::from_bytes(bytes) {
            assert_eq!(object.to_bytes(), bytes);
        }
    }

    const KINDS: [fn(&[u8]); 8] = [
        read_again::<Block>,
        read_again::<ChunkHeader>,
        read_again::<ChunkProof>,
        read_again::<ChunkRange>,
        read_again::<EpochInfo>,
        read_again::<Genesis>,
        read_again::<LedgerInfo>,
        read_again::<SignedLedgerInfo>,
    ];

    /// An encoding of every kind.
    fn examples() -> [Vec<u8>; 8] {
        let chain = Chain::new();
        let (shard, chunks, signed) = (ShardId(7), chain.chunks(20), chain.signed(20));
        let proof = ChunkProof::new(&chunks, chain.newest(20, shard).clone());
        let (after, headers) = (chain.newest(12, shard), chain.headers_between(12, 20, shard));
        [
            chain.genesis.block().encode(),
            chain.newest(20, shard).encode(),
            proof.unwrap().encode(),
            ChunkRange::new(signed.clone(), &chunks, after, headers).unwrap().encode(),
            chain.genesis.epochs()[1].encode(),
            chain.genesis.encode(),
            signed.ledger_info.encode(),
            signed.encode(),
        ]
    }

    #[test]
    fn a_list_over_its_limit_is_refused_before_its_items_are_read() {
        let mut reader = Reader::new(&[9, 0, 0, 0]);
        let refusal = reader.list(ListField::Addresses, |_| -> Result<(), _> { panic!("read") });
        assert_eq!(refusal, Err(DecodeError::Count { list: ListField::Addresses, count: 9 }));
        assert_eq!(refusal.unwrap_err().to_string(), "9 addresses, more than 8");
    }

    #[test]
    fn a_string_over_its_limit_is_refused_whether_or_not_it_is_there() {
        let long = DecodeError::Length { field: BytesField::PeerId, bytes: 65 };
        for there in [0, 65] {
            let mut bytes = vec![65, 0, 0, 0];
            bytes.resize(4 + there, 1);
            assert_eq!(Reader::new(&bytes).bytes(BytesField::PeerId), Err(long.clone()));
        }
    }

    #[test]
    fn a_claimed_count_without_its_items_is_a_truncation() {
        let claim = (CHUNK_ITEMS_MAX).to_le_bytes();
        let read = Reader::new(&claim).list(ListField::Outputs, Reader::u64);
        assert_eq!(read, Err(DecodeError::Truncated));
    }

    #[test]
    fn an_option_has_two_tags() {
        let read = |bytes: &[u8]| Reader::new(bytes).option(Reader::u8);
        assert_eq!(read(&[0]), Ok(None));
        assert_eq!(read(&[1, 7]), Ok(Some(7)));
        assert_eq!(read(&[1]), Err(DecodeError::Truncated));
        assert_eq!(read(&[2, 7]), Err(DecodeError::Tag(2)));
    }

    #[test]
    fn what_of_one_kind_has_been_replaced_never_panics() {
        let replacement = vec(any::<u8>(), 1..8);
        let places = (0..8_usize, any::<prop::sample::Index>(), replacement);
        let examples = examples();
        let run = |(kind, at, replacement): (usize, prop::sample::Index, Vec<u8>)| {
            let mut bytes = examples[kind].clone();
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + replacement.len());
            bytes.splice(at..end, replacement);
            KINDS[kind](&bytes);
            Ok(())
        };
        proptest::test_runner::TestRunner::default().run(&places, run).unwrap();
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
            KINDS.iter().for_each(|read| read(&bytes));
        }
    }
}
