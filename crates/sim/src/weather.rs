//! What befalls the network: ways that are slow, cut or stopped up.

use std::collections::BTreeMap;
use std::time::Duration;

use ketch_types::Chance;

use crate::node::NodeId;

/// How long TCP waits before it first sends again what was lost; each further time twice as long.
///
/// *Source:* RFC 6298, with the least that Linux waits.
const RETRANSMISSION: Duration = Duration::from_millis(200);
/// Of so many times in a row something is lost at most.
const LOSSES_MAX: u32 = 6;

/// The network's present state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    skies: BTreeMap<NodeId, Sky>,
    /// From whom to whom nothing goes through.
    blocked: BTreeMap<(NodeId, NodeId), u32>,
}

/// How it is around one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sky {
    /// Every message takes so much longer.
    pub(crate) delay: Duration,
    /// Every message takes up to so much longer, each as it comes: later ones may arrive first.
    pub(crate) jitter: Duration,
    /// How many packets are lost, which TCP sends again. *Units:* per thousand.
    pub(crate) loss_per_mille: u64,
    /// Gossip comes twice.
    pub(crate) doubles: bool,
}

impl Weather {
    pub(crate) fn sky(&self, node: NodeId) -> Sky {
        self.skies.get(&node).copied().unwrap_or_default()
    }

    pub(crate) fn set_sky(&mut self, node: NodeId, sky: Sky) {
        if sky == Sky::default() {
            self.skies.remove(&node);
        } else {
            self.skies.insert(node, sky);
        }
    }

    /// Lets nothing through from one node to another, until as many unblockings.
    pub(crate) fn block(&mut self, from: NodeId, to: NodeId) {
        *self.blocked.entry((from, to)).or_default() += 1;
    }

    pub(crate) fn unblock(&mut self, from: NodeId, to: NodeId) {
        if let Some(times) = self.blocked.get_mut(&(from, to)) {
            *times = times.saturating_sub(1);
        }
        self.blocked.retain(|_, times| *times > 0);
    }

    pub(crate) fn is_blocked(&self, from: NodeId, to: NodeId) -> bool {
        self.blocked.contains_key(&(from, to))
    }

    /// What it adds to a message's way.
    pub(crate) fn delay(&self, chance: &mut Chance, a: NodeId, b: NodeId) -> Duration {
        if self.skies.is_empty() {
            return Duration::ZERO;
        }
        [self.sky(a), self.sky(b)].iter().map(|sky| sky.draw(chance)).sum()
    }
}

impl Sky {
    fn draw(&self, chance: &mut Chance) -> Duration {
        let mut delay = self.delay;
        if self.jitter > Duration::ZERO {
            let most = u64::try_from(self.jitter.as_nanos()).unwrap_or(u64::MAX);
            delay += Duration::from_nanos(chance.draw() % most.max(1));
        }
        let mut losses = 0;
        while losses < LOSSES_MAX && chance.draw() % 1_000 < self.loss_per_mille {
            delay += RETRANSMISSION * (1 << losses);
            losses += 1;
        }
        delay
    }
}
