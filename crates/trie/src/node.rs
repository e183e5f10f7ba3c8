use ketch_types::{NodeHash, PartHash, StateRoot};

use crate::prefix::{Prefix, pack_bits};

/// The largest size of a bucket that holds more than one entry. *Units:* bytes.
///
/// *Source:* the state commitment, version 1, which says why this number.
pub const BUCKET_BYTES: u64 = 16_384;

/// [`BUCKET_BYTES`] as the root commits to it.
const BUCKET_BYTES_FIELD: u32 = 16_384;

/// The version of the commitment.
pub const COMMITMENT_VERSION: u32 = 1;

/// The bytes of an encoded [`Commit`], and so of an outline's opening.
pub const COMMIT_BYTES: usize = 48;

/// BLAKE3 of "ketch.v1.bucket".
const K_BUCKET: [u8; 32] = [
    0xf7, 0x16, 0x9d, 0xd2, 0x6a, 0x31, 0x65, 0xac, 0xc3, 0xd5, 0x06, 0xb4, 0x12, 0xa1, 0xa0, 0x4f,
    0xa2, 0xef, 0x53, 0x12, 0xb5, 0xf3, 0x60, 0xb0, 0x0d, 0x63, 0x78, 0x37, 0x10, 0x38, 0x56, 0xc3,
];
/// BLAKE3 of "ketch.v1.inner".
const K_INNER: [u8; 32] = [
    0x62, 0x5d, 0xab, 0x2f, 0x1c, 0x88, 0xc7, 0xc4, 0x73, 0x43, 0x11, 0x85, 0x19, 0x92, 0x7d, 0xa3,
    0x07, 0x28, 0x72, 0xd0, 0x0a, 0xf3, 0x00, 0x84, 0x8a, 0xbb, 0x8d, 0x01, 0xe4, 0x72, 0xa8, 0x4e,
];
/// BLAKE3 of "ketch.v1.part".
const K_PART: [u8; 32] = [
    0xa2, 0x85, 0x44, 0x1d, 0xae, 0x4b, 0x42, 0xda, 0x24, 0xc4, 0x34, 0x52, 0xc4, 0xba, 0xed, 0x5b,
    0x0f, 0x92, 0x4c, 0x7b, 0xcc, 0xc1, 0x32, 0x76, 0xf8, 0x84, 0x6f, 0xf4, 0x24, 0x0a, 0x86, 0x47,
];
/// BLAKE3 of "ketch.v1.root".
const K_ROOT: [u8; 32] = [
    0x7a, 0x83, 0x88, 0x2d, 0x67, 0x0e, 0x6e, 0x3f, 0x08, 0x65, 0xab, 0x6e, 0x55, 0xc0, 0x06, 0xa1,
    0x7b, 0x9d, 0x10, 0x10, 0xa4, 0x08, 0x8a, 0xe3, 0xc0, 0xf0, 0xc1, 0x7a, 0x04, 0x91, 0x7a, 0xba,
];

/// What a parent, or the root, says of a node: its hash and what lies below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Commit {
    /// The node's hash.
    pub hash: NodeHash,
    /// The number of entries below the node.
    pub entries: u64,
    /// The total size of the entries below the node. *Units:* bytes.
    pub bytes: u64,
}

impl Commit {
    /// `hash || u64le(entries) || u64le(bytes)`.
    pub fn encode(&self) -> [u8; COMMIT_BYTES] {
        let mut out = [0; COMMIT_BYTES];
        let (hash, counts) = out.split_at_mut(32);
        let (entries, bytes) = counts.split_at_mut(8);
        hash.copy_from_slice(self.hash.as_bytes());
        entries.copy_from_slice(&self.entries.to_le_bytes());
        bytes.copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    /// The commit that `bytes` encode; any bytes encode one.
    pub fn decode(bytes: &[u8; COMMIT_BYTES]) -> Self {
        let mut hash = [0; 32];
        let mut counts = [[0; 8]; 2];
        let (hash_bytes, count_bytes) = bytes.split_at(32);
        hash.copy_from_slice(hash_bytes);
        for (count, bytes) in counts.iter_mut().zip(count_bytes.chunks_exact(8)) {
            count.copy_from_slice(bytes);
        }
        let [entries, bytes] = counts.map(u64::from_le_bytes);
        Self { hash: NodeHash::new(hash), entries, bytes }
    }

    /// Whether the node is an inner node; else it is a bucket.
    pub fn is_inner(&self) -> bool {
        self.is_opened_at(BUCKET_BYTES)
    }

    /// Whether an outline at `cut` opens the node.
    pub(crate) fn is_opened_at(&self, cut: u64) -> bool {
        self.entries > 1 && self.bytes > cut.max(BUCKET_BYTES)
    }
}

/// What an inner node says of its two children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Children {
    /// The child whose keys continue the node's prefix with a zero.
    pub left: Commit,
    /// The child whose keys continue the node's prefix with a one.
    pub right: Commit,
}

