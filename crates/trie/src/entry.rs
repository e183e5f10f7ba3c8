use ketch_types::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use thiserror::Error;

/// The bytes before an entry's key: the lengths of key and value.
const HEADER_BYTES: usize = 6;

/// The largest encoded entry. *Units:* bytes.
pub const ENTRY_BYTES_MAX: usize = HEADER_BYTES + KEY_BYTES_MAX + VALUE_BYTES_MAX;

/// The smallest encoded entry: a key of one byte without a value. *Units:* bytes.
pub const ENTRY_BYTES_MIN: usize = HEADER_BYTES + 1;

/// One `key -> value` of a shard's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// 1 to [`KEY_BYTES_MAX`] bytes.
    pub key: &'a [u8],
    /// 0 to [`VALUE_BYTES_MAX`] bytes.
    pub value: &'a [u8],
}

/// Why bytes are not an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EntryError {
    /// The bytes end within an entry.
    #[error("the bytes end within an entry")]
    Truncated,
    /// A key has at least one byte.
    #[error("an entry has an empty key")]
    EmptyKey,
    /// A key has at most [`KEY_BYTES_MAX`] bytes.
    #[error("a key has {0} bytes, more than {KEY_BYTES_MAX}")]
    KeyTooLong(usize),
    /// A value has at most [`VALUE_BYTES_MAX`] bytes.
    #[error("a value has {0} bytes, more than {VALUE_BYTES_MAX}")]
    ValueTooLong(usize),
}

impl<'a> Entry<'a> {
    /// An entry within the limits.
    ///
    /// *Errors:* all of [`EntryError`] but `Truncated`.
    pub fn new(key: &'a [u8], value: &'a [u8]) -> Result<Self, EntryError> {
        check_lengths(key.len(), value.len())?;
        Ok(Self { key, value })
    }

    /// The entry's size, which is that of its encoding. *Units:* bytes.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.key.len() + self.value.len()
    }

    /// Appends `u16le(key length) || u32le(value length) || key || value`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        // The limits keep both lengths within their fields.
        let key_bytes = u16::try_from(self.key.len()).unwrap_or(u16::MAX);
        let value_bytes = u32::try_from(self.value.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&key_bytes.to_le_bytes());
        out.extend_from_slice(&value_bytes.to_le_bytes());
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }

    /// The entry that `bytes` begin with, and the bytes after it.
    ///
    /// *Errors:* see [`EntryError`]; lengths are checked before anything is read.
    pub fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), EntryError> {
        let (header, rest) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(EntryError::Truncated)?;
        let [k0, k1, v0, v1, v2, v3] = *header;
        let key_bytes = usize::from(u16::from_le_bytes([k0, k1]));
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        check_lengths(key_bytes, value_bytes)?;
        let (key, rest) = rest.split_at_checked(key_bytes).ok_or(EntryError::Truncated)?;
        let (value, rest) = rest.split_at_checked(value_bytes).ok_or(EntryError::Truncated)?;
        Ok((Self { key, value }, rest))
    }
}

fn check_lengths(key_bytes: usize, value_bytes: usize) -> Result<(), EntryError> {
    match (key_bytes, value_bytes) {
        (0, _) => Err(EntryError::EmptyKey),
        (key_bytes, _) if key_bytes > KEY_BYTES_MAX => Err(EntryError::KeyTooLong(key_bytes)),
        (_, bytes) if bytes > VALUE_BYTES_MAX => Err(EntryError::ValueTooLong(bytes)),
        _ => Ok(()),
    }
}

/// The entries that bytes hold one after the other; the first error ends it.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    /// The entries in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, EntryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let decoded = Entry::decode(self.rest);
        self.rest = decoded.map_or(&[], |(_, rest)| rest);
        Some(decoded.map(|(entry, _)| entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_lengths_its_key_and_its_value() {
        let mut bytes = Vec::new();
        Entry::new(b"ab", b"xyz").unwrap().encode(&mut bytes);
        assert_eq!(bytes, b"\x02\0\x03\0\0\0abxyz");
        let (entry, rest) = Entry::decode(&bytes).unwrap();
        assert_eq!((entry.key, entry.value, rest), (&b"ab"[..], &b"xyz"[..], &b""[..]));
        assert_eq!(entry.bytes(), bytes.len());
    }

    #[test]
    fn an_entry_over_the_limits_or_cut_short_is_refused() {
        let long = vec![0; KEY_BYTES_MAX + 1];
        let huge = vec![0; VALUE_BYTES_MAX + 1];
        assert_eq!(Entry::new(b"", b""), Err(EntryError::EmptyKey));
        assert_eq!(Entry::new(&long, b""), Err(EntryError::KeyTooLong(long.len())));
        assert_eq!(Entry::new(b"k", &huge), Err(EntryError::ValueTooLong(huge.len())));
        assert!(Entry::new(&long[1..], &huge[1..]).is_ok());
        for cut in 0..11 {
            assert_eq!(Entry::decode(&b"\x02\0\x03\0\0\0abxyz"[..cut]), Err(EntryError::Truncated));
        }
        let claim = [1, 0, 0xff, 0xff, 0xff, 0xff, b'k'];
        assert_eq!(Entry::decode(&claim), Err(EntryError::ValueTooLong(u32::MAX as usize)));
    }

    #[test]
    fn the_first_error_ends_the_entries() {
        let mut bytes = Vec::new();
        Entry::new(b"a", b"1").unwrap().encode(&mut bytes);
        bytes.push(9);
        let found: Vec<_> = Entries::new(&bytes).map(|e| e.map(|e| e.key)).collect();
        assert_eq!(found, [Ok(&b"a"[..]), Err(EntryError::Truncated)]);
    }
}
