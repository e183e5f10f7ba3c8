//! Rule 6: verified parts are applied as they complete a window.

use std::ops::Range;

use ketch_types::{Instant, PartIndex, ShardId};

use crate::command::Work;
use crate::coordinator::Coordinator;
use crate::download::Download;
use crate::id::JobId;
use crate::shard::Phase;

impl Coordinator {
    /// Starts as many windows as there are lanes, and fewer while the host's own work is slow.
    pub(crate) fn apply_ready(&mut self) {
        let lanes = if self.host_busy { 1 } else { self.config.applies_max };
        let running = self.jobs.iter().filter(|work| matches!(work, Work::Apply { .. })).count();
        let mut free = lanes.saturating_sub(running);
        if free == 0 {
            return;
        }
        let ids = self.shards_to_apply();
        for hurry in [false, true] {
            for id in &ids {
                free = self.apply_of(*id, free, hurry && self.memory_presses());
            }
        }
    }

    /// Shards with anything to apply, those with the least slack first.
    fn shards_to_apply(&self) -> Vec<ShardId> {
        let arrived = |id: &ShardId| {
            let download = self.shards.get(id).and_then(|shard| shard.download.as_ref());
            download.is_some_and(Download::has_arrived)
        };
        let others = self.shards.keys().filter(|id| !self.order.contains(id));
        self.order.iter().chain(others).copied().filter(arrived).collect()
    }

    /// Whether no part can be asked for because too many wait, and nothing else will free memory.
    fn memory_presses(&self) -> bool {
        let largest = |download: &Download| u64::from(download.sizes().cut());
        let downloads = self.shards.values().filter_map(|shard| shard.download.as_ref());
        let next = downloads.map(largest).max().unwrap_or(0);
        let applying = self.jobs.iter().any(|work| matches!(work, Work::Apply { .. }));
        !applying && self.pending_bytes().saturating_add(next) > self.config.memory_bytes
    }

    /// Applies what is ready of one shard; the lanes that are left.
    fn apply_of(&mut self, id: ShardId, mut lanes: usize, press: bool) -> usize {
        let (now, age_max) = (self.now, self.config.window_age_max);
        let Some(shard) = self.shards.get(&id).filter(|shard| !shard.doomed) else { return lanes };
        let Some(download) = &shard.download else { return lanes };
        // A target that was given up is settled at once, so that its successor can be compared.
        let hurry = press || (shard.phase == Phase::Locating && shard.sizes.is_some());
        let root = download.sizes().root();
        for run in download.ready(|opened| hurry || now - opened >= age_max) {
            if lanes == 0 {
                break;
            }
            lanes -= 1;
            let Range { start, end } = run;
            let parts = PartIndex(start)..PartIndex(end);
            let job = self.run(Work::Apply { shard: id, root, parts });
            if let Some(download) = self.shards.get_mut(&id).and_then(|s| s.download.as_mut()) {
                download.apply(start..end, job);
            }
        }
        lanes
    }

    pub(crate) fn applied(&mut self, id: ShardId, job: JobId) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        if let Some(download) = &mut shard.download {
            download.applied(job);
            shard.voice.due = true;
        }
        self.works_again(id);
        self.complete_if_whole(id);
    }

    pub(crate) fn next_window_timer(&self) -> Option<Instant> {
        let downloads = self.shards.values().filter_map(|shard| shard.download.as_ref());
        let waiting = downloads.filter(|download| download.has_arrived());
        let aged =
            |download: &Download| Some(download.oldest_window()? + self.config.window_age_max);
        waiting.filter_map(aged).filter(|at| *at > self.now).min()
    }
}
