//! Who decides for a node: the real coordinator, or a baseline to compare it with.

use ketch_coordinator::{Command, Config, Coordinator, Event, Input, Phase, ShardStatus, Timer};
use ketch_types::{Instant, ShardId};

/// Who decides for a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PolicyKind {
    /// The real coordinator.
    #[default]
    Ketch,
}

/// Whoever decides for one node.
pub(crate) enum Policy {
    Ketch(Box<Coordinator>),
}

impl Policy {
    pub(crate) fn new(kind: PolicyKind, config: Config, seed: u64, now: Instant) -> Self {
        match kind {
            PolicyKind::Ketch => Policy::Ketch(Box::new(Coordinator::new(config, seed, now))),
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        match self {
            Policy::Ketch(coordinator) => coordinator.handle(now, input),
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Policy::Ketch(coordinator) => coordinator.handle_timeout(now),
        }
    }

    pub(crate) fn poll_command(&mut self) -> Option<Command> {
        match self {
            Policy::Ketch(coordinator) => coordinator.poll_command(),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        match self {
            Policy::Ketch(coordinator) => coordinator.poll_event(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        match self {
            Policy::Ketch(coordinator) => coordinator.poll_timeout(),
        }
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        match self {
            Policy::Ketch(coordinator) => coordinator.is_at_rest(),
        }
    }

    /// *Units:* bytes.
    pub(crate) fn pending_bytes(&self) -> u64 {
        match self {
            Policy::Ketch(coordinator) => coordinator.pending_bytes(),
        }
    }

    pub(crate) fn phase(&self, shard: ShardId) -> Option<Phase> {
        match self {
            Policy::Ketch(coordinator) => coordinator.phase(shard),
        }
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
        match self {
            Policy::Ketch(coordinator) => coordinator.shards().map(|status| status.phase).collect(),
        }
    }

    pub(crate) fn status(&self, shard: ShardId) -> Option<ShardStatus> {
        match self {
            Policy::Ketch(coordinator) => coordinator.shards().find(|status| status.shard == shard),
        }
    }
}
