//! What goes wrong: by a script, or drawn by rate.

use std::collections::BTreeMap;
use std::time::Duration;

use ketch_coordinator::Input;
use ketch_types::{Chance, Instant};

use crate::node::NodeId;
use crate::trouble::ApplyCut;
use crate::world::{Happening, World};

/// One thing that goes wrong at one node for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Where.
    pub node: NodeId,
    /// At whose side, for what is between two.
    pub other: NodeId,
    /// When it begins.
    pub at: Instant,
    /// How long it lasts.
    pub lasting: Duration,
}

/// What can go wrong with the network and with nodes. What peers do is [`Lie`](crate::Lie), what the
/// chain does is in its setup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// All messages take long.
    Delay,
    /// Messages take more or less long.
    Jitter,
    /// Messages overtake each other.
    Reorder,
    /// Packets are lost, and sent again.
    Loss,
    /// Gossip comes twice.
    Duplicate,
    /// Old announcements are spread again.
    Replay,
    /// Nothing goes from one node to another, though it goes the other way.
    OneWayCut,
    /// Nothing goes between one node and all others.
    Partition,
    /// What goes to a node waits, and comes all at once.
    Clog,
    /// A line has a tenth of its bandwidth.
    Cap,
    /// A node is gone, and the others are not told.
    HalfOpen,
    /// A connection is cut while parts are on their way.
    Reset,
    /// A node's process is killed.
    Crash,
    /// … while a window is written, before it is marked.
    CrashBeforeMarker,
    /// … while a window is written, which is left half written.
    TornWrite,
    /// … after a window was marked, before anybody knows.
    CrashAfterMarker,
    /// What is on the disk cannot be read.
    ReadError,
    /// What is written cannot be synced.
    SyncError,
    /// The disk is full.
    DiskFull,
    /// Something on the disk changes by itself, and is found.
    BitRot,
    /// The disk is slow.
    SlowDisk,
    /// The process stands still.
    Pause,
    /// The clock jumps ahead.
    ClockJump,
    /// A node's own work becomes slow.
    HostBusy,
    /// A disk says that it has synced what it has not; then the power fails, and the newest writes are as
    /// if they had never been.
    LostWrites,
    /// A node is gone for a while, and comes back under another identity.
    NewIdentity,
    /// The newest starts of epochs that a node holds are gone.
    Prune,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 27] = [
        FaultKind::Delay,
        FaultKind::Jitter,
        FaultKind::Reorder,
        FaultKind::Loss,
        FaultKind::Duplicate,
        FaultKind::Replay,
        FaultKind::OneWayCut,
        FaultKind::Partition,
        FaultKind::Clog,
        FaultKind::Cap,
        FaultKind::HalfOpen,
        FaultKind::Reset,
        FaultKind::Crash,
        FaultKind::CrashBeforeMarker,
        FaultKind::TornWrite,
        FaultKind::CrashAfterMarker,
        FaultKind::ReadError,
        FaultKind::SyncError,
        FaultKind::DiskFull,
        FaultKind::BitRot,
        FaultKind::SlowDisk,
        FaultKind::Pause,
        FaultKind::ClockJump,
        FaultKind::HostBusy,
        FaultKind::LostWrites,
        FaultKind::NewIdentity,
        FaultKind::Prune,
    ];

    /// Its name in scenarios and tables.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Delay => "delay",
            FaultKind::Jitter => "jitter",
            FaultKind::Reorder => "reorder",
            FaultKind::Loss => "loss",
            FaultKind::Duplicate => "duplicate",
            FaultKind::Replay => "replay",
            FaultKind::OneWayCut => "one-way-cut",
            FaultKind::Partition => "partition",
            FaultKind::Clog => "clog",
            FaultKind::Cap => "cap",
            FaultKind::HalfOpen => "half-open",
            FaultKind::Reset => "reset",
            FaultKind::Crash => "crash",
            FaultKind::CrashBeforeMarker => "crash-before-marker",
            FaultKind::TornWrite => "torn-write",
            FaultKind::CrashAfterMarker => "crash-after-marker",
            FaultKind::ReadError => "read-error",
            FaultKind::SyncError => "sync-error",
            FaultKind::DiskFull => "disk-full",
            FaultKind::BitRot => "bit-rot",
            FaultKind::SlowDisk => "slow-disk",
            FaultKind::Pause => "pause",
            FaultKind::ClockJump => "clock-jump",
            FaultKind::HostBusy => "host-busy",
            FaultKind::LostWrites => "lost-writes",
            FaultKind::NewIdentity => "new-identity",
            FaultKind::Prune => "prune",
        }
    }

    /// Whether it is counted when it strikes, and not when it begins: there may be nothing to strike.
    fn strikes_later(self) -> bool {
        matches!(self, FaultKind::LostWrites | FaultKind::NewIdentity | FaultKind::Prune)
    }

    /// The kind of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A fault's beginning or end.
