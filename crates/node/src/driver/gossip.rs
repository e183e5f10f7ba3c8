//! What is announced, by others and by us.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::Input;
use ketch_net::{Contact, Delivery, Judgement};
use ketch_types::{PeerId, ShardId};
use ketch_wire::limits::EXPIRY_AHEAD_MAX;
use ketch_wire::{Announcement, Holding};
use tokio::sync::Semaphore;

use super::Driver;
use crate::clock::wall_ms;

/// How long an announcement says something: it is repeated in half of that.
const EXPIRES_AFTER: Duration = Duration::from_secs(20 * 60);
const _: () = assert!(EXPIRES_AFTER.as_secs() < EXPIRY_AHEAD_MAX.as_secs());

/// Authors whose sequences are remembered; who was silent for longest leaves.
const AUTHORS_MAX: usize = 16_384;

/// Announcers that are being connected to.
const DIALS_MAX: usize = 16;

/// The sequences of announcements, others' and our own.
pub(super) struct Announced {
    /// The last sequence of an author for a shard, and when its announcement expires.
    heard: BTreeMap<(PeerId, ShardId), (u64, u64)>,
    own: u64,
    dials: Arc<Semaphore>,
}

impl Default for Announced {
    fn default() -> Self {
        Self { heard: BTreeMap::new(), own: 0, dials: Arc::new(Semaphore::new(DIALS_MAX)) }
    }
}

impl Announced {
    /// Takes in an announcement; whether it is the author's newest of its shard.
    fn is_newest(&mut self, author: &PeerId, announcement: &Announcement, now_ms: u64) -> bool {
        let place = (author.clone(), announcement.holding.shard());
        let known = self.heard.get(&place);
        if known.is_some_and(|(sequence, _)| *sequence >= announcement.sequence) {
            return false;
        }
        if known.is_none() && self.heard.len() >= AUTHORS_MAX {
            // An announcement that has expired cannot come again.
            self.heard.retain(|_, (_, expires)| *expires > now_ms);
            if self.heard.len() >= AUTHORS_MAX {
                return false;
            }
        }
        self.heard.insert(place, (announcement.sequence, announcement.expires_at_ms));
        true
    }
}

impl Driver {
    pub(super) fn announce(&mut self, holding: Holding) {
        let now_ms = wall_ms();
        // The wall's time rises across restarts, but may stand still or be set back while we run.
        self.announced.own = now_ms.max(self.announced.own.saturating_add(1));
        let lasting = u64::try_from(EXPIRES_AFTER.as_millis()).unwrap_or(u64::MAX);
        let expires_at_ms = now_ms.saturating_add(lasting);
        let sequence = self.announced.own;
        self.shared.network.announce(&Announcement { holding, sequence, expires_at_ms });
    }

    /// Somebody announced what it holds: a hint, believed as far as it can be true.
    pub(super) fn announced(
        &mut self,
        author: &PeerId,
        announcement: &Announcement,
        delivery: Delivery,
    ) {
        let holding = &announcement.holding;
        let start = self.known.get(&holding.epoch());
        let is_known = start.is_some_and(|start| {
            start.cut == holding.cut() && start.roots.get(&holding.shard()) == Some(&holding.root())
        });
        let is_news = is_known && self.announced.is_newest(author, announcement, wall_ms());
        let judgement = if is_news { Judgement::Accept } else { Judgement::Ignore };
        self.shared.network.judge(delivery, judgement);
        if !is_news {
            return;
        }
        match self.peers.handle(author) {
            Some(peer) => {
                self.report.holds(peer, holding);
                self.tell(Input::HoldingAnnounced { peer, holding: holding.clone() });
            }
            None if self.is_fetching(holding.shard()) && !holding.is_withdrawal() => {
                self.connect(author.clone());
            }
            None => {}
        }
    }

    fn is_fetching(&self, shard: ShardId) -> bool {
        let mut shards = self.coordinator.shards();
        shards.any(|status| status.shard == shard && status.phase.is_catching_up())
    }

    /// Connects to an announcer. What it holds it is asked once it is there.
    fn connect(&self, author: PeerId) {
        let Ok(room) = Arc::clone(&self.announced.dials).try_acquire_owned() else { return };
        let network = self.shared.network.clone();
        tokio::spawn(async move {
            network.connect(Contact { peer: author, addresses: Vec::new() }).await;
            drop(room);
        });
    }
}

#[cfg(test)]
mod tests {
    use ketch_types::{Epoch, PartSet, StateRoot};

    use super::*;

    fn announcement(shard: u32, sequence: u64) -> Announcement {
        let (root, held) = (StateRoot::new([1; 32]), PartSet::full(3));
        let holding = Holding::new(ShardId(shard), Epoch(1), root, 4 << 20, held).unwrap();
        Announcement { holding, sequence, expires_at_ms: 1_000 }
    }

    #[test]
    fn of_an_authors_announcements_of_a_shard_only_newer_ones_are_news() {
        let mut announced = Announced::default();
        let author = |number: u32| PeerId::new(&number.to_le_bytes()).unwrap();
        assert!(announced.is_newest(&author(1), &announcement(1, 5), 0));
        assert!(!announced.is_newest(&author(1), &announcement(1, 5), 0));
        assert!(!announced.is_newest(&author(1), &announcement(1, 4), 0));
        assert!(announced.is_newest(&author(1), &announcement(2, 4), 0));
        assert!(announced.is_newest(&author(2), &announcement(1, 4), 0));
        assert!(announced.is_newest(&author(1), &announcement(1, 6), 0));
    }

    #[test]
    fn crowds_of_authors_take_no_more_than_their_room_and_give_it_back() {
        let mut announced = Announced::default();
        for number in 0..AUTHORS_MAX + 9 {
            let author = PeerId::new(&number.to_le_bytes()).unwrap();
            let is_newest = announced.is_newest(&author, &announcement(1, 1), 0);
            assert_eq!(is_newest, number < AUTHORS_MAX);
        }
        let author = PeerId::new(b"late").unwrap();
        assert!(announced.is_newest(&author, &announcement(1, 1), 1_000));
        assert_eq!(announced.heard.len(), 1);
    }
}
