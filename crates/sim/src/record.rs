//! A record: what one coordinator was told, when, and what it said to it, as lines of text.

use ketch_coordinator::{Command, Config, Input};
use ketch_types::Instant;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the lines that are written and read.
const VERSION: u32 = 1;

/// The longest line: a summary of the most and largest holdings whose parts stand in runs has less. A
/// peer that makes up sets of single parts can have a longer one said; there a record ends.
///
/// *Units:* bytes.
pub const RECORD_LINE_BYTES_MAX: usize = 64 << 20;

/// The first line: all that a coordinator is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordStart {
    record: Version,
    /// Which version of Ketch wrote it: another one may decide otherwise.
    pub ketch: String,
    /// The coordinator's seed.
    pub seed: u64,
    /// When it was made.
    pub at: Instant,
    /// Its configuration.
    pub config: Config,
}

/// Every other line: one turn of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedTurn {
    /// The time that it was told.
    pub at: Instant,
    /// What it was told; nothing where time had passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Input>,
    /// What it said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
}

/// Why a line is not one of a record, or cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The line ends before what it says does.
    #[error("the line is cut short")]
    CutShort,
    /// The line does not say what it should.
    #[error("{reason}")]
    Malformed {
        /// The byte of the line at which that is seen, counted from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The line is longer than [`RECORD_LINE_BYTES_MAX`].
    #[error("the line is longer than {RECORD_LINE_BYTES_MAX} bytes")]
    TooLong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        let other = || format!("a record of version {version}; this reads version {VERSION}");
        (version == VERSION).then_some(Version).ok_or_else(other)
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> u32 {
        VERSION
    }
}

impl RecordStart {
    /// The beginning of a record of a coordinator that is made of these.
    pub fn new(config: Config, seed: u64, at: Instant) -> Self {
        let ketch = env!("CARGO_PKG_VERSION").to_owned();
        Self { record: Version, ketch, seed, at, config }
    }

    /// The line, with its end.
    ///
    /// *Errors:* [`RecordError::TooLong`].
    pub fn to_line(&self) -> Result<String, RecordError> {
        to_line(self)
    }

    /// What a line says.
    ///
    /// *Errors:* see [`RecordError`].
    pub fn of_line(line: &str) -> Result<Self, RecordError> {
        of_line(line)
    }
}

impl RecordedTurn {
    /// The line, with its end.
    ///
    /// *Errors:* [`RecordError::TooLong`].
    pub fn to_line(&self) -> Result<String, RecordError> {
        to_line(self)
    }

    /// What a line says.
    ///
    /// *Errors:* see [`RecordError`].
    pub fn of_line(line: &str) -> Result<Self, RecordError> {
        of_line(line)
    }
}

fn to_line(of: &impl Serialize) -> Result<String, RecordError> {
    let mut line = serde_json::to_string(of).map_err(|error| malformed(&error))?;
    line.push('\n');
    if line.len() > RECORD_LINE_BYTES_MAX { Err(RecordError::TooLong) } else { Ok(line) }
}

fn of_line<T: DeserializeOwned>(line: &str) -> Result<T, RecordError> {
    if line.len() > RECORD_LINE_BYTES_MAX {
        return Err(RecordError::TooLong);
    }
    serde_json::from_str(line).map_err(|error| {
        // A number that is a key is called wrong, and not unended, where it is cut.
        let is_at_end = error.column() >= line.len();
        let is_unended = || serde_json::from_str::<IgnoredAny>(line).is_err_and(|e| e.is_eof());
        if is_at_end && is_unended() { RecordError::CutShort } else { malformed(&error) }
    })
}

fn malformed(error: &serde_json::Error) -> RecordError {
    if error.is_eof() {
        return RecordError::CutShort;
    }
    let (text, column) = (error.to_string(), error.column().max(1));
    // The line that it speaks of is always its first.
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    RecordError::Malformed { column, reason: reason.to_owned() }
}
