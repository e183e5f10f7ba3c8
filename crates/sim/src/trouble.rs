//! What is wrong with one node's machine.

use std::time::Duration;

use ketch_coordinator::OurFault;
use ketch_types::Instant;

/// What is wrong with a node's machine at present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Nothing can be written: the disk is full.
    pub(crate) is_full: bool,
    /// Nothing can be synced.
    pub(crate) sync_fails: bool,
    /// Nothing can be read that is not cached.
    pub(crate) read_fails: bool,
    /// The disk takes so many times as long.
    pub(crate) slowness: u32,
    /// The process stands still until then.
    pub(crate) stands_until: Option<Instant>,
    /// Its clock is so far ahead of the world's.
    pub(crate) ahead: Duration,
    /// What becomes of the next window that is applied.
    pub(crate) next_apply: Option<ApplyCut>,
}

/// Where the power fails while a window is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApplyCut {
    /// Everything is written, and nothing is marked.
    BeforeMarker,
    /// Some parts of the window are written, and one in part.
    Torn,
    /// Everything is marked, and nobody was told.
    AfterMarker,
}

impl Trouble {
    /// Why something cannot be written and synced, if it cannot.
    pub(crate) fn of_writing(&self) -> Option<OurFault> {
        match (self.is_full, self.sync_fails) {
            (true, _) => Some(OurFault::DiskFull),
            (_, true) => Some(OurFault::Stopped),
            _ => None,
        }
    }

    /// How long something on the disk takes.
    pub(crate) fn takes(&self, usual: Duration) -> Duration {
        usual * self.slowness.max(1)
    }
}
