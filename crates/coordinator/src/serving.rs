use std::collections::{BTreeMap, BTreeSet};

use ketch_types::{Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::Budget;

use crate::id::{Ask, Peer};

/// What peers are being sent, and how much each has had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serving {
    asks: BTreeMap<Ask, Stream>,
    /// Bytes sent to each peer that is being served, weighed by its class, so that the one that had
    /// least is served next.
    had: BTreeMap<Peer, u64>,
    /// Parts that are being made, each once however many wait for it.
    pub(crate) generating: BTreeSet<(ShardId, StateRoot, PartIndex)>,
}

/// One answer that is being given.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) peer: Peer,
    /// A part of the peer's share costs it this little: validators of this epoch and the next are
    /// served three times as much as others.
    pub(crate) weight: u64,
    /// The parts that are still to be sent; none where no parts were asked for.
    pub(crate) parts: Option<PartStream>,
}

/// Parts that are being sent.
#[derive(Clone, Debug)]
pub(crate) struct PartStream {
    pub(crate) shard: ShardId,
    pub(crate) root: StateRoot,
    /// Wanted and held, not yet handed to the driver.
    pub(crate) left: PartSet,
    /// Handed to the driver and not yet sent, and since when.
    pub(crate) sending: BTreeMap<PartIndex, Instant>,
    /// In bytes of payloads.
    pub(crate) budget: Budget,
    /// Whether parts were asked for that we do not hold.
    pub(crate) lacking: bool,
}

impl Serving {
    pub(crate) fn open(&mut self, ask: Ask, stream: Stream) {
        // A newcomer starts with those who had least, or it would be served alone for a while.
        let least = self.had.values().min().copied().unwrap_or(0);
        self.had.entry(stream.peer).or_insert(least);
        self.asks.insert(ask, stream);
    }

    pub(crate) fn close(&mut self, ask: Ask) {
        if let Some(stream) = self.asks.remove(&ask)
            && !self.asks.values().any(|other| other.peer == stream.peer)
        {
            self.had.remove(&stream.peer);
        }
    }

    pub(crate) fn disconnect(&mut self, peer: Peer) {
        self.asks.retain(|_, stream| stream.peer != peer);
        self.had.remove(&peer);
    }

    pub(crate) fn get_mut(&mut self, ask: Ask) -> Option<&mut Stream> {
        self.asks.get_mut(&ask)
    }

    pub(crate) fn len(&self) -> usize {
        self.asks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    pub(crate) fn of_peer(&self, peer: Peer) -> usize {
        self.asks.values().filter(|stream| stream.peer == peer).count()
    }

    /// Streams of parts, those whose peers had least first.
    pub(crate) fn by_fairness(&self) -> Vec<Ask> {
        let of = |(ask, stream): (&Ask, &Stream)| {
            stream.parts.as_ref()?;
            Some((self.had.get(&stream.peer).copied().unwrap_or(0), *ask))
        };
        let mut asks: Vec<_> = self.asks.iter().filter_map(of).collect();
        asks.sort_unstable();
        asks.into_iter().map(|(_, ask)| ask).collect()
    }

    /// When the driver began to send each part that it is sending.
    pub(crate) fn sends(&self) -> impl Iterator<Item = Instant> + '_ {
        let parts = self.asks.values().filter_map(|stream| stream.parts.as_ref());
        parts.flat_map(|parts| parts.sending.values().copied())
    }

    /// How many parts the driver is sending, of those begun when `counts` says.
    pub(crate) fn sending(&self, counts: impl Fn(Instant) -> bool) -> usize {
        self.sends().filter(|begun| counts(*begun)).count()
    }

    /// Parts that the driver is sending to the peer of a stream, over all its streams.
    pub(crate) fn sending_to_peer_of(&self, ask: Ask) -> usize {
        let Some(peer) = self.asks.get(&ask).map(|stream| stream.peer) else { return 0 };
        let streams = self.asks.values().filter(|stream| stream.peer == peer);
        streams.filter_map(|stream| stream.parts.as_ref()).map(|parts| parts.sending.len()).sum()
    }

    pub(crate) fn part_streams_mut(&mut self) -> impl Iterator<Item = &mut PartStream> {
        self.asks.values_mut().filter_map(|stream| stream.parts.as_mut())
    }

    pub(crate) fn parts(&self, ask: Ask) -> Option<&PartStream> {
        self.asks.get(&ask)?.parts.as_ref()
    }

    pub(crate) fn parts_mut(&mut self, ask: Ask) -> Option<&mut PartStream> {
        self.asks.get_mut(&ask)?.parts.as_mut()
    }

    /// Charges a peer for what it is sent.
    pub(crate) fn charge(&mut self, ask: Ask, bytes: u64) {
        if let Some(stream) = self.asks.get(&ask) {
            let had = self.had.entry(stream.peer).or_default();
            *had = had.saturating_add(bytes / stream.weight.max(1));
        }
    }

    /// Takes a part out of every stream that waits for it: it cannot be made.
    pub(crate) fn give_up(&mut self, root: StateRoot, part: PartIndex) {
        for stream in self.part_streams_mut().filter(|stream| stream.root == root) {
            stream.lacking |= stream.left.remove(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(peer: u32, weight: u64) -> Stream {
        let parts = PartStream {
            shard: ShardId(0),
            root: StateRoot::new([0; 32]),
            left: PartSet::full(9),
            sending: BTreeMap::new(),
            budget: Budget::new(u64::MAX),
            lacking: false,
        };
        Stream { peer: Peer(peer), weight, parts: Some(parts) }
    }

    #[test]
    fn a_peer_with_many_streams_gets_no_more_than_one_with_few() {
        let mut serving = Serving::default();
        for (ask, peer) in [(0, 1), (1, 1), (2, 1), (3, 2)] {
            serving.open(Ask(ask), stream(peer, 1));
        }
        let mut sent = [0; 3];
        for _ in 0..100 {
            let next = serving.by_fairness()[0];
            serving.charge(next, 10);
            sent[serving.asks[&next].peer.0 as usize] += 1;
        }
        assert_eq!(sent, [0, 50, 50]);
    }

    #[test]
    fn validators_get_three_times_as_much_and_newcomers_do_not_take_all() {
        let mut serving = Serving::default();
        serving.open(Ask(0), stream(1, 3));
        serving.open(Ask(1), stream(2, 1));
        let mut sent = [0; 4];
        for round in 0..120 {
            if round == 80 {
                serving.open(Ask(2), stream(3, 1));
            }
            let next = serving.by_fairness()[0];
            serving.charge(next, 30);
            sent[serving.asks[&next].peer.0 as usize] += 1;
        }
        assert_eq!(sent[1], 60 + 24);
        assert!(sent[3] <= 9, "{sent:?}");
    }

    #[test]
    fn nothing_is_remembered_of_whom_nothing_is_sent() {
        let mut serving = Serving::default();
        serving.open(Ask(0), stream(1, 1));
        serving.open(Ask(1), stream(1, 1));
        serving.close(Ask(0));
        assert_eq!(serving.had.len(), 1);
        serving.close(Ask(1));
        assert!(serving.had.is_empty() && serving.is_empty());
    }
}
