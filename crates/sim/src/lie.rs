//! Peers without a coordinator: the sequencer, and those that lie, each in one way. They know the
//! whole truth, claim all of it, and are found like anybody else.

use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::Query;
use ketch_trie::{PackedPart, Packing, Writes};
use ketch_types::{Chance, Epoch, Height, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Following, Refusal, Summary};

use crate::chain::{Chain, StartState};
use crate::message::Answer;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// A real coordinator decides.
    Honest,
    /// It stands in for consensus: everybody is connected to it, it serves all outputs, and never a
    /// part.
    Sequencer,
    /// It knows all, claims all, and lies.
    Lies(Lie),
}

/// How a peer lies, or fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lie {
    /// Sends random bytes as parts.
    Junk,
    /// Flips one bit of each part.
    FlippedBit,
    /// Sends parts without their end.
    Truncated,
    /// Sends parts with bytes appended.
    Oversized,
    /// Sends another part in the place of the one asked for.
    WrongPart,
    /// Sends a part that was not asked for.
    Unasked,
    /// Sends an outline with one bit flipped.
    FalseOutline,
    /// Sends an outline without its end.
    CutOutline,
    /// Sends an outline that never ends.
    EndlessOutline,
    /// Sends outputs that are not the chunk's.
    FalseOutputs,
    /// Sends bytes that are no message.
    Garbage,
    /// Never answers anything but what it holds.
    Silent,
    /// Sends all but the last part asked for, and then nothing.
    StallsAtTheEnd,
    /// Sends each part just before anybody would give up.
    Drips,
    /// Closes the connection in the middle of each answer.
    Closes,
    /// Claims everything, and says each time that it has nothing.
    ClaimsAll,
    /// Ends each answer of parts without sending any, as if all had been sent.
    EndsEarly,
    /// Is always busy.
    Busy,
    /// Says that everything is too old.
    NotRetained,
    /// Says that it does not know how.
    Unsupported,
    /// Claims parts of epochs that are not yet.
    FutureEpoch,
}

impl Lie {
    /// Every way to lie.
    pub const ALL: [Lie; 21] = [
        Lie::Junk,
        Lie::FlippedBit,
        Lie::Truncated,
        Lie::Oversized,
        Lie::WrongPart,
        Lie::Unasked,
        Lie::FalseOutline,
        Lie::CutOutline,
        Lie::EndlessOutline,
        Lie::FalseOutputs,
        Lie::Garbage,
        Lie::Silent,
        Lie::StallsAtTheEnd,
        Lie::Drips,
        Lie::Closes,
        Lie::ClaimsAll,
        Lie::EndsEarly,
        Lie::Busy,
        Lie::NotRetained,
        Lie::Unsupported,
        Lie::FutureEpoch,
    ];

    /// Whether an answer of this kind proves that its sender lies.
    pub fn is_proof(self) -> bool {
        matches!(
            self,
            Lie::Junk
                | Lie::FlippedBit
                | Lie::Truncated
                | Lie::Oversized
                | Lie::WrongPart
                | Lie::Unasked
                | Lie::FalseOutline
                | Lie::CutOutline
                | Lie::EndlessOutline
                | Lie::FalseOutputs
                | Lie::Garbage
        )
    }
}

/// What a liar does about a question: answers, each after a time.
pub(crate) enum Reply {
    Answers(Vec<(Duration, Answer)>),
    /// After some answers, the connection is closed.
    Hangup(Vec<(Duration, Answer)>),
}

/// A liar's view: everything.
pub(crate) struct Liar<'a> {
    /// None for the sequencer.
    pub(crate) lie: Option<Lie>,
    pub(crate) chain: &'a Chain,
    pub(crate) head: Height,
    pub(crate) chance: &'a mut Chance,
    /// How long the others wait before they give up.
    pub(crate) patience: Duration,
}

const SOON: Duration = Duration::from_millis(1);

