//! Who decides for a node: the real coordinator, or a baseline to compare it with.

use ketch_coordinator::{Command, Config, Coordinator, Event, Input, Phase, ShardStatus, Timer};
use ketch_types::{Instant, ShardId};

use crate::nearcore::Nearcore;
use crate::planted::Saboteur;

/// Who decides for a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// The real coordinator.
    #[default]
    Ketch,
    /// What NEAR's nearcore does.
    Nearcore,
}

impl PolicyKind {
    /// Every policy.
    pub const ALL: [PolicyKind; 2] = [PolicyKind::Ketch, PolicyKind::Nearcore];

    /// Its name on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            PolicyKind::Ketch => "ketch",
            PolicyKind::Nearcore => "nearcore",
        }
    }
}

/// Whoever decides for one node.
pub(crate) enum Policy {
    Ketch(Box<Coordinator>),
    Nearcore(Box<Nearcore>),
    /// A coordinator with a bug.
    Planted(Box<Saboteur>),
}

impl Policy {
    pub(crate) fn new(kind: PolicyKind, config: Config, seed: u64, now: Instant) -> Self {
        match kind {
            PolicyKind::Ketch => Policy::Ketch(Box::new(Coordinator::new(config, seed, now))),
            PolicyKind::Nearcore => {
                Policy::Nearcore(Box::new(Nearcore::new(config.serve, seed, now)))
            }
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        match self {
            Policy::Ketch(coordinator) => coordinator.handle(now, input),
            Policy::Nearcore(nearcore) => nearcore.handle(now, input),
            Policy::Planted(saboteur) => saboteur.handle(now, input),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Policy::Ketch(coordinator) => coordinator.handle_timeout(now),
            Policy::Nearcore(nearcore) => nearcore.handle_timeout(now),
            Policy::Planted(saboteur) => saboteur.handle_timeout(now),
        }
    }

    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        match self {
            Policy::Ketch(coordinator) => coordinator.poll_command(),
            Policy::Nearcore(nearcore) => nearcore.poll_command(),
            Policy::Planted(saboteur) => saboteur.poll_command(),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Policy::Ketch(coordinator) => coordinator.poll_event(),
            Policy::Nearcore(nearcore) => nearcore.poll_event(),
            Policy::Planted(saboteur) => saboteur.poll_event(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self {
            Policy::Ketch(coordinator) => coordinator.poll_timeout(),
            Policy::Nearcore(nearcore) => nearcore.poll_timeout(),
            Policy::Planted(saboteur) => saboteur.poll_timeout(),
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        match self {
            Policy::Ketch(coordinator) => coordinator.is_at_rest(),
            Policy::Nearcore(nearcore) => nearcore.is_at_rest(),
            Policy::Planted(saboteur) => saboteur.policy().is_at_rest(),
        }
    }

    /// Verified bytes that wait or are under way; who counts none has none. *Units:* bytes.
    pub(crate) fn pending_bytes(&self) -> u64 {
        match self {
            Policy::Ketch(coordinator) => coordinator.pending_bytes(),
            Policy::Nearcore(_) => 0,
            Policy::Planted(saboteur) => saboteur.policy().pending_bytes(),
        }
    }

    pub(crate) fn phase(&self, shard: ShardId) -> Option<Phase> {
        match self {
            Policy::Ketch(coordinator) => coordinator.phase(shard),
            Policy::Nearcore(nearcore) => nearcore.phase(shard),
            Policy::Planted(saboteur) => saboteur.policy().phase(shard),
        }
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
        match self {
            Policy::Ketch(coordinator) => coordinator.shards().map(|status| status.phase).collect(),
            Policy::Nearcore(nearcore) => nearcore.phases(),
            Policy::Planted(saboteur) => saboteur.policy().phases(),
        }
    }

    pub(crate) fn status(&self, shard: ShardId) -> Option<ShardStatus> {
        match self {
            Policy::Ketch(coordinator) => coordinator.shards().find(|status| status.shard == shard),
            Policy::Nearcore(nearcore) => nearcore.status(shard),
            Policy::Planted(saboteur) => saboteur.policy().status(shard),
        }
    }
}
