//! What is written and hashed, byte by byte.

use super::{BUCKET_BYTES, Commit, HASH_BYTES, Mutation};

const VERSION: u32 = 1;

/// Hashes a body under the key that a label gives.
pub(crate) fn keyed(label: &str, body: &[u8]) -> [u8; HASH_BYTES] {
    *blake3::keyed_hash(blake3::hash(label.as_bytes()).as_bytes(), body).as_bytes()
}

/// The root that commits to an opening.
pub(crate) fn root_of(opening: &[u8]) -> [u8; HASH_BYTES] {
    let bucket_bytes = u32::try_from(BUCKET_BYTES).expect("a bucket is small");
    let body = [&VERSION.to_le_bytes(), &bucket_bytes.to_le_bytes(), opening];
    keyed("ketch.v1.root", &body.concat())
}

/// Writes a count in two bytes.
pub(crate) fn u16le(count: usize) -> Vec<u8> {
    u16::try_from(count).expect("a count of 16 bits").to_le_bytes().to_vec()
}

/// The encoding of an entry.
pub(crate) fn encode(key: &[u8], value: &[u8]) -> Vec<u8> {
    let value_length = u32::try_from(value.len()).expect("a length of 32 bits").to_le_bytes();
    [&u16le(key.len()), &value_length[..], key, value].concat()
}

/// Writes a commit.
pub(crate) fn commit_bytes((hash, entries, bytes): &Commit) -> Vec<u8> {
    [&hash[..], &entries.to_le_bytes(), &bytes.to_le_bytes()].concat()
}

/// Reads a commit from its 48 bytes.
pub(crate) fn commit_from(written: &[u8]) -> Commit {
    let count = |at: usize| u64::from_le_bytes(written[at..at + 8].try_into().expect("8 bytes"));
    (hash_from(&written[..HASH_BYTES]), count(32), count(40))
}

/// Reads a hash from its 32 bytes.
pub(crate) fn hash_from(written: &[u8]) -> [u8; HASH_BYTES] {
    written.try_into().expect("32 bytes")
}

/// The bits of a key: a one before every byte, a zero after the last.
pub(crate) fn key_bits(key: &[u8], mutation: Mutation) -> Vec<bool> {
    let mut bits = Vec::new();
    for byte in key {
        bits.push(true);
        bits.extend(unpack(&[*byte], 8));
    }
    if mutation != Mutation::NoTerminator {
        bits.push(false);
    }
    bits
}

/// Packs bits, the first the most significant, the last byte padded with zeros.
pub(crate) fn pack(bits: &[bool]) -> Vec<u8> {
    bits.chunks(8).map(pack_byte).collect()
}

fn pack_byte(bits: &[bool]) -> u8 {
    (0..8).fold(0, |byte, at| byte << 1 | u8::from(bits.get(at) == Some(&true)))
}

/// The first bits of packed bytes.
pub(crate) fn unpack(packed: &[u8], count: usize) -> Vec<bool> {
    (0..count).map(|at| packed[at / 8] >> (7 - at % 8) & 1 == 1).collect()
}

/// The least key whose bits start with the separator and a one.
pub(crate) fn low_key(separator: &[bool]) -> Vec<u8> {
    [separator, &[true]].concat().chunks(9).map(|byte| pack_byte(&byte[1..])).collect()
}
