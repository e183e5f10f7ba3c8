//! `ketch node --record`: what the coordinator is told and says, written beside the node's work.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ketch_sim::{RecordError, RecordStart, RecordedTurn};
use thiserror::Error;

use crate::node_error::NodeError;

/// Turns that wait to be written: some seconds of a busy node's, and a few MiB.
const WAITING_MAX: usize = 8_192;

/// A new file for a record.
pub(crate) struct RecordFile {
    path: PathBuf,
    file: File,
}

/// Writes a record, on a thread of its own. The driver never waits for it: where the disk is too slow or
/// fails, the record ends, and what is in the file is its beginning.
///
/// Dropped, it writes what waits, and waits for that.
pub(crate) struct Recorder {
    turns: Option<SyncSender<RecordedTurn>>,
    writer: Option<JoinHandle<()>>,
}

/// Why a record ends before its node does.
#[derive(Debug, Error)]
enum RecordingError {
    #[error(transparent)]
    Write(#[from] io::Error),
    #[error(transparent)]
    Line(#[from] RecordError),
}

impl RecordFile {
    /// Makes the file, which must not be there.
    ///
    /// *Errors:* [`NodeError::File`].
    pub(crate) fn create(path: &Path) -> Result<Self, NodeError> {
        let file = File::create_new(path).map_err(NodeError::file(path))?;
        Ok(Self { path: path.to_owned(), file })
    }
}

impl Recorder {
    /// Begins a record.
    ///
    /// *Errors:* [`NodeError::Runtime`] where there is no thread for it.
    pub(crate) fn start(file: RecordFile, start: RecordStart) -> Result<Self, NodeError> {
        let (turns, waiting) = sync_channel(WAITING_MAX);
        let write = move || {
            if let Err(error) = write(file.file, &start, &waiting) {
                let path = file.path.display();
                tracing::warn!(%path, %error, "the record ends here, and the node goes on");
            }
        };
        let thread = std::thread::Builder::new().name("ketch-recorder".to_owned());
        let writer = thread.spawn(write).map_err(NodeError::Runtime)?;
        Ok(Self { turns: Some(turns), writer: Some(writer) })
    }

    /// Whether turns are still recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.turns.is_some()
    }

    /// Hands over a turn.
    pub(crate) fn turn(&mut self, turn: RecordedTurn) {
        let Some(turns) = &self.turns else { return };
        if let Err(error) = turns.try_send(turn) {
            if matches!(error, TrySendError::Full(_)) {
                tracing::warn!("the disk is too slow: the record ends here, and the node goes on");
            }
            self.turns = None;
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.turns = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::warn!("the record's writer panicked");
        }
    }
}

/// Writes until nobody records any more; what is written is with the system whenever nothing waits.
fn write(
    file: File,
    start: &RecordStart,
    turns: &Receiver<RecordedTurn>,
) -> Result<(), RecordingError> {
    let mut file = BufWriter::new(file);
    file.write_all(start.to_line()?.as_bytes())?;
    loop {
        let turn = match turns.try_recv() {
            Ok(turn) => turn,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) => {
                file.flush()?;
                match turns.recv() {
                    Ok(turn) => turn,
                    Err(_) => break,
                }
            }
        };
        file.write_all(turn.to_line()?.as_bytes())?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use ketch_coordinator::{Config, Input};
    use ketch_types::Instant;

    use super::*;

    fn start() -> RecordStart {
        RecordStart::new(Config::default(), 7, Instant::ORIGIN)
    }

    fn turn(busy: bool) -> RecordedTurn {
        let input = Some(Input::HostBusy(busy));
        RecordedTurn { at: Instant::ORIGIN, input, commands: vec![] }
    }

    #[test]
    fn everything_that_was_handed_over_is_in_the_file_once_the_recorder_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let mut recorder = Recorder::start(RecordFile::create(&path).unwrap(), start()).unwrap();
        (0..100).for_each(|number| recorder.turn(turn(number % 2 == 0)));
        drop(recorder);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        assert_eq!(RecordStart::of_line(lines.next().unwrap()), Ok(start()));
        let turns: Vec<_> = lines.map(|line| RecordedTurn::of_line(line).unwrap()).collect();
        assert_eq!(turns, (0..100).map(|number| turn(number % 2 == 0)).collect::<Vec<_>>());
        assert!(RecordFile::create(&path).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_that_fails_ends_the_record_and_nothing_else() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let file = RecordFile { path: "/dev/full".into(), file: full };
        let mut recorder = Recorder::start(file, start()).unwrap();
        // The first flush fails, the writer is gone, and that is noticed by whoever hands over.
        while recorder.is_on() {
            recorder.turn(turn(true));
        }
        recorder.turn(turn(false));
    }

    #[test]
    fn a_writer_that_does_not_keep_up_is_not_waited_for() {
        let (turns, waiting) = sync_channel(2);
        let mut recorder = Recorder { turns: Some(turns), writer: None };
        (0..3).for_each(|_| recorder.turn(turn(true)));
        assert!(!recorder.is_on());
        assert_eq!(waiting.iter().count(), 2);
    }
}
