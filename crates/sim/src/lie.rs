//! Peers without a coordinator: the sequencer, and those that lie, each in one way. They know the
//! whole truth, claim all of it, and are found like anybody else.

use std::sync::Arc;
use std::time::Duration;

use ketch_coordinator::Query;
use ketch_types::{Chance, Epoch, Height, PartIndex, PartSet, ShardId, StateRoot};
use ketch_wire::{Following, Refusal, Summary};

use crate::chain::Chain;
use crate::content::{Parcel, Start};
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
    /// It is not there.
    Absent,
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

    /// Its name in scenarios and tables.
    pub fn name(self) -> &'static str {
        match self {
            Lie::Junk => "junk",
            Lie::FlippedBit => "flipped-bit",
            Lie::Truncated => "truncated",
            Lie::Oversized => "oversized",
            Lie::WrongPart => "wrong-part",
            Lie::Unasked => "unasked",
            Lie::FalseOutline => "false-outline",
            Lie::CutOutline => "cut-outline",
            Lie::EndlessOutline => "endless-outline",
            Lie::FalseOutputs => "false-outputs",
            Lie::Garbage => "garbage",
            Lie::Silent => "silent",
            Lie::StallsAtTheEnd => "stalls-at-the-end",
            Lie::Drips => "drips",
            Lie::Closes => "closes",
            Lie::ClaimsAll => "claims-all",
            Lie::EndsEarly => "ends-early",
            Lie::Busy => "busy",
            Lie::NotRetained => "not-retained",
            Lie::Unsupported => "unsupported",
            Lie::FutureEpoch => "future-epoch",
        }
    }

    /// The lie of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lie| lie.name() == name)
    }

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
            let (root, held) = (start.root(), PartSet::full(start.sizes.count()));
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

    fn start(&self, shard: ShardId, root: StateRoot) -> Option<Arc<Start>> {
        self.chain.start_of(shard, root).cloned()
    }

    fn outline(&mut self, shard: ShardId, root: StateRoot) -> Reply {
        let Some(start) = self.start(shard, root) else { return Reply::Answers(vec![]) };
        let outline = start.outline();
        let outline = match self.lie {
            Some(Lie::FalseOutline) => outline.flipped(self.chance),
            Some(Lie::CutOutline) => outline.cut(),
            Some(Lie::EndlessOutline) => outline.endless(1 << 20, self.chance),
            _ => outline,
        };
        let answers = vec![(SOON, Answer::Outline(outline))];
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

    fn part(&mut self, start: &Start, part: PartIndex) -> Answer {
        let other = PartIndex(part.0.saturating_add(1) % start.sizes.count().max(1));
        let sent = if self.lie == Some(Lie::WrongPart) { other } else { part };
        let Some(parcel) = start.parcel(sent) else { return Answer::Garbage };
        let bytes = start.sizes.bytes(sent);
        let parcel: Parcel = match self.lie {
            Some(Lie::Junk) => parcel.junk(self.chance),
            Some(Lie::FlippedBit) => parcel.flipped(bytes, self.chance),
            Some(Lie::Truncated) => parcel.truncated(bytes),
            Some(Lie::Oversized) => parcel.oversized(bytes),
            _ => parcel,
        };
        Answer::Part { index: part, parcel }
    }

    fn outputs(&mut self, shard: ShardId, after: Height) -> Reply {
        let heights = (after.0.saturating_add(1)..=self.head.0).map(Height);
        let chunks = heights.filter_map(|height| Some((height, self.chain.chunk(shard, height)?)));
        let mut chunks: Vec<_> = chunks.take(20).collect();
        if self.lie == Some(Lie::FalseOutputs)
            && let Some((_, last)) = chunks.last_mut()
        {
            *last = last.falsified();
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

fn random_root(chance: &mut Chance) -> StateRoot {
    StateRoot::new(std::array::from_fn(|_| u8::try_from(chance.draw() & 255).unwrap_or(0)))
}
