use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;

/// Why a TOML file was not read.
#[derive(Debug, Error)]
pub enum TomlFileError {
    /// The file could not be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
    /// The file does not say what it should: an unknown key, a wrong type, no TOML.
    #[error("{place}: {message}")]
    Parse {
        /// Where.
        place: FilePlace,
        /// What is wrong there.
        message: String,
    },
}

/// A place in a text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
}

impl FilePlace {
    /// The place of the byte at `offset` in the file's text; its end, if the text has no such byte.
    pub(crate) fn new(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// What the TOML file at `path` says.
///
/// *Errors:* see [`TomlFileError`]; each names file, line and column.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, TomlFileError> {
    let text = fs::read_to_string(path)
        .map_err(|error| TomlFileError::Read { path: path.to_owned(), error })?;
    toml::from_str(&text).map_err(|error| {
        let offset = error.span().map_or(text.len(), |span| span.start);
        TomlFileError::Parse {
            place: FilePlace::new(path, &text, offset),
            message: error.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "ä = 1\nbé = 2\n";
        let at = |offset| FilePlace::new(Path::new("a.toml"), text, offset).to_string();
        assert_eq!(at(0), "a.toml:1:1");
        assert_eq!(at(2), "a.toml:1:2");
        assert_eq!(at(text.find('=').unwrap()), "a.toml:1:3");
        assert_eq!(at(text.find('2').unwrap()), "a.toml:2:6");
        assert_eq!(at(text.len()), "a.toml:3:1");
        assert_eq!(at(1_000), "a.toml:3:1");
    }
}
