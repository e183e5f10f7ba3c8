use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hex::FromHexError;
use thiserror::Error;
use zeroize::Zeroizing;

/// The secret bytes of a node's network key: gone from memory when dropped, and never shown.
pub struct NetworkKey(Zeroizing<[u8; KEY_BYTES]>);

/// Why a key file was not read or not made.
#[derive(Debug, Error)]
#[error("{path}: {problem}")]
pub struct KeyFileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    #[source]
    pub problem: KeyFileProblem,
}

/// What can be wrong with a key file; none of it tells what stands in the file.
#[derive(Debug, Error)]
pub enum KeyFileProblem {
    /// The file could not be read or made.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A folder, a pipe or a device.
    #[error("not a regular file")]
    NotRegular,
    /// Others than the owner may do something with the file.
    #[error(
        "the mode is {mode:04o}, which lets others at a secret key: chmod 600 {}",
        .path.display()
    )]
    Mode {
        /// The permission bits.
        mode: u32,
        /// The file, for the command that mends it.
        path: PathBuf,
    },
    /// The file is longer or shorter than a key's.
    #[error("not {DIGITS} hexadecimal digits and a newline: the length is wrong")]
    Length,
    /// Something stands where a digit should, or where the newline should.
    #[error("not {DIGITS} hexadecimal digits and a newline: character {0} is wrong")]
    Digit(usize),
}

/// An ed25519 secret key. *Units:* bytes.
const KEY_BYTES: usize = 32;
/// Two for each byte.
const DIGITS: usize = 2 * KEY_BYTES;
/// The digits and the newline. *Units:* bytes.
const FILE_BYTES: usize = DIGITS + 1;
/// Whatever group and others may do.
const OTHERS: u32 = 0o077;
/// All bits of a mode that `chmod` sets.
const PERMISSIONS: u32 = 0o7777;

impl NetworkKey {
    /// The key with these secret bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret bytes.
    pub fn secret_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKey")
    }
}

/// The key in the file at `path`, which only its owner may touch.
///
/// *Errors:* see [`KeyFileError`].
pub fn read_network_key(path: &Path) -> Result<NetworkKey, KeyFileError> {
    let read = || {
        // Asked before opening too, since opening a pipe waits for whoever writes into it.
        check(&fs::metadata(path)?, path)?;
        let mut file = File::open(path)?;
        check(&file.metadata()?, path)?;
        decode(&*content(&mut file)?)
    };
    read().map_err(|problem| KeyFileError { path: path.to_owned(), problem })
}

/// Writes `key` to a new file at `path`, which only its owner may touch, and waits until it is on
/// disk. A file that is there already is left as it is.
///
/// *Errors:* see [`KeyFileError`].
pub fn create_network_key(path: &Path, key: &NetworkKey) -> Result<(), KeyFileError> {
    let create = || -> io::Result<()> {
        let content = encode(key)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = file.write_all(&*content).and_then(|()| file.sync_all());
        if written.is_err() {
            // What is there would be refused as a key and would stand in a second attempt's way.
            let _ = fs::remove_file(path);
        }
        written?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    create().map_err(|error| KeyFileError { path: path.to_owned(), problem: error.into() })
}

fn check(metadata: &Metadata, path: &Path) -> Result<(), KeyFileProblem> {
    if !metadata.is_file() {
        return Err(KeyFileProblem::NotRegular);
    }
    let mode = metadata.mode() & PERMISSIONS;
    if mode & OTHERS != 0 {
        return Err(KeyFileProblem::Mode { mode, path: path.to_owned() });
    }
    Ok(())
}

/// All bytes of a file that has as many as a key's.
fn content(file: &mut File) -> Result<Zeroizing<[u8; FILE_BYTES]>, KeyFileProblem> {
    let mut bytes = Zeroizing::new([0; FILE_BYTES]);
    file.read_exact(&mut *bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => KeyFileProblem::Length,
        _ => KeyFileProblem::Io(error),
    })?;
    if file.read(&mut [0])? != 0 {
        return Err(KeyFileProblem::Length);
    }
    Ok(bytes)
}

fn decode(content: &[u8; FILE_BYTES]) -> Result<NetworkKey, KeyFileProblem> {
    let (digits, end) = content.split_at(DIGITS);
    let mut key = NetworkKey::new([0; KEY_BYTES]);
    // The decoder's own error would show the wrong digit, and so a part of the secret.
    hex::decode_to_slice(digits, &mut *key.0).map_err(|error| match error {
        FromHexError::InvalidHexCharacter { index, .. } => KeyFileProblem::Digit(index + 1),
        _ => KeyFileProblem::Length,
    })?;
    if end == b"\n" { Ok(key) } else { Err(KeyFileProblem::Digit(FILE_BYTES)) }
}

fn encode(key: &NetworkKey) -> io::Result<Zeroizing<[u8; FILE_BYTES]>> {
    let mut content = Zeroizing::new([b'\n'; FILE_BYTES]);
    let (digits, _) = content.split_at_mut(DIGITS);
    hex::encode_to_slice(key.secret_bytes(), digits).map_err(io::Error::other)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_key_is_its_type_alone() {
        assert_eq!(format!("{:?}", NetworkKey::new([0xab; KEY_BYTES])), "NetworkKey");
    }

    #[test]
    fn digits_and_a_newline_are_a_key_and_nothing_else_is() {
        let key = NetworkKey::new(*b"0123456789abcdefghijklmnopqrstuv");
        let content = encode(&key).unwrap();
        assert_eq!(decode(&content).unwrap().secret_bytes(), key.secret_bytes());
        for at in 0..FILE_BYTES {
            let mut wrong = *content;
            wrong[at] = b'g';
            let refused = decode(&wrong).unwrap_err();
            assert!(matches!(refused, KeyFileProblem::Digit(found) if found == at + 1));
        }
    }
}