#[derive(Clone, Copy)]
pub(crate) struct FaultTurn {
    fault: Fault,
    begins: bool,
}

/// A clogged or delayed way's delay.
const LONG: Duration = Duration::from_millis(800);
/// How uneven an uneven way is.
const UNEVEN: Duration = Duration::from_millis(400);
/// How many packets a bad way loses. *Units:* per thousand.
const LOSS_PER_MILLE: u64 = 150;
/// How long a process is down after the power failed.
const DOWN: Duration = Duration::from_secs(1);
/// How many times slower a slow disk is.
const SLOWNESS: u32 = 20;

impl World {
    /// Has something go wrong.
    pub fn fault(&mut self, fault: Fault) {
        self.at(fault.at, Happening::Fault(Box::new(FaultTurn { fault, begins: true })));
        let end = fault.at + fault.lasting;
        self.at(end, Happening::Fault(Box::new(FaultTurn { fault, begins: false })));
    }

    pub(crate) fn turn(&mut self, turn: FaultTurn) {
        let FaultTurn { fault, begins } = turn;
        if begins && !fault.kind.strikes_later() {
            self.ledger.fired(fault.kind.name());
        }
        if begins {
            self.trace.tell(self.now, fault.node, |line| write!(line, "{fault:?}"));
        }
        if matches!(fault.kind, FaultKind::Pause | FaultKind::ClockJump) {
            self.ledger.forget_verdicts(fault.node);
        }
        match fault.kind {
            FaultKind::Delay
            | FaultKind::Jitter
            | FaultKind::Reorder
            | FaultKind::Loss
            | FaultKind::Duplicate => self.turn_sky(fault, begins),
            FaultKind::OneWayCut | FaultKind::Partition | FaultKind::Clog | FaultKind::HalfOpen => {
                self.turn_ways(fault, begins);
            }
            FaultKind::Cap => self.turn_line(fault.node, if begins { 10 } else { 1 }),
            FaultKind::Replay if begins => self.replay_announcements(fault.node),
            FaultKind::Reset if begins => self.reset(fault.node),
            FaultKind::Crash if begins => {
                self.crash_now(fault.node);
                self.after(fault.lasting, Happening::Start(fault.node));
            }
            FaultKind::BitRot if begins => {
                let shards = self.nodes.get(fault.node).map(|n| n.disks.keys().copied().collect());
                let shards: Vec<_> = shards.unwrap_or_default();
                let shard = shards.get(self.chance.below(shards.len().max(1)));
                shard.into_iter().for_each(|shard| self.damage(fault.node, *shard));
            }
            FaultKind::HostBusy => self.tell(fault.node, Input::HostBusy(begins)),
            FaultKind::LostWrites if begins => self.hold_writes_back(fault.node),
            FaultKind::LostWrites => self.lose_writes(fault.node),
            FaultKind::NewIdentity => self.turn_identity(fault.node, begins),
            FaultKind::Prune if begins => self.prune(fault.node),
            _ => self.turn_machine(fault, begins),
        }
    }

    fn turn_sky(&mut self, fault: Fault, begins: bool) {
        let mut sky = self.weather.sky(fault.node);
        let of = |duration: Duration| if begins { duration } else { Duration::ZERO };
        match fault.kind {
            FaultKind::Delay => sky.delay = of(LONG),
            FaultKind::Jitter => sky.jitter = of(UNEVEN),
            FaultKind::Reorder => sky.jitter = of(UNEVEN * 4),
            FaultKind::Loss => sky.loss_per_mille = if begins { LOSS_PER_MILLE } else { 0 },
            _ => sky.doubles = begins,
        }
        self.weather.set_sky(fault.node, sky);
    }

    fn turn_ways(&mut self, fault: Fault, begins: bool) {
        let others: Vec<_> = (0..self.nodes.len()).filter(|other| *other != fault.node).collect();
        let ways: Vec<_> = match fault.kind {
            FaultKind::OneWayCut => vec![(fault.node, fault.other)],
            FaultKind::Clog => others.iter().map(|other| (*other, fault.node)).collect(),
            _ => others.iter().flat_map(|o| [(*o, fault.node), (fault.node, *o)]).collect(),
        };
        for (from, to) in ways {
            if begins {
                self.weather.block(from, to);
            } else {
                self.weather.unblock(from, to);
            }
        }
        // Over a way that is half open everything looks as before, but the process is another one.
        if fault.kind == FaultKind::HalfOpen && begins {
            self.end_silently(fault.node);
        }
        if fault.kind == FaultKind::HalfOpen && !begins {
            self.notice_gone(fault.node);
        }
        self.hold_flights();
        self.unclog();
        if !begins {
            self.dial_contacts(fault.node);
        }
    }

