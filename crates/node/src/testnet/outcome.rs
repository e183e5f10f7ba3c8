//! What came of a testnet.

use std::fmt;

use serde::Serialize;

use crate::figure::{ByteFigure, TimeFigure};
use crate::status::Taken;
use crate::table::Table;

/// What came of a testnet.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// What each validator was to take, in order of epochs.
    pub(super) rows: Vec<TakenRow>,
    /// What is on the nodes' disks.
    pub(super) states: Vec<StateCheck>,
    /// Nodes that did not end as they should.
    pub(super) unclean: Vec<String>,
    /// The sequencer's last height.
    pub(super) height: u64,
    /// How long the chain ran, from the nodes' start. *Units:* seconds.
    pub(super) seconds: f64,
    /// Changes of epochs.
    pub(super) epochs: u64,
}

/// A shard that a validator was to take in an epoch.
#[derive(Debug, Serialize)]
pub(super) struct TakenRow {
    pub(super) validator: String,
    /// What came of it: in time is what was caught up before the boundary by the node's own word and by
    /// the sequencer's clock.
    #[serde(flatten)]
    pub(super) taken: Taken,
}

impl TakenRow {
    pub(super) fn is_in_time(&self) -> bool {
        self.taken.in_time == Some(true)
    }
}

/// A shard on a node's disk, hashed afresh.
#[derive(Debug, Serialize)]
pub(super) struct StateCheck {
    pub(super) node: String,
    pub(super) shard: u32,
    pub(super) root: String,
    /// Whether it is a root under a quorum, not older than what the node had told.
    pub(super) is_signed: bool,
}

impl Outcome {
    /// Whether everything was as it must be.
    pub(crate) fn is_good(&self) -> bool {
        !self.rows.is_empty()
            && !self.states.is_empty()
            && self.rows.iter().all(TakenRow::is_in_time)
            && self.states.iter().all(|state| state.is_signed)
            && self.unclean.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "EPOCH",
            "VALIDATOR",
            "SHARD",
            "BYTES",
            "CAUGHT UP",
            "MARGIN",
            "BLOCKS",
            "TRACKERS",
            "PART SERVERS",
            "CATCHING UP",
            "IN TIME",
        ]);
        for row in &self.rows {
            let taken = &row.taken;
            table.push([
                taken.epoch.to_string(),
                row.validator.clone(),
                taken.shard.to_string(),
                ByteFigure(taken.bytes).to_string(),
                TimeFigure(taken.seconds).to_string(),
                TimeFigure(taken.margin_seconds).to_string(),
                taken.margin_blocks.to_string(),
                ByteFigure(taken.bytes_from_trackers).to_string(),
                ByteFigure(taken.bytes_from_part_servers).to_string(),
                ByteFigure(taken.bytes_from_catching_up).to_string(),
                if row.is_in_time() { "yes" } else { "NO" }.to_owned(),
            ]);
        }
        write!(f, "{table}")?;
        for state in self.states.iter().filter(|state| !state.is_signed) {
            writeln!(f, "{}: shard {} on disk is not under a quorum", state.node, state.shard)?;
        }
        for name in &self.unclean {
            writeln!(f, "{name}: did not end as it should")?;
        }
        let in_time = self.rows.iter().filter(|row| row.is_in_time()).count();
        let signed = self.states.iter().filter(|state| state.is_signed).count();
        write!(
            f,
            "{in_time} of {} shards taken in time over {} changes of epochs, {signed} of {} states \
             on disk under a quorum; {} blocks in {:.0} s",
            self.rows.len(),
            self.epochs,
            self.states.len(),
            self.height,
            self.seconds,
        )
    }
}
