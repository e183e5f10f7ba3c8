//! Work, on threads that may block.

use std::sync::Arc;

use ketch_coordinator::{JobEnd, JobId, OurFault, Work};
use ketch_trie::{Manifest, MemoryState, Outline, PackedPart, Writes};
use ketch_types::PartIndex;

use tokio::task::{JoinError, spawn_blocking};

use super::asking::blocking;
use super::{Driver, Told};

impl Driver {
    pub(super) fn run_work(&mut self, job: JobId, work: Work) {
        tracing::debug!(%job, ?work, "working");
        let mut parts = Vec::new();
        if let Work::Apply { shard, root, parts: window } = &work
            && let Some(arrived) = self.arrived.get_mut(&(*shard, *root))
        {
            // Used up whether the work succeeds or fails.
            let window = (window.start.0..window.end.0).map(PartIndex);
            parts.extend(window.filter_map(|part| arrived.remove(&part)));
        }
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let end = match work {
                Work::Search { shard, epoch } => {
                    shared.network.search(shard, epoch).await;
                    JobEnd::Searched
                }
                Work::CheckOurselves => {
                    JobEnd::Checked { sound: blocking(is_sound).await.unwrap_or(false) }
                }
                // The chain goes first: what follows it is not done in the background.
                work @ (Work::Replay { .. } | Work::Open { .. }) => {
                    let shared = Arc::clone(&shared);
                    done(spawn_blocking(move || shared.shards.work(&work, parts)).await)
                }
                work => {
                    let shards = Arc::clone(&shared);
                    let work = move || shards.shards.work(&work, parts);
                    done(shared.background.spawn_blocking(work).await)
                }
            };
            // Without a driver nobody waits for it.
            let _ = shared.told.send(Told::Job(job, end));
        });
    }
}

/// How work ended. A panic is an error of ours: what it was about is opened again.
fn done(ended: Result<JobEnd, JoinError>) -> JobEnd {
    ended.unwrap_or(JobEnd::Failed(OurFault::Stopped))
}

/// Whether memory, hash and decoder give what they must: a state is built, cut, packed, unpacked and
/// verified, over more memory than the caches hold.
fn is_sound() -> bool {
    let check = || {
        let mut writes = Writes::default();
        for number in 0..100_000_u32 {
            let key = blake3::hash(&number.to_le_bytes());
            writes.put(key.as_bytes(), &[number.to_le_bytes(); 24].concat()).ok()?;
        }
        let mut state = MemoryState::default();
        state.commit(&writes).ok()?;
        let manifest = Manifest::new(Outline::of_state(&state, 4 << 20).ok()?).ok()?;
        let entries = writes.iter().filter_map(|(key, value)| Some((key, value?)));
        let mut payloads = vec![Vec::new(); manifest.parts().len()];
        for (key, value) in entries {
            let covers = |index: &usize| {
                let index = PartIndex(u32::try_from(*index).unwrap_or(u32::MAX));
                manifest.part_range(index).is_some_and(|range| range.contains(key))
            };
            let index = (0..payloads.len()).find(covers)?;
            ketch_trie::Entry::new(key, value).ok()?.encode(payloads.get_mut(index)?);
        }
        (0..).map(PartIndex).zip(&payloads).try_for_each(|(index, payload)| {
            let unpacked = PackedPart::pack(payload).unpack(payload.len()).ok()?;
            manifest.verify(index, unpacked).ok().map(drop)
        })
    };
    check().is_some()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_that_works_is_sound() {
        assert!(super::is_sound());
    }
}
