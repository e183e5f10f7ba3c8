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
    #[error("{path}:{line}:{column}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The character in the line, counted from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
}

/// What the TOML file at `path` says.
///
/// *Errors:* see [`TomlFileError`]; each names file, line and column.
pub fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, TomlFileError> {
    let text = fs::read_to_string(path)
        .map_err(|error| TomlFileError::Read { path: path.to_owned(), error })?;
    toml::from_str(&text).map_err(|error| {
        let at = error.span().map_or(text.len(), |span| span.start);
        let before = text.get(..at).unwrap_or(&text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        TomlFileError::Parse {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            message: error.message().to_owned(),
        }
    })
}