impl Liar<'_> {
    pub(crate) fn reply(&mut self, query: &Query) -> Reply {
        if let Query::Summary(shards) = query {
            return Reply::Answers(vec![(SOON, Answer::Summary(self.claim(shards)))]);
        }
        let refuse = |refusal| Reply::Answers(vec![(SOON, end(Some(refusal), query))]);
        let Some(lie) = self.lie else {
            return match query {
                Query::Outputs { shard, after, .. } => self.outputs(*shard, *after),
                _ => refuse(Refusal::NotHeld),
            };
        };
        match lie {
            Lie::Silent => Reply::Answers(vec![]),
            Lie::Garbage => Reply::Answers(vec![(SOON, Answer::Garbage)]),
            Lie::Busy => refuse(Refusal::Busy { retry_after: Duration::from_millis(200) }),
            Lie::NotRetained => refuse(Refusal::NotRetained),
            Lie::Unsupported => refuse(Refusal::Unsupported),
            Lie::EndsEarly if matches!(query, Query::Parts { .. }) => {
                Reply::Answers(vec![(SOON, end(None, query))])
            }
            Lie::ClaimsAll | Lie::FutureEpoch => refuse(Refusal::NotHeld),
            _ => self.answer(query),
        }
    }

    /// What it says that it holds: all of the newest start, and all outputs.
    pub(crate) fn claim(&mut self, shards: &[ShardId]) -> Summary {
        let newest = Epoch(self.head.0 / self.chain.setup().epoch_length);
        let (mut holdings, mut following) = (Vec::new(), Vec::new());
        for shard in shards {
            let Some(start) = self.chain.start(*shard, newest) else { continue };
            let (root, held) = (start.sizes.root(), PartSet::full(start.sizes.count()));
            let (epoch, root) = match self.lie {
                Some(Lie::FutureEpoch) => (newest.next(), random_root(self.chance)),
                _ => (newest, root),
            };
            let cut = start.sizes.cut();
            if self.lie.is_some() {
                holdings.extend(ketch_wire::Holding::new(*shard, epoch, root, cut, held));
            }
            following.extend(Following::new(*shard, Height(1), self.head.max(Height(1))));
        }
        Summary::new(holdings, following).unwrap_or_default()
    }

    fn answer(&mut self, query: &Query) -> Reply {
        match query {
            Query::Summary(_) => Reply::Answers(vec![]),
            Query::Outline { shard, root, .. } => self.outline(*shard, *root),
            Query::Parts { shard, root, wanted } => self.parts(*shard, *root, wanted),
            Query::Outputs { shard, after, .. } => self.outputs(*shard, *after),
        }
    }

    fn start(&self, shard: ShardId, root: StateRoot) -> Option<Arc<StartState>> {
        let epochs = (0..=self.chain.setup().epochs).map(Epoch);
        let mut starts = epochs.filter_map(|epoch| self.chain.start(shard, epoch));
        starts.find(|start| start.sizes.root() == root).cloned()
    }

    fn outline(&mut self, shard: ShardId, root: StateRoot) -> Reply {
        let Some(start) = self.start(shard, root) else { return Reply::Answers(vec![]) };
        let outline = start.manifest.outline();
        let (opening, mut records) = (outline.opening(), outline.records().to_vec());
        match self.lie {
            Some(Lie::FalseOutline) => flip(&mut records, self.chance),
            Some(Lie::CutOutline) => records.truncate(records.len().saturating_sub(1)),
            Some(Lie::EndlessOutline) => records.extend(self.chance.bytes(1 << 20)),
            _ => {}
        }
        let answers = vec![(SOON, Answer::Outline { opening, records })];
        if self.lie == Some(Lie::Closes) { Reply::Hangup(vec![]) } else { Reply::Answers(answers) }
    }

    fn parts(&mut self, shard: ShardId, root: StateRoot, wanted: &PartSet) -> Reply {
        let Some(start) = self.start(shard, root) else { return Reply::Answers(vec![]) };
        let mut answers = Vec::new();
        let mut after = SOON;
        for part in wanted.iter() {
            if self.lie == Some(Lie::Drips) {
                after += self.patience.mul_f32(0.9);
            }
            answers.push((after, self.part(&start, part)));
        }
        match self.lie {
            Some(Lie::Closes) => {
                answers.truncate(answers.len() / 2);
                return Reply::Hangup(answers);
            }
            Some(Lie::StallsAtTheEnd) => drop(answers.pop()),
            Some(Lie::Unasked) => {
                let unasked = wanted.complement();
                let other = unasked.iter().next().unwrap_or(PartIndex(u32::MAX));
                answers.insert(0, (SOON, self.part(&start, other)));
            }
            _ => answers.push((after, held_end(wanted))),
        }
        Reply::Answers(answers)
    }

    fn part(&mut self, start: &StartState, part: PartIndex) -> Answer {
        let mut payload = start.payload(part);
        match self.lie {
            Some(Lie::Junk) => payload = self.chance.bytes(payload.len()),
            Some(Lie::FlippedBit) => flip(&mut payload, self.chance),
            Some(Lie::Truncated) => payload.truncate(payload.len() / 2),
            Some(Lie::Oversized) => payload.extend([0; 16]),
            Some(Lie::WrongPart) => {
                payload = start.payload(PartIndex((part.0 + 1) % start.sizes.count().max(1)));
            }
            _ => {}
        }
        let raw = matches!(self.lie, Some(Lie::Junk | Lie::Truncated));
        let packed = if raw {
            PackedPart { packing: Packing::Raw, bytes: payload }
        } else {
            PackedPart::pack(&payload)
        };
        Answer::Part { index: part, packed: Arc::new(packed) }
    }

    fn outputs(&mut self, shard: ShardId, after: Height) -> Reply {
        let heights = (after.0 + 1..=self.head.0).map(Height);
        let chunks = heights
            .filter_map(|height| Some((height, Arc::clone(self.chain.outputs(shard, height)?))));
        let mut chunks: Vec<_> = chunks.take(20).collect();
        if self.lie == Some(Lie::FalseOutputs)
            && let Some((_, last)) = chunks.last_mut()
        {
            let mut writes = Writes::clone(last);
            let _ = writes.put(b"a key that the chunk never wrote", b"");
            *last = Arc::new(writes);
        }
        let Some(through) = chunks.last().map(|(height, _)| *height) else {
            return Reply::Answers(vec![(
                SOON,
                Answer::End { refusal: Some(Refusal::NotHeld), held: None },
            )]);
        };
        Reply::Answers(vec![(SOON, Answer::Outputs { through, chunks })])
    }
}

fn held_end(wanted: &PartSet) -> Answer {
    Answer::End { refusal: None, held: Some(PartSet::full(wanted.count())) }
}

/// An end that claims to hold everything.
fn end(refusal: Option<Refusal>, query: &Query) -> Answer {
    let held = match query {
        Query::Parts { wanted, .. } => Some(PartSet::full(wanted.count())),
        _ => None,
    };
    Answer::End { refusal, held }
}

fn flip(bytes: &mut [u8], chance: &mut Chance) {
    let bit = chance.below((bytes.len() * 8).max(1));
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

fn random_root(chance: &mut Chance) -> StateRoot {
    StateRoot::new(std::array::from_fn(|_| u8::try_from(chance.draw() & 255).unwrap_or(0)))
}
