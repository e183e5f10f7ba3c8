//! What a driver and its coordinator owe each other, as far as inputs and commands alone tell: a real
//! driver is held to it when its record is replayed, and the model of one in every world.

mod answers;
mod requests;
#[cfg(test)]
mod tests;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ketch_coordinator::{Command, Input, Peer};
use ketch_types::{Epoch, Height, Instant};

use answers::Answers;
use requests::Requests;
use work::Works;

macro_rules! rules {
    ($($name:ident: $says:literal,)*) => {
        /// What must not be; named for what is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $says] $name,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Rule] = &[$(Rule::$name,)*];

            /// What is wrong where it is broken.
            pub fn says(self) -> &'static str {
                match self {
                    $(Rule::$name => $says,)*
                }
            }
        }
    };
}

rules! {
    TimeRanBack: "The driver's time is earlier than it was.",
    HeadNotAbove: "A head is not above the one before it.",
    EpochNotAbove: "An epoch is not above the one before it.",
    PeerThereTwice: "A peer is connected that was already.",
    PeerNotThere: "Something is told of a peer that is not connected.",
    RequestNotOpen: "Something is told of a request that is not open.",
    PartNotAwaited: "A part is verified that its request does not await.",
    EndUnlikeRequest: "A request ends as another kind of request does.",
    JobNotOpen: "A job ends that is not open.",
    EndUnlikeWork: "A job ends as another kind of work does.",
    AskNotNew: "A peer's question has a handle that another one had.",
    AskNotOpen: "Something is told of a peer's question that is not open.",
    PartNotBeingSent: "A part is told of that was not being sent.",
    RequestNotNew: "A request has the id of another one.",
    AskedOfAbsent: "A peer is asked that is not connected.",
    AskedOfBanned: "A peer is asked that is banned.",
    AskedTooOften: "A part is asked of more than two peers at once.",
    AskedForHeld: "A part is asked for that is there.",
    CancelledNotOpen: "A request is cancelled that is not open.",
    JobNotNew: "A job has the id of another one.",
    TwoWriters: "Two jobs write to one store.",
    WindowsOverlap: "A part is in two windows that are being applied.",
    TooManyApplies: "More windows are applied at once than may be.",
    AppliedUnverified: "A part is applied that does not wait verified in memory.",
    SaidBeforeDurable: "A part is said to be held that no job has made durable.",
    AnsweredNotOpen: "What is answered is not open, or was answered to its end.",
    PartNotWanted: "A part is sent that was not asked for, or was sent already.",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.says())
    }
}

/// What one coordinator was told and has said, as far as rules are about it.
#[derive(Debug)]
pub(crate) struct Contract {
    now: Instant,
    head: Option<Height>,
    epoch: Option<Epoch>,
    /// Who is connected.
    peers: BTreeSet<Peer>,
    /// Who is banned, and until when.
    banned: BTreeMap<Peer, Instant>,
    requests: Requests,
    works: Works,
    answers: Answers,
}

/// Whether a rule is kept.
type Kept = Result<(), Rule>;

/// A rule that is kept if something holds.
fn holds(holds: bool, rule: Rule) -> Kept {
    if holds { Ok(()) } else { Err(rule) }
}

impl Contract {
    /// The contract with a coordinator that applies so many windows at once.
    pub(crate) fn new(applies_max: usize) -> Self {
        Self {
            now: Instant::ORIGIN,
            head: None,
            epoch: None,
            peers: BTreeSet::new(),
            banned: BTreeMap::new(),
            requests: Requests::default(),
            works: Works::new(applies_max),
            answers: Answers::default(),
        }
    }

    /// Takes note of what the coordinator is told, or that time has passed.
    pub(crate) fn told(&mut self, now: Instant, input: Option<&Input>) -> Kept {
        let in_order = holds(now >= self.now, Rule::TimeRanBack);
        self.now = self.now.max(now);
        let kept = input.map_or(Ok(()), |input| self.fact(input));
        in_order.and(kept)
    }

    fn fact(&mut self, input: &Input) -> Kept {
        match input {
            Input::EpochStarted(start) => {
                let before = self.epoch.replace(start.epoch);
                holds(before < Some(start.epoch), Rule::EpochNotAbove)
            }
            Input::HeadAdvanced { height, .. } => {
                let before = self.head.replace(*height);
                holds(before < Some(*height), Rule::HeadNotAbove)
            }
            Input::PeerConnected { peer, .. } => {
                holds(self.peers.insert(*peer), Rule::PeerThereTwice)
            }
            Input::PeerDisconnected { peer } => {
                let was_there = self.peers.remove(peer);
                self.requests.disconnected(*peer);
                self.answers.disconnected(*peer);
                holds(was_there, Rule::PeerNotThere)
            }
            Input::HoldingAnnounced { peer, .. } => self.is_there(*peer, Rule::PeerNotThere),
            Input::RequestProgressed { request, .. } => self.requests.progressed(*request),
            Input::PartVerified { request, part } => {
                let (shard, root) = self.requests.verified(*request, *part)?;
                self.works.verified((shard, root), *part);
                Ok(())
            }
            Input::RequestEnded { request, end } => self.requests.ended(*request, end),
            Input::JobEnded { job, end } => self.works.ended(*job, end),
            Input::DamageFound { .. } | Input::HostBusy(_) => Ok(()),
            Input::Asked { ask, peer, query } => {
                let is_new = self.answers.asked(*ask, *peer, query);
                self.is_there(*peer, Rule::PeerNotThere).and(is_new)
            }
            Input::PartSent { ask, part } | Input::PartNotCached { ask, part } => {
                self.answers.sent(*ask, *part)
            }
            Input::AskClosed { ask } => self.answers.closed(*ask),
        }
    }

    /// Takes note of what the coordinator says.
    pub(crate) fn ordered(&mut self, command: &Command) -> Kept {
        match command {
            Command::Request { request, peer, query } => {
                let is_banned = self.banned.get(peer).is_some_and(|until| *until > self.now);
                let is_there = self.is_there(*peer, Rule::AskedOfAbsent);
                let opened = self.requests.opened(*request, *peer, query);
                let is_missing = self.works.are_missing(query);
                let may_be_asked = holds(!is_banned, Rule::AskedOfBanned);
                may_be_asked.and(is_there).and(opened).and(is_missing)
            }
            Command::Cancel { request } => self.requests.cancelled(*request),
            Command::Run { job, work } => self.works.began(*job, work),
            Command::Discard { shard } => {
                self.works.discarded(*shard);
                Ok(())
            }
            Command::Ban { peer, lasting } => {
                self.banned.insert(*peer, self.now + *lasting);
                self.requests.banned(*peer);
                Ok(())
            }
            Command::Announce(holding) => self.works.said(holding),
            Command::Provide { .. } | Command::StopProviding { .. } => Ok(()),
            Command::SendSummary { ask, summary } => {
                let ended = self.answers.answered(*ask);
                summary.holdings().iter().try_for_each(|held| self.works.said(held)).and(ended)
            }
            Command::SendOutline { ask, .. } | Command::SendOutputs { ask, .. } => {
                self.answers.answered(*ask)
            }
            Command::SendPart { ask, part, .. } => self.answers.sends(*ask, *part),
            Command::End { ask, .. } => self.answers.answered(*ask),
        }
    }

    fn is_there(&self, peer: Peer, rule: Rule) -> Kept {
        holds(self.peers.contains(&peer), rule)
    }
}
