//! Bugs that are put in on purpose, to see that each is noticed.
//!
//! The product has no switches for them. A bug sits between the real coordinator and its driver, see
//! [`Saboteur`], or in the driver: from outside it is a coordinator, or a driver, that has that bug.

mod hunt;
mod saboteur;

pub use hunt::{Caught, hunt};
pub(crate) use saboteur::Saboteur;

use std::ops::Range;

use ketch_coordinator::Config;
use ketch_types::{Instant, PartIndex, PartSet};
use ketch_wire::Holding;

use crate::policy::PolicyKind;
use crate::world::World;

macro_rules! planted {
    ($(#[doc = $says:literal] $variant:ident = $name:literal,)*) => {
        /// One bug. All honest nodes of a world have it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Planted {
            $(#[doc = $says] $variant,)*
        }

        impl Planted {
            /// All of them.
            pub const ALL: &[Planted] = &[$(Planted::$variant),*];

            /// Its name on the command line and in tables.
            pub fn name(self) -> &'static str {
                match self { $(Planted::$variant => $name,)* }
            }

            /// What is wrong, in a sentence.
            pub fn says(self) -> &'static str {
                match self { $(Planted::$variant => $says.trim_ascii(),)* }
            }
        }
    };
}

planted! {
    /// Each announcement says that one more part is held.
    AnnouncesTooMuch = "announces-too-much",
    /// Each summary says that everything is held of what some is held of.
    SummaryTooMuch = "summary-too-much",
    /// Nothing is announced.
    AnnouncesNothing = "announces-nothing",
    /// What was announced is not withdrawn.
    WithdrawsNothing = "withdraws-nothing",
    /// No node enters itself in the DHT.
    ProvidesNothing = "provides-nothing",
    /// No node takes itself out of the DHT.
    ProvidesForEver = "provides-for-ever",
    /// The starts of epochs that are passed by replaying are forgotten, and not served.
    ForgetsStarts = "forgets-starts",
    /// A node's searches find nobody after its first.
    SearchesOnce = "searches-once",
    /// Announcements of others are not heard.
    HearsNothing = "hears-nothing",
    /// Bans are told to the operator, and no connection is cut.
    ForgetsBans = "forgets-bans",
    /// A proven lie is taken for bad luck.
    ForgivesLies = "forgives-lies",
    /// Who is busy is taken for a liar.
    BansTheBusy = "bans-the-busy",
    /// Who does not hold what it is asked for is taken for a liar.
    BansTheEmpty = "bans-the-empty",
    /// Who was banned goes on being asked.
    AsksTheBanned = "asks-the-banned",
    /// One end of a request in ten is lost.
    LosesRequestEnds = "loses-request-ends",
    /// One end of a job in ten is lost.
    LosesJobEnds = "loses-job-ends",
    /// The end of what a peer asked for is lost.
    LosesAskEnds = "loses-ask-ends",
    /// That a part was sent is not noticed.
    LosesPartSent = "loses-part-sent",
    /// That a peer is gone is not noticed.
    LosesDisconnects = "loses-disconnects",
    /// One block in two is not noticed.
    LosesHeads = "loses-heads",
    /// One beginning of an epoch in two is not noticed.
    LosesEpochs = "loses-epochs",
    /// That a shard's store is damaged is not noticed.
    LosesDamage = "loses-damage",
    /// No timer goes off.
    NeverWakes = "never-wakes",
    /// Every timer goes off five seconds late.
    WakesLate = "wakes-late",
    /// The clock runs half as fast as it should.
    SlowClock = "slow-clock",
    /// Requests never time out.
    EndlessPatience = "endless-patience",
    /// Requests of parts that another is asked for fail at once.
    DropsHedges = "drops-hedges",
    /// What is asked for of one peer is asked for of a second.
    AsksTwice = "asks-twice",
    /// What is cancelled goes on.
    CancelsNothing = "cancels-nothing",
    /// What is discarded stays in memory.
    DiscardsNothing = "discards-nothing",
    /// Far more is kept in memory than may be.
    IgnoresMemory = "ignores-memory",
    /// More windows are applied at once than may be.
    IgnoresLanes = "ignores-lanes",
    /// A store is compared with a target while windows are applied to it.
    WritesTwice = "writes-twice",
    /// One part in five is believed without a look at it.
    SkipsParts = "skips-parts",
    /// Outputs of chunks are believed without a look at them.
    SkipsOutputs = "skips-outputs",
    /// The bytes of one verified part in twenty are lost.
    LosesBytes = "loses-bytes",
    /// Windows are reported as durable, and nothing is written.
    AppliesNothing = "applies-nothing",
    /// Windows are reported as durable, and the second half of each is not written.
    AppliesHalf = "applies-half",
    /// Windows are marked as durable before they are written, and marks are believed.
    MarksFirst = "marks-first",
    /// Of one chunk in ten nothing is written.
    SkipsChunks = "skips-chunks",
    /// The last of the chunks that are replayed at once is reported, and not applied.
    StopsShort = "stops-short",
    /// Comparing a store with a target finds that everything is there.
    FindsAll = "finds-all",
    /// Comparing a store with a target finds that nothing is there.
    FindsNothing = "finds-nothing",
    /// A store that is opened says that its head is one block newer.
    OpensAhead = "opens-ahead",
    /// A shard that is dropped stays on the disk.
    DropsNothing = "drops-nothing",
    /// Another shard is dropped than the one to be dropped.
    DropsAnother = "drops-another",
    /// Old epochs stay on the disk.
    KeepsEpochs = "keeps-epochs",
    /// A shard is called caught up at one block more than is applied.
    CaughtUpAhead = "caught-up-ahead",
    /// A shard is called caught up as soon as its state is whole.
    CaughtUpEarly = "caught-up-early",
    /// Every verdict is "on time".
    AlwaysOnTime = "always-on-time",
    /// Every warning is taken back at once.
    TakesWarningsBack = "takes-warnings-back",
    /// Nothing is told of an epoch's beginning.
    TellsNoBoundary = "tells-no-boundary",
    /// Another part is sent than the one that was asked for.
    SendsAnother = "sends-another",
    /// Refusals do not say why.
    EndsWithoutReason = "ends-without-reason",
    /// No part is served.
    ServesNothing = "serves-nothing",
    /// Each part is made twice.
    MakesTwice = "makes-twice",
    /// No part that is to be sent can be made.
    MakesNothing = "makes-nothing",
}

