//! Rule 7: what is durable is told to everybody.

use ketch_types::{Instant, PartSet, ShardId};

use crate::command::Command;
use crate::coordinator::Coordinator;
use crate::shard::{Shard, Voice};

impl Coordinator {
    pub(crate) fn announce(&mut self) {
        let now = self.now;
        let due = |shard: &&Shard| self.announces_at(shard).is_some_and(|at| at <= now);
        let ids: Vec<_> = self.shards.values().filter(due).map(|shard| shard.id).collect();
        for id in ids {
            self.announce_shard(id);
        }
    }

    fn announce_shard(&mut self, id: ShardId) {
        let now = self.now;
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let refresh = !shard.voice.due;
        (shard.voice.due, shard.voice.last) = (false, Some(now));
        for (key, held) in shard.held_states() {
            let Some(shard) = self.shards.get_mut(&id) else { return };
            let said = shard.voice.announced.get(&key);
            let known = said == Some(&held) && !refresh;
            if known || (held.is_empty() && said.is_none_or(PartSet::is_empty)) {
                continue;
            }
            shard.voice.announced.insert(key, held.clone());
            if !held.is_empty() && shard.voice.provided.insert(key.epoch) {
                self.command(Command::Provide { shard: id, epoch: key.epoch });
            }
            key.holding(held).into_iter().for_each(|held| self.command(Command::Announce(held)));
        }
    }

    /// Takes back all that was announced of a shard.
    pub(crate) fn withdraw(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let Voice { provided, announced, .. } = std::mem::take(&mut shard.voice);
        for (key, held) in announced {
            let nothing = key.holding(PartSet::empty(held.count()));
            nothing.into_iter().for_each(|held| self.command(Command::Announce(held)));
        }
        for epoch in provided {
            self.command(Command::StopProviding { shard: id, epoch });
        }
    }

    pub(crate) fn next_announcement(&self) -> Option<Instant> {
        let next = self.shards.values().filter_map(|shard| self.announces_at(shard));
        next.filter(|at| *at > self.now).min()
    }

    /// When a shard is to be announced: soon after something came, and again before peers forget it.
    fn announces_at(&self, shard: &Shard) -> Option<Instant> {
        if !self.config.serve || shard.doomed {
            return None;
        }
        match (shard.voice.due, shard.voice.last) {
            (true, None) => Some(self.now),
            (true, Some(last)) => Some(last + self.config.announce_interval),
            (false, last) => {
                let again = last? + self.config.announce_refresh;
                (!shard.voice.announced.is_empty()).then_some(again)
            }
        }
    }
}
