use std::collections::BTreeMap;

use libp2p::PeerId;
use tokio::time::Instant;

use crate::limits::BANS_MAX;

/// Who is banned, and until when.
#[derive(Debug, Default)]
pub(crate) struct Bans(BTreeMap<PeerId, Instant>);

impl Bans {
    /// Bans a peer, at least until `ends`; whose ban gives way to it, if there is no room.
    pub(crate) fn ban(&mut self, peer: PeerId, ends: Instant) -> Option<PeerId> {
        let until = self.0.entry(peer).or_insert(ends);
        *until = ends.max(*until);
        if self.0.len() <= BANS_MAX {
            return None;
        }
        let others = self.0.iter().filter(|(other, _)| **other != peer);
        let first = others.min_by_key(|(_, ends)| **ends).map(|(other, _)| *other)?;
        self.0.remove(&first);
        Some(first)
    }

    /// Takes out those whose bans are over.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<PeerId> {
        let over: Vec<_> =
            self.0.iter().filter(|(_, ends)| **ends <= now).map(|(peer, _)| *peer).collect();
        over.iter().for_each(|peer| {
            self.0.remove(peer);
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_ban_lasts_as_long_as_the_longest_that_was_given() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let (peer, second) = (PeerId::random(), Duration::from_secs(1));
        bans.ban(peer, now + 9 * second);
        bans.ban(peer, now + second);
        assert_eq!(bans.end(now + 8 * second), []);
        assert_eq!(bans.end(now + 9 * second), [peer]);
        assert_eq!(bans.end(now + 10 * second), []);
    }

    #[test]
    fn the_ban_that_ends_first_gives_way() {
        let (mut bans, now) = (Bans::default(), Instant::now());
        let first = PeerId::random();
        assert_eq!(bans.ban(first, now), None);
        for _ in 1..BANS_MAX {
            assert_eq!(bans.ban(PeerId::random(), now + Duration::from_secs(9)), None);
        }
        // Even one that would end sooner itself.
        let last = PeerId::random();
        assert_eq!(bans.ban(last, now - Duration::from_millis(1)), Some(first));
        assert_eq!(bans.end(now), [last]);
    }
}
