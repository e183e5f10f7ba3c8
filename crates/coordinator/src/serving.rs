use std::collections::{BTreeMap, BTreeSet};

use ketch_types::{Instant, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::Budget;

use crate::id::{Ask, Peer};

/// What peers are being sent, and how much each has had.
#[derive(Clone, Debug, Default)]
pub(crate) struct Serving {
    asks: BTreeMap<Ask, Stream>,
    /// Exactly those who have streams.
    peers: BTreeMap<Peer, Served>,
    /// What the driver is sending, by when it began to: the `sending` of all streams.
    sends: BTreeSet<(Instant, Ask, PartIndex)>,
    /// Parts that are being made, each once however many wait for it.
    pub(crate) generating: BTreeSet<(ShardId, StateRoot, PartIndex)>,
}

/// What one peer is being sent.
#[derive(Clone, Copy, Debug, Default)]
struct Served {
    /// Bytes that it was sent, weighed by its class, so that the one that had least is served next.
    had: u64,
    streams: usize,
    /// Parts that the driver is sending to it, over all its streams.
    sending: usize,
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
    sending: BTreeMap<PartIndex, Instant>,
    /// In bytes of payloads.
    pub(crate) budget: Budget,
    /// Whether parts were asked for that we do not hold.
    pub(crate) lacking: bool,
}

impl PartStream {
    /// Some parts that are wanted and held, of which nothing is sent yet.
    pub(crate) fn new(
        shard: ShardId,
        root: StateRoot,
        left: PartSet,
        lacking: bool,
        budget: Budget,
    ) -> Self {
        Self { shard, root, left, sending: BTreeMap::new(), budget, lacking }
    }

    /// Whether everything was sent.
    pub(crate) fn is_done(&self) -> bool {
        self.left.is_empty() && self.sending.is_empty()
    }
}

impl Serving {
    pub(crate) fn open(&mut self, ask: Ask, stream: Stream) {
        self.close(ask);
        // A newcomer starts with those who had least, or it would be served alone for a while.
        let least = self.peers.values().map(|peer| peer.had).min().unwrap_or(0);
        let of_peer = self.peers.entry(stream.peer);
        of_peer.or_insert(Served { had: least, ..Served::default() }).streams += 1;
        self.asks.insert(ask, stream);
    }

    pub(crate) fn close(&mut self, ask: Ask) {
        let Some(stream) = self.asks.remove(&ask) else { return };
        let sending = stream.parts.map(|parts| parts.sending).unwrap_or_default();
        for (part, begun) in &sending {
            self.sends.remove(&(*begun, ask, *part));
        }
        if let Some(of_peer) = self.peers.get_mut(&stream.peer) {
            of_peer.streams -= 1;
            of_peer.sending -= sending.len();
            if of_peer.streams == 0 {
                self.peers.remove(&stream.peer);
            }
        }
    }

    pub(crate) fn disconnect(&mut self, peer: Peer) {
        let of_peer = self.asks.iter().filter(|(_, stream)| stream.peer == peer);
        let asks: Vec<_> = of_peer.map(|(ask, _)| *ask).collect();
        asks.into_iter().for_each(|ask| self.close(ask));
    }

    /// Notes that all parts of a stream are sent: it stays until it is closed, so that it counts.
    pub(crate) fn finish(&mut self, ask: Ask) {
        if let Some(stream) = self.asks.get_mut(&ask) {
            stream.parts.take_if(|parts| parts.is_done());
        }
    }

    /// Notes that the driver sends a part of so many bytes.
    pub(crate) fn begin(&mut self, ask: Ask, part: PartIndex, bytes: u64, now: Instant) {
        let Some(stream) = self.asks.get_mut(&ask) else { return };
        let Some((parts, of_peer)) = stream.parts.as_mut().zip(self.peers.get_mut(&stream.peer))
        else {
            return;
        };
        parts.left.remove(part);
        parts.sending.insert(part, now);
        self.sends.insert((now, ask, part));
        of_peer.sending += 1;
        of_peer.had = of_peer.had.saturating_add(bytes / stream.weight.max(1));
    }

    /// Notes that the driver does not send a part any more; whether it did.
    pub(crate) fn end(&mut self, ask: Ask, part: PartIndex) -> bool {
        let Some(stream) = self.asks.get_mut(&ask) else { return false };
        let Some((parts, of_peer)) = stream.parts.as_mut().zip(self.peers.get_mut(&stream.peer))
        else {
            return false;
        };
        let Some(begun) = parts.sending.remove(&part) else { return false };
        of_peer.sending -= 1;
        self.sends.remove(&(begun, ask, part))
    }

    pub(crate) fn len(&self) -> usize {
        self.asks.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    pub(crate) fn of_peer(&self, peer: Peer) -> usize {
        self.peers.get(&peer).map_or(0, |of_peer| of_peer.streams)
    }

    /// Some streams of parts, those whose peers had least first.
    pub(crate) fn by_fairness(&self, which: impl Fn(Ask, &PartStream) -> bool) -> Vec<Ask> {
        let of = |(ask, stream): (&Ask, &Stream)| {
            stream.parts.as_ref().filter(|parts| which(*ask, parts))?;
            Some((self.peers.get(&stream.peer).map_or(0, |of_peer| of_peer.had), *ask))
        };
        let mut asks: Vec<_> = self.asks.iter().filter_map(of).collect();
        asks.sort_unstable();
        asks.into_iter().map(|(_, ask)| ask).collect()
    }

    /// When the driver began to send each part that it is sending, the latest first.
    pub(crate) fn sends(&self) -> impl Iterator<Item = Instant> + '_ {
        self.sends.iter().rev().map(|(begun, ..)| *begun)
    }

    /// Parts that the driver is sending to the peer of a stream, over all its streams.
    pub(crate) fn sending_to_peer_of(&self, ask: Ask) -> usize {
        let peer = self.asks.get(&ask).and_then(|stream| self.peers.get(&stream.peer));
        peer.map_or(0, |of_peer| of_peer.sending)
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
        let root = StateRoot::new([0; 32]);
        let parts =
            PartStream::new(ShardId(0), root, PartSet::full(9), false, Budget::new(u64::MAX));
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
            let next = serving.by_fairness(|_, _| true)[0];
            serving.begin(next, PartIndex(0), 10, Instant::ORIGIN);
            serving.end(next, PartIndex(0));
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
            let next = serving.by_fairness(|_, _| true)[0];
            serving.begin(next, PartIndex(0), 30, Instant::ORIGIN);
            serving.end(next, PartIndex(0));
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
        serving.begin(Ask(1), PartIndex(0), 10, Instant::ORIGIN);
        assert_eq!((serving.peers.len(), serving.sends.len()), (1, 1));
        serving.close(Ask(1));
        assert!(serving.peers.is_empty() && serving.sends.is_empty() && serving.is_empty());
    }
}