    /// What waited goes on, where the way is open again.
    fn unclog(&mut self) {
        for (from, to, era, message) in std::mem::take(&mut self.clogged) {
            if self.weather.is_blocked(from, to) {
                self.clogged.push((from, to, era, message));
            } else {
                let delay = self.delay(from, to);
                self.after(delay, Happening::Arrive { from, to, era, message });
            }
        }
    }

    fn turn_line(&mut self, node: NodeId, share: u64) {
        if let Some(of) = self.nodes.get(node) {
            let speed = of.setup.speed;
            self.fluid.set(node, speed.upload / share, speed.download / share);
        }
    }

    fn turn_machine(&mut self, fault: Fault, begins: bool) {
        let until = fault.at + fault.lasting;
        let Some(node) = self.nodes.get_mut(fault.node) else { return };
        let trouble = &mut node.trouble;
        let next_apply = |cut| if begins { Some(cut) } else { None };
        match fault.kind {
            FaultKind::CrashBeforeMarker => {
                trouble.next_apply = next_apply(ApplyCut::BeforeMarker);
            }
            FaultKind::TornWrite => trouble.next_apply = next_apply(ApplyCut::Torn),
            FaultKind::CrashAfterMarker => trouble.next_apply = next_apply(ApplyCut::AfterMarker),
            FaultKind::ReadError => trouble.read_fails = begins,
            FaultKind::SyncError => trouble.sync_fails = begins,
            FaultKind::DiskFull => trouble.is_full = begins,
            FaultKind::SlowDisk => trouble.slowness = if begins { SLOWNESS } else { 1 },
            FaultKind::Pause if begins => trouble.stands_until = Some(until),
            FaultKind::ClockJump if begins => trouble.ahead += fault.lasting,
            _ => {}
        }
    }

    /// The power fails at a node; it starts again after a while.
    pub(crate) fn crash_for_a_while(&mut self, id: NodeId) {
        self.crash_now(id);
        self.after(DOWN, Happening::Start(id));
    }

    /// A process that ended silently is missed, and starts again.
    fn notice_gone(&mut self, id: NodeId) {
        self.cut_off(id);
        self.after(DOWN, Happening::Start(id));
    }

    /// Somebody who has come leaves, and comes back as somebody else.
    fn turn_identity(&mut self, id: NodeId, leaves: bool) {
        if self.nodes.get(id).is_none_or(|node| self.now < node.setup.joins) {
            return;
        }
        self.crash_now(id);
        if !leaves {
            self.rename(id);
            self.start(id);
        }
    }

    fn reset(&mut self, id: NodeId) {
        let peers = self.peers_of(id);
        if let Some(peer) = peers.get(self.chance.below(peers.len().max(1))).copied() {
            self.unlink(id, peer);
            // Who is wanted is dialed again.
            self.dial(id, peer);
        }
    }

    fn replay_announcements(&mut self, id: NodeId) {
        let told: BTreeMap<_, _> =
            self.nodes.get(id).map(|n| n.last_holding.clone()).unwrap_or_default();
        for (author, holding) in told.into_values() {
            // Signed once, with the number that it had then: never a newer one than was told.
            self.spread(author, 1, &holding);
        }
    }
}

/// Faults drawn by chance: `per_minute` of them among some nodes from `from` to `to`.
pub fn chaos(
    chance: &mut Chance,
    nodes: &[NodeId],
    kinds: &[FaultKind],
    (from, to): (Instant, Instant),
    per_minute: u64,
) -> Vec<Fault> {
    let span = to - from;
    let count = u64::try_from(span.as_millis()).unwrap_or(0) * per_minute / 60_000;
    let mut draw = |below: usize| chance.below(below.max(1));
    let faults = (0..count).filter_map(|_| {
        let kind = *kinds.get(draw(kinds.len()))?;
        let node = *nodes.get(draw(nodes.len()))?;
        let other = *nodes.get(draw(nodes.len()))?;
        let span_ms = usize::try_from(span.as_millis()).unwrap_or(usize::MAX);
        let at = from + Duration::from_millis(draw(span_ms) as u64);
        let left_ms = usize::try_from((to - at).as_millis()).unwrap_or(0);
        let lasting = Duration::from_millis(draw(left_ms.min(8_000)) as u64);
        Some(Fault { kind, node, other, at, lasting })
    });
    faults.collect()
}
