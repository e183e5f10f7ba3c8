//! Looks at the nodes of a testnet while they run.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ketch_types::{Epoch, ShardId};
use tokio::time::Instant;

use super::child::Process;
use super::outcome::{Outcome, StateCheck, TakenRow};
use super::plan::Plan;
use crate::driver::blocking;
use crate::figure::Known;
use crate::http::ask;
use crate::progress::Figures;
use crate::status::{NodeStatus, ShardReport, Taken};
use crate::table::Table;

/// How long a node may take to say how it stands; one that is paused holds nobody up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long nodes may take to tell of the last boundary.
const SETTLE: Duration = Duration::from_secs(10);

/// What has been seen of the nodes.
pub(super) struct Watch {
    sequencer: NodeStatus,
    /// By name, as it was seen last.
    nodes: BTreeMap<String, NodeStatus>,
    /// What each validator must take: its name, the epoch, the shard.
    expected: Vec<(String, Epoch, ShardId)>,
    /// All that was seen to be taken, also by processes that have ended since.
    taken: BTreeMap<(String, u64, u32), Taken>,
    begun: Instant,
    shown: Option<Instant>,
    lines: usize,
}

impl Watch {
    pub(super) fn new(plan: &Plan) -> Self {
        let epochs = (0..plan.wanted.epochs).map(Epoch);
        let expected = epochs.flat_map(|epoch| {
            let validators = plan.validators.iter().enumerate();
            validators.flat_map(move |(place, validator)| {
                let shards = plan.taken_in(place, epoch).into_iter();
                shards.map(move |shard| (validator.name.clone(), epoch, shard))
            })
        });
        Self {
            sequencer: NodeStatus::default(),
            nodes: BTreeMap::new(),
            expected: expected.collect(),
            taken: BTreeMap::new(),
            begun: Instant::now(),
            shown: None,
            lines: 0,
        }
    }

    /// The sequencer's height.
    pub(super) fn height(&self) -> u64 {
        self.sequencer.head.as_ref().map_or(0, |head| head.height)
    }

    /// The node's shards that it must track, as it was seen last.
    pub(super) fn tracked(&self, name: &str) -> impl Iterator<Item = &ShardReport> {
        let shards = self.nodes.get(name).into_iter().flat_map(|node| &node.shards);
        shards.filter(|shard| shard.is_tracked)
    }

    /// Asks every node how it stands, all at once.
    pub(super) async fn look(&mut self, sequencer: &Process, followers: &[Process]) {
        if let Some(status) = status_of(sequencer.ready.http).await {
            self.sequencer = status;
        }
        let asked = followers.iter().map(|process| async {
            (process.member.name.clone(), status_of(process.ready.http).await)
        });
        for (name, status) in futures::future::join_all(asked).await {
            let Some(status) = status else { continue };
            for taken in &status.taken {
                self.taken.insert((name.clone(), taken.epoch, taken.shard), taken.clone());
            }
            self.nodes.insert(name, status);
        }
    }

    /// Looks on until everybody has told of the last boundary, or has had the time for it.
    pub(super) async fn settle(&mut self, sequencer: &Process, followers: &[Process]) {
        let ends = Instant::now() + SETTLE;
        while !self.all_told() && Instant::now() < ends {
            self.look(sequencer, followers).await;
            tokio::time::sleep(super::LOOK).await;
        }
    }

    fn all_told(&self) -> bool {
        self.expected
            .iter()
            .all(|expected| self.taken_of(expected).is_some_and(|taken| taken.in_time.is_some()))
    }

    fn taken_of(&self, (name, epoch, shard): &(String, Epoch, ShardId)) -> Option<&Taken> {
        self.taken.get(&(name.clone(), epoch.0, shard.0))
    }

    /// What came of it.
    pub(super) fn outcome(
        &self,
        plan: &Plan,
        stopped: Vec<(String, bool)>,
        states: Vec<StateCheck>,
    ) -> Outcome {
        let rows = self.expected.iter().map(|expected| {
            let (name, epoch, shard) = expected;
            let boundary = self.sequencer.epochs_began_ms.get(&epoch.next().0);
            let taken = self.taken_of(expected).cloned().unwrap_or_default();
            // By the sequencer's clock as well as by the node's own.
            let by_sequencer = boundary.is_some_and(|began| taken.caught_up_ms < *began);
            let in_time = Some(taken.in_time == Some(true) && by_sequencer);
            let taken = Taken { epoch: epoch.0, shard: shard.0, in_time, ..taken };
            TakenRow { validator: name.clone(), taken }
        });
        Outcome {
            rows: rows.collect(),
            states,
            unclean: stopped.into_iter().filter(|(_, ok)| !ok).map(|(name, _)| name).collect(),
            height: self.height(),
            seconds: self.begun.elapsed().as_secs_f64(),
            epochs: plan.wanted.epochs,
        }
    }

    /// Shows how everybody stands: over itself on a terminal, else a line now and then.
    pub(super) fn show(&mut self) {
        use std::io::{IsTerminal as _, Write as _};
        let mut out = std::io::stderr();
        let interval = if out.is_terminal() { LIVE } else { QUIET };
        if self.shown.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        self.shown = Some(Instant::now());
        let text = self.table();
        let erase = if out.is_terminal() { erased(self.lines) } else { String::new() };
        self.lines = text.lines().count();
        // Who does not look misses nothing that is not told at the end.
        let _ = out.write_all(format!("{erase}{text}").as_bytes());
    }

    /// Takes the live table away.
    pub(super) fn clear(&mut self) {
        use std::io::IsTerminal as _;
        if std::io::stderr().is_terminal() {
            eprint!("{}", erased(self.lines));
        }
        self.lines = 0;
    }

    fn table(&self) -> String {
        let epoch = self.sequencer.epoch.unwrap_or(0);
        let elapsed = self.begun.elapsed().as_secs();
        let mut table =
            Table::new(["NODE", "SHARD", "PHASE", "HELD", "RATE", "ETA", "MARGIN", "VERDICT"]);
        for (name, node) in &self.nodes {
            for shard in node.shards.iter().filter(|shard| shard.deadline_height.is_some()) {
                let Figures { percent, rate, eta, margin } = Figures::of(shard);
                table.push([
                    name.clone(),
                    shard.shard.to_string(),
                    shard.phase.clone(),
                    percent.to_string(),
                    rate.to_string(),
                    eta.to_string(),
                    margin.to_string(),
                    Known(shard.verdict.as_deref()).to_string(),
                ]);
            }
        }
        format!("{elapsed:>4} s  height {}  epoch {epoch}\n{table}", self.height())
    }
}

/// Between two showings on a terminal, and elsewhere.
const LIVE: Duration = Duration::from_millis(500);
const QUIET: Duration = Duration::from_secs(10);

/// What takes so many lines off a terminal.
fn erased(lines: usize) -> String {
    "\x1b[1A\x1b[2K".repeat(lines)
}

/// How a node stands, if it says so in time.
async fn status_of(address: SocketAddr) -> Option<NodeStatus> {
    blocking(move || ask(address, PATIENCE)).await?.ok().map(|(_, status)| status)
}
