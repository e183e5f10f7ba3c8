//! `ketch sim replay`: what a node recorded, line by line.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ketch_coordinator::Command;
use ketch_sim::{
    Difference, RECORD_LINE_BYTES_MAX, RecordError, RecordStart, RecordedTurn, Replay, Rule,
};
use serde::Serialize;

use super::SimError;
use crate::table::Table;
use crate::toml_file::FilePlace;

/// How many breaks of the contract are listed; all are counted.
const LISTED: usize = 20;

/// What came of a record.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayReport {
    good: bool,
    #[serde(skip)]
    path: PathBuf,
    /// Which version of Ketch wrote it.
    ketch: String,
    turns: u64,
    timeouts: u64,
    inputs: BTreeMap<&'static str, u64>,
    commands: BTreeMap<&'static str, u64>,
    /// From the coordinator's beginning to its last turn.
    seconds: f64,
    /// The last line, if it is cut short.
    cut_line: Option<usize>,
    difference: Option<Differs>,
    broken: u64,
    broken_first: Vec<Broken>,
}

/// Where the coordinator says something else than was recorded.
#[derive(Debug, Serialize)]
struct Differs {
    line: usize,
    /// The command's place in its turn, counted from 1.
    command: usize,
    recorded: Option<Command>,
    came: Option<Command>,
}

/// Where the contract was broken.
#[derive(Debug, Serialize)]
struct Broken {
    line: usize,
    rule: &'static str,
}

/// A record, read line by line.
struct Lines<'a> {
    path: &'a Path,
    file: BufReader<File>,
    /// The line that was read last, counted from 1.
    line: usize,
    bytes: Vec<u8>,
}

/// Tells a coordinator what was told to the one that a record is of, and compares what it says.
pub(crate) fn replay(path: &Path) -> Result<ReplayReport, SimError> {
    let file = File::open(path).map_err(SimError::record(path))?;
    let mut lines = Lines { path, file: BufReader::new(file), line: 0, bytes: Vec::new() };
    let start = match lines.next(RecordStart::of_line)? {
        Line::Whole(start) => start,
        Line::CutShort | Line::End => return Err(lines.refused(RecordError::CutShort)),
    };
    let mut replay = Replay::new(&start);
    let mut report = ReplayReport::new(path, start.ketch);
    let end = loop {
        let turn = match lines.next(RecordedTurn::of_line)? {
            Line::Whole(turn) => turn,
            end => break end,
        };
        // What was recorded of a coordinator that panicked makes this one panic too.
        let told = catch_unwind(AssertUnwindSafe(|| replay.turn(turn)));
        match told.map_err(|_| SimError::Panics { place: lines.place(1) })? {
            Ok(rules) => report.broke(lines.line, &rules),
            Err(difference) => {
                report.difference = Some(Differs::new(lines.line, *difference));
                break Line::End;
            }
        }
    };
    report.cut_line = matches!(end, Line::CutShort).then_some(lines.line);
    Ok(report.with(&replay))
}

/// What comes next of a record.
enum Line<T> {
    Whole(T),
    /// The process ended while it wrote this, the last one.
    CutShort,
    End,
}

