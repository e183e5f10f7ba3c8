//! Genesis files as entries: JSON lines, tab-separated text, NEAR's records, Ethereum's alloc.

mod chain;
mod lines;
mod number;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ketch_trie::{Entry, EntryError};
use serde::Deserialize;
use thiserror::Error;

/// How a genesis file says its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum GenesisFormat {
    /// One `{"key": hex, "value": hex}` a line.
    JsonLines,
    /// One key, a tab and the value a line, as raw bytes.
    Tsv,
    /// A JSON document with NEAR's `records` or Ethereum's `alloc`.
    Chain,
}

/// Why a genesis file was refused.
#[derive(Debug, Error)]
#[error("{path}{}: {problem}", at(.line, .column))]
pub struct GenesisError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, where the problem has one.
    pub line: Option<usize>,
    /// The column, counted from 1, where the problem has one.
    pub column: Option<usize>,
    /// What is wrong.
    #[source]
    pub problem: GenesisProblem,
}

/// What can be wrong with a genesis file.
#[derive(Debug, Error)]
pub enum GenesisProblem {
    /// The file could not be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file's name does not say its format.
    #[error("the name does not say the format: end it in .jsonl, .json or .tsv, or give --format")]
    UnknownFormat,
    /// The text is not JSON, or is cut short, or has another shape.
    #[error("{0}")]
    Json(String),
    /// A document has neither `records` nor `alloc`.
    #[error("the document has neither `records` nor `alloc`")]
    UnknownChain,
    /// What should be bytes in hexadecimal digits is not.
    #[error("{what}: {error}")]
    Hex {
        /// What was being read.
        what: String,
        /// What is wrong with the digits.
        #[source]
        error: hex::FromHexError,
    },
    /// What should be bytes in base64 is not.
    #[error("{what}: {error}")]
    Base64 {
        /// What was being read.
        what: String,
        /// What is wrong with the text.
        #[source]
        error: base64::DecodeError,
    },
    /// What should be a whole number is not, or does not fit.
    #[error("{what}: `{text}` is not a whole number of at most {bits} bits")]
    Number {
        /// What was being read.
        what: String,
        /// The text.
        text: String,
        /// How many bits the number may have.
        bits: usize,
    },
    /// An address does not have 20 bytes.
    #[error("address `{0}` does not have 20 bytes")]
    Address(String),
    /// A number in a NEAR record is not a whole one, and so has no canonical text.
    #[error("`{0}` holds a number that is not whole")]
    Fraction(String),
    /// A line of tab-separated text has no tab.
    #[error("the line has no tab")]
    NoTab,
    /// An entry is over the limits of the commitment.
    #[error("{0}")]
    Entry(#[from] EntryError),
}

/// Entries in key order; of a repeated key the last value.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// A problem, and the line and column where it is known.
struct Located {
    line: Option<usize>,
    column: Option<usize>,
    problem: GenesisProblem,
}

impl<P: Into<GenesisProblem>> From<P> for Located {
    fn from(problem: P) -> Self {
        Self { line: None, column: None, problem: problem.into() }
    }
}

impl Located {
    fn json(error: &serde_json::Error, line: Option<usize>) -> Self {
        let line = line.or(Some(error.line()));
        // The message repeats the place, which stands in front already.
        let text = error.to_string();
        let message = text.split_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        let problem = GenesisProblem::Json(message.to_owned());
        Self { line, column: Some(error.column()), problem }
    }
}

/// The entries of the genesis file at `path`, in key order; of a repeated key the last value.
///
/// *Errors:* see [`GenesisError`].
pub fn read_genesis(
    path: &Path,
    format: Option<GenesisFormat>,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, GenesisError> {
    let read = || -> Result<Entries, Located> {
        let bytes = fs::read(path).map_err(GenesisProblem::Read)?;
        let format = format.or_else(|| format_of(path)).ok_or(GenesisProblem::UnknownFormat)?;
        let entries = match format {
            GenesisFormat::JsonLines => lines::json_lines(&bytes),
            GenesisFormat::Tsv => lines::tab_separated(&bytes),
            GenesisFormat::Chain => chain::document(&bytes),
        }?;
        for (key, value) in &entries {
            Entry::new(key, value).map_err(GenesisProblem::Entry)?;
        }
        Ok(entries)
    };
    read().map_err(|Located { line, column, problem }| GenesisError {
        path: path.to_owned(),
        line,
        column,
        problem,
    })
}

/// The format that a file's name says.
fn format_of(path: &Path) -> Option<GenesisFormat> {
    match path.extension()?.to_str()? {
        "jsonl" => Some(GenesisFormat::JsonLines),
        "tsv" => Some(GenesisFormat::Tsv),
        "json" => Some(GenesisFormat::Chain),
        _ => None,
    }
}

/// `:line:column`, as far as they are known.
fn at(line: &Option<usize>, column: &Option<usize>) -> String {
    let numbers = line.iter().chain(column);
    numbers.map(|number| format!(":{number}")).collect()
}
