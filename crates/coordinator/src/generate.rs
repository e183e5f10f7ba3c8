//! Making parts: those of an epoch's start before anybody asks, others once somebody does. A part is
//! made once, however many wait for it.

use ketch_types::{Epoch, PartIndex, PartSet, ShardId, StateRoot};

use crate::command::Work;
use crate::coordinator::Coordinator;
use crate::id::Ask;
use crate::input::JobEnd;
use crate::shard::Start;

/// Parts that are made together ahead of demand: enough neighbours for a long read, few enough that
/// who asks for one of them does not wait long.
const BATCH: u32 = 8;

impl Coordinator {
    /// Has the next parts of held starts made, the newest epoch first: that is what peers ask for.
    pub(crate) fn pregenerate(&mut self) {
        let ahead = |work: &Work| matches!(work, Work::Generate { awaited: false, .. });
        if self.jobs.iter().any(ahead) || self.host_busy || !self.config.serve {
            return;
        }
        while let Some((id, epoch)) = self.next_start() {
            let Some(start) = self.shards.get_mut(&id).and_then(|s| s.starts.get_mut(&epoch))
            else {
                return;
            };
            let (root, count) = (start.sizes.root(), start.sizes.count());
            let mut parts = PartSet::empty(count);
            while parts.len() < BATCH && start.made < count {
                let part = PartIndex(start.made);
                start.made += 1;
                let known = start.cached.contains(part);
                if !known && self.serving.generating.insert((id, root, part)) {
                    parts.insert(part);
                }
            }
            if !parts.is_empty() {
                self.run(Work::Generate { shard: id, root, parts, awaited: false });
                return;
            }
        }
    }

    /// The newest start of which parts have not been made ahead.
    fn next_start(&self) -> Option<(ShardId, Epoch)> {
        let shards = self.shards.values().filter(|shard| shard.is_open());
        let starts = shards.flat_map(|shard| {
            let unmade = |(_, start): &(&Epoch, &Start)| start.made < start.sizes.count();
            shard.starts.iter().filter(unmade).map(|(epoch, _)| (shard.id, *epoch))
        });
        starts.min_by_key(|(id, epoch)| (std::cmp::Reverse(*epoch), *id))
    }

    /// Whether one more part may be made for those who wait for it.
    pub(crate) fn may_generate(&self) -> bool {
        let most = if self.host_busy { 1 } else { self.config.generations_max };
        let awaited = |work: &&Work| matches!(work, Work::Generate { awaited: true, .. });
        self.jobs.iter().filter(awaited).count() < most
    }

    /// Has the stream's next part made that is not in the cache.
    pub(crate) fn generate_for(&mut self, ask: Ask) {
        if !self.may_generate() {
            return;
        }
        // Who does not take what is there needs nothing more.
        if !self.has_room(ask) || self.next_cached(ask).is_some() {
            return;
        }
        let Some(stream) = self.serving.parts(ask) else { return };
        let (id, root) = (stream.shard, stream.root);
        let shard = self.shards.get(&id).filter(|shard| shard.is_open());
        let Some((sizes, cached)) = shard.and_then(|shard| shard.cached(root)) else { return };
        let absent = |part: &PartIndex| {
            !cached.contains(*part) && !self.serving.generating.contains(&(id, root, *part))
        };
        let Some(part) = stream.left.iter().find(absent) else { return };
        let mut parts = PartSet::empty(sizes.count());
        parts.insert(part);
        self.serving.generating.insert((id, root, part));
        self.run(Work::Generate { shard: id, root, parts, awaited: true });
    }

    /// Parts were made, or could not be: who waits for those is told that they are not held.
    pub(crate) fn generated(
        &mut self,
        id: ShardId,
        root: StateRoot,
        parts: &PartSet,
        end: &JobEnd,
    ) {
        for part in parts.iter() {
            self.serving.generating.remove(&(id, root, part));
            let made = matches!(end, JobEnd::Generated { made } if made.contains(part));
            if made && let Some(shard) = self.shards.get_mut(&id) {
                shard.cache(root, part);
            } else {
                self.serving.give_up(root, part);
            }
            if let JobEnd::Generated { .. } = end
                && let Some(shard) = self.shards.get_mut(&id).filter(|_| !made)
            {
                shard.lose(root, part);
            }
        }
    }
}