impl Lines<'_> {
    fn next<T>(
        &mut self,
        read: impl Fn(&str) -> Result<T, RecordError>,
    ) -> Result<Line<T>, SimError> {
        self.bytes.clear();
        // The newline, and one more byte than may be.
        let most = u64::try_from(RECORD_LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(2);
        let mut bounded = (&mut self.file).take(most);
        bounded.read_until(b'\n', &mut self.bytes).map_err(SimError::record(self.path))?;
        self.line += 1;
        if self.bytes.is_empty() {
            return Ok(Line::End);
        }
        let is_ended = self.bytes.pop_if(|byte| *byte == b'\n').is_some();
        let text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(error) => {
                let (column, reason) = (error.valid_up_to() + 1, "this is no text".to_owned());
                return Err(self.refused(RecordError::Malformed { column, reason }));
            }
        };
        match read(text) {
            Ok(said) => Ok(Line::Whole(said)),
            Err(RecordError::CutShort) if !is_ended && self.line > 1 => Ok(Line::CutShort),
            Err(error) => Err(self.refused(error)),
        }
    }

    fn refused(&self, error: RecordError) -> SimError {
        let column = match &error {
            RecordError::Malformed { column, .. } => *column,
            RecordError::CutShort | RecordError::TooLong => self.bytes.len().max(1),
        };
        SimError::RecordLine { place: self.place(column), error }
    }

    fn place(&self, column: usize) -> FilePlace {
        FilePlace { path: self.path.to_owned(), line: self.line, column }
    }
}

impl Differs {
    fn new(line: usize, difference: Difference) -> Self {
        let Difference { place, recorded, came } = difference;
        Self { line, command: place + 1, recorded, came }
    }
}

impl ReplayReport {
    fn new(path: &Path, ketch: String) -> Self {
        Self {
            good: false,
            path: path.to_owned(),
            ketch,
            turns: 0,
            timeouts: 0,
            inputs: BTreeMap::new(),
            commands: BTreeMap::new(),
            seconds: 0.0,
            cut_line: None,
            difference: None,
            broken: 0,
            broken_first: Vec::new(),
        }
    }

    fn broke(&mut self, line: usize, rules: &[Rule]) {
        for rule in rules {
            self.broken += 1;
            if self.broken_first.len() < LISTED {
                self.broken_first.push(Broken { line, rule: rule.says() });
            }
        }
    }

    fn with(self, replay: &Replay) -> Self {
        let replayed = replay.replayed().clone();
        Self {
            good: self.difference.is_none() && self.broken == 0,
            turns: replayed.turns,
            timeouts: replayed.timeouts,
            seconds: (replayed.to - replayed.from).as_secs_f64(),
            inputs: replayed.inputs,
            commands: replayed.commands,
            ..self
        }
    }

    /// Whether every command is the same, and the contract was kept.
    pub(crate) fn is_good(&self) -> bool {
        self.good
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Self { turns, timeouts, seconds, ketch, .. } = self;
        writeln!(
            f,
            "{path}: {turns} turns in {seconds:.3} s, {timeouts} timeouts, by ketch {ketch}\n"
        )?;
        for (title, kinds) in [("told", &self.inputs), ("said", &self.commands)] {
            let mut table = Table::new([title, "times"]);
            kinds.iter().for_each(|(kind, times)| table.push([(*kind).into(), times.to_string()]));
            writeln!(f, "{table}")?;
        }
        if let Some(line) = self.cut_line {
            writeln!(f, "{path}:{line}: the last line is cut short: the record ends before it")?;
        }
        for Broken { line, rule } in &self.broken_first {
            writeln!(f, "{path}:{line}: {rule}")?;
        }
        if let Some(Differs { line, command, recorded, came }) = &self.difference {
            writeln!(f, "{path}:{line}: command {command} of this turn is another one now")?;
            writeln!(f, "  recorded  {}", shown(recorded.as_ref()))?;
            writeln!(f, "  came      {}", shown(came.as_ref()))?;
        }
        match (&self.difference, self.broken) {
            (Some(_), _) => writeln!(f, "FAILED: the commands are not the same"),
            (None, 0) => writeln!(f, "good: every command is the same, and the contract was kept"),
            (None, broken) => writeln!(f, "FAILED: the contract was broken {broken} times"),
        }
    }
}

fn shown(command: Option<&Command>) -> String {
    let text = command.map(|command| serde_json::to_string(command).unwrap_or_default());
    text.unwrap_or_else(|| "nothing".to_owned())
}

impl SimError {
    fn record(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.to_owned();
        move |error| SimError::Record { path: path.clone(), error }
    }
}
