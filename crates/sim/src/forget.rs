//! What disks forget: writes that were said to be durable, and starts of epochs.

use std::collections::{BTreeMap, VecDeque};

use ketch_coordinator::Work;
use ketch_types::{Chance, ShardId, StateRoot};

use crate::disk::Disk;
use crate::node::{Node, NodeId};
use crate::world::World;

/// Writes to one store that can be lost at once.
const UNSYNCED_MAX: usize = 16;

/// What a disk holds back that lies about its syncs.
#[derive(Default)]
pub(crate) struct Unsynced {
    /// What each store was before each of its newest writes, the oldest first; none where there was no
    /// store.
    before: BTreeMap<ShardId, VecDeque<Option<Disk>>>,
}

impl Unsynced {
    fn note(&mut self, shard: ShardId, disk: Option<&Disk>) {
        let before = self.before.entry(shard).or_default();
        before.push_back(disk.cloned());
        if before.len() > UNSYNCED_MAX {
            before.pop_front();
        }
    }

    /// Has each store lose a chance number of its newest writes; how many are lost in all.
    fn lose(self, disks: &mut BTreeMap<ShardId, Disk>, chance: &mut Chance) -> usize {
        let mut lost = 0;
        for (shard, before) in self.before {
            let kept = chance.below(before.len().max(1));
            lost += before.len() - kept;
            match before.into_iter().nth(kept) {
                Some(Some(disk)) => drop(disks.insert(shard, disk)),
                Some(None) => drop(disks.remove(&shard)),
                None => {}
            }
        }
        lost
    }
}

impl Node {
    /// Takes note of what a store is before work changes it, if its writes may be lost.
    pub(crate) fn note_write(&mut self, work: &Work) {
        let (Some(unsynced), Some(shard)) = (&mut self.unsynced, work.shard()) else { return };
        if !matches!(work, Work::Open { .. } | Work::Search { .. } | Work::Generate { .. }) {
            unsynced.note(shard, self.disks.get(&shard));
        }
    }
}

impl World {
    /// A node's disk says from now on that it has synced what it has not.
    pub(crate) fn hold_writes_back(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(id) {
            node.unsynced.get_or_insert_default();
        }
    }

    /// The power fails at a node, and the newest writes are as if they had never been.
    pub(crate) fn lose_writes(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let Some(unsynced) = node.unsynced.take() else { return };
        let lost = unsynced.lose(&mut node.disks, &mut self.chance);
        if lost > 0 {
            self.ledger.fired("lost-writes");
            self.trace.tell(self.now, id, |line| write!(line, "lost {lost} writes"));
            self.crash_for_a_while(id);
        }
    }

    /// Whether a node has lost a start that it thinks it has.
    pub(crate) fn is_pruned(&self, id: NodeId, shard: ShardId, root: StateRoot) -> bool {
        let disk = self.nodes.get(id).and_then(|node| node.disks.get(&shard));
        disk.is_some_and(|disk| disk.is_pruned(root))
    }

    /// A node loses the newest start of each shard that it holds, and is not told: it finds out when it
    /// makes parts of it, or when it is started again.
    pub(crate) fn prune(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let mut pruned = 0;
        for (shard, disk) in &mut node.disks {
            let Some((epoch, root)) = disk.prune() else { continue };
            node.memory.manifests.remove(&root);
            node.memory.duties.lost(*shard, epoch);
            pruned += 1;
        }
        if pruned > 0 {
            self.ledger.fired("prune");
        }
    }
}