impl Children {
    /// The commit of the inner node at `prefix` with these children; none if its counts overflow.
    pub fn commit(&self, prefix: &Prefix) -> Option<Commit> {
        let hash = self.hash(prefix.least_key(), prefix.bits());
        let entries = self.left.entries.checked_add(self.right.entries)?;
        let bytes = self.left.bytes.checked_add(self.right.bytes)?;
        Some(Commit { hash, entries, bytes })
    }

    /// The hash of the inner node whose prefix is the first `bits` bits of `key`.
    pub(crate) fn hash(&self, key: &[u8], bits: usize) -> NodeHash {
        let mut body = Vec::with_capacity(inner_body_bytes(bits));
        body.extend_from_slice(&bit_count(bits));
        pack_bits(&mut body, key, 0, bits);
        body.extend_from_slice(&self.left.encode());
        body.extend_from_slice(&self.right.encode());
        keyed(&K_INNER, &body)
    }
}

/// The count of a prefix's bits as it is hashed and sent: `u16le`, of at most 18,432.
pub(crate) fn bit_count(bits: usize) -> [u8; 2] {
    u16::try_from(bits).unwrap_or(u16::MAX).to_le_bytes()
}

/// How many bytes are hashed for an inner node with a prefix of `bits` bits.
pub(crate) fn inner_body_bytes(bits: usize) -> usize {
    2 + bits.div_ceil(8) + 2 * COMMIT_BYTES
}

/// The hash of a bucket, from the encodings of its entries in key order.
pub(crate) fn bucket_hash(entries: &[u8]) -> NodeHash {
    keyed(&K_BUCKET, entries)
}

/// The name of a part that consists of these nodes, in order.
pub(crate) fn part_hash(nodes: &[Commit]) -> PartHash {
    match nodes {
        [node] => PartHash(node.hash.0),
        nodes => {
            let body: Vec<u8> = nodes.iter().flat_map(Commit::encode).collect();
            PartHash(keyed(&K_PART, &body).0)
        }
    }
}

/// The root of the state with this top node; without one, of the empty state.
pub fn state_root(top: Option<&Commit>) -> StateRoot {
    root_of_opening(&top.map_or([0; COMMIT_BYTES], Commit::encode))
}

/// The root that an outline's opening belongs to.
pub(crate) fn root_of_opening(opening: &[u8; COMMIT_BYTES]) -> StateRoot {
    let mut body = Vec::with_capacity(8 + COMMIT_BYTES);
    body.extend_from_slice(&COMMITMENT_VERSION.to_le_bytes());
    body.extend_from_slice(&BUCKET_BYTES_FIELD.to_le_bytes());
    body.extend_from_slice(opening);
    StateRoot(keyed(&K_ROOT, &body).0)
}

fn keyed(key: &[u8; 32], bytes: &[u8]) -> NodeHash {
    NodeHash::new(*blake3::keyed_hash(key, bytes).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_without_entries_has_the_root_that_is_known_beforehand() {
        assert_eq!(state_root(None), StateRoot::EMPTY);
    }

    #[test]
    fn the_domain_keys_are_the_hashes_of_their_labels() {
        for (label, key) in
            [("bucket", K_BUCKET), ("inner", K_INNER), ("part", K_PART), ("root", K_ROOT)]
        {
            let label = format!("ketch.v1.{label}");
            assert_eq!(*blake3::hash(label.as_bytes()).as_bytes(), key, "{label}");
        }
        assert_eq!(u64::from(BUCKET_BYTES_FIELD), BUCKET_BYTES);
    }

    #[test]
    fn a_commit_survives_its_encoding() {
        let commit = Commit { hash: NodeHash::new([7; 32]), entries: 3, bytes: u64::MAX };
        assert_eq!(Commit::decode(&commit.encode()), commit);
    }
}