impl Planted {
    /// The bug of a name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|bug| bug.name() == name)
    }

    /// The configuration that a coordinator with the bug follows.
    pub(crate) fn config(self, config: Config) -> Config {
        match self {
            Planted::IgnoresMemory => {
                Config { memory_bytes: config.memory_bytes.saturating_mul(100), ..config }
            }
            Planted::IgnoresLanes => Config { applies_max: usize::MAX, ..config },
            Planted::EndlessPatience => {
                let stall_timeout = config.stall_timeout.saturating_mul(1_000);
                Config { stall_timeout, hedge_prior: stall_timeout, ..config }
            }
            Planted::ServesNothing => Config { serve: false, ..config },
            _ => config,
        }
    }

    /// Whether it leaves a part of a window unwritten.
    pub(crate) fn leaves_out(self, part: PartIndex, window: &Range<PartIndex>) -> bool {
        match self {
            Planted::AppliesNothing => true,
            Planted::AppliesHalf => (part.0 - window.start.0) * 2 >= window.end.0 - window.start.0,
            _ => false,
        }
    }

    /// What a coordinator with the bug takes for the time.
    pub(crate) fn clock(self, now: Instant) -> Instant {
        match self {
            Planted::SlowClock => Instant::ORIGIN + now.since_origin() / 2,
            _ => now,
        }
    }
}

impl World {
    /// Gives all honest nodes a bug, before anything has happened.
    pub fn plant(&mut self, bug: Planted) {
        let has_coordinator = |node: &&mut crate::node::Node| {
            node.setup.is_honest() && node.setup.policy == PolicyKind::Ketch
        };
        for node in self.nodes.iter_mut().filter(has_coordinator) {
            node.planted = Some(bug);
        }
    }
}

/// A holding of the same state with other parts.
pub(crate) fn holding_of(like: &Holding, held: PartSet) -> Holding {
    let other = Holding::new(like.shard(), like.epoch(), like.root(), like.cut(), held);
    other.unwrap_or_else(|_| like.clone())
}
