//! What it costs a peer not to keep what it promised, and what costs it nothing.

use std::collections::BTreeMap;

use super::*;

/// How a peer leaves a question for what it claims.
#[derive(Clone, Copy, Debug)]
enum Breach {
    Refuses(Refusal),
    /// It disconnects, and comes again a moment later.
    Leaves,
}

const BREACHES: [Breach; 3] =
    [Breach::Refuses(Refusal::NotHeld), Breach::Refuses(Refusal::NotRetained), Breach::Leaves];

/// What is asked for of those who claim it.
#[derive(Clone, Copy, Debug)]
enum Sought {
    Outline,
    Outputs,
}

impl Sought {
    fn script(self) -> Script {
        match self {
            Sought::Outline => Script::taking(Config::default(), 100_000),
            Sought::Outputs => Script::tracking(100_000, 300_500, 300_001),
        }
    }

    fn is_sought_by(self, query: &Query) -> bool {
        match self {
            Sought::Outline => is_outline(query),
            Sought::Outputs => is_outputs(query),
        }
    }

    fn claim(self) -> Summary {
        match self {
            Sought::Outline => holds(3, PartSet::full(50)),
            Sought::Outputs => feeds(1, 300_600),
        }
    }
}

/// Peers of which all but one at most claim over and over what they do not give.
struct Crowd {
    script: Script,
    /// How often each was asked.
    asked: BTreeMap<Peer, u32>,
    /// Those that broke their word, until they give it anew.
    broke: Vec<Peer>,
}

impl Crowd {
    fn new(sought: Sought, peers: u32) -> Self {
        let mut script = sought.script();
        for peer in 1..=peers {
            script.connect(peer);
        }
        script.summarize(|_| sought.claim());
        Self { script, asked: BTreeMap::new(), broke: Vec::new() }
    }

    /// Whether the honest one is asked in the next moment; the others do what they do.
    fn step(&mut self, sought: Sought, breach: Breach, honest: Option<Peer>) -> bool {
        let Self { script, asked, broke } = self;
        for question in script.take(|query| sought.is_sought_by(query)) {
            let peer = question.peer;
            if honest == Some(peer) {
                return true;
            }
            *asked.entry(peer).or_insert(0) += 1;
            broke.push(peer);
            match breach {
                Breach::Refuses(refusal) => script.refuse(&question, refusal),
                Breach::Leaves => {
                    script.questions.retain(|question| question.peer != peer);
                    script.tell(Input::PeerDisconnected { peer });
                }
            }
        }
        script.wait(20);
        for peer in broke.drain(..) {
            if matches!(breach, Breach::Leaves) {
                script.connect(peer.0);
            }
            for holding in sought.claim().holdings() {
                script.tell(Input::HoldingAnnounced { peer, holding: holding.clone() });
            }
        }
        script.summarize(|_| sought.claim());
        script.search();
        false
    }
}

#[test]
fn one_that_keeps_its_word_is_asked_soon_however_others_break_theirs() {
    for sought in [Sought::Outline, Sought::Outputs] {
        for (breach, honest) in
            BREACHES.into_iter().flat_map(|breach| (1..8).map(move |peer| (breach, peer)))
        {
            let mut crowd = Crowd::new(sought, 7);
            while !crowd.step(sought, breach, Some(Peer(honest))) {
                let late = crowd.script.millis() > 2_000;
                assert!(!late, "{sought:?}, {breach:?}, {honest}: {:?}", crowd.asked);
            }
            let asked: u32 = crowd.asked.values().sum();
            assert!(asked <= 12, "{sought:?}, {breach:?}, {honest}: {:?}", crowd.asked);
        }
    }
}

#[test]
fn peers_that_break_their_word_over_and_over_are_asked_ever_less() {
    for sought in [Sought::Outline, Sought::Outputs] {
        for breach in BREACHES {
            let mut crowd = Crowd::new(sought, 6);
            while crowd.script.millis() < 60_000 {
                crowd.step(sought, breach, None);
            }
            assert_eq!(crowd.asked.len(), 6, "{sought:?}, {breach:?}: {:?}", crowd.asked);
            let few = crowd.asked.values().all(|count| *count <= 15);
            assert!(few, "{sought:?}, {breach:?}: {:?}", crowd.asked);
            // None of this proves a lie.
            assert!(!crowd.script.has_told(|event| matches!(event, Event::Banned { .. })));
        }
    }
}

#[test]
fn what_is_refused_of_a_state_that_was_given_up_does_not_take_back_what_is_claimed_of_the_next() {
    for refusal in [Refusal::NotHeld, Refusal::NotRetained] {
        let mut script = Script::taking(Config::default(), 100);
        let all = PartSet::full(500);
        (1..5).for_each(|peer| script.connect_holder(peer, 3, &all));
        script.download(&PartSet::empty(500));
        let old = script.take(is_parts);
        assert_eq!(old.len(), 4);
        script.epoch(4, 100, &[], &[S]);
        script.head(401);
        for peer in 1..5 {
            let holding = holding(S, 4, all.clone());
            script.tell(Input::HoldingAnnounced { peer: Peer(peer), holding });
        }
        script.wait(1_000);
        assert_eq!(script.status().target, Some((Epoch(4), root(S, 4))));
        assert_eq!(script.status().holders, 4);
        for question in &old {
            assert!(!script.cancels.contains(&question.request), "it may still be of use");
            script.refuse(question, refusal);
        }
        assert_eq!(script.status().holders, 4, "{refusal:?}");
        script.download(&PartSet::empty(500));
        // And nobody has to rest for what could not be given of the old one.
        script.wait(1);
        let asked: std::collections::BTreeSet<_> =
            script.take(is_parts).into_iter().map(|question| question.peer).collect();
        assert_eq!(asked.len(), 4, "{refusal:?}: {asked:?}");
    }
}

/// Ends all work of a download; what becomes durable by it is noted.
fn work(script: &mut Script, durable: &mut PartSet) {
    for (_, work) in &script.jobs {
        if let Work::Apply { parts, .. } = work {
            (parts.start.0..parts.end.0).for_each(|part| {
                durable.insert(PartIndex(part));
            });
        }
    }
    script.apply();
    script.search();
    script.reconcile(durable);
}

#[test]
fn a_holder_that_was_silent_is_asked_again_however_long_it_was_so() {
    for minutes in [1, 5, 30, 60, 90] {
        let mut script = Script::taking(Config::default(), 100_000);
        let (all, mut durable) = (PartSet::full(60), PartSet::empty(60));
        script.connect_holder(1, 3, &all);
        script.download(&durable);
        for _ in 0..2 {
            script.wait(100);
            for question in script.take(is_parts) {
                script.give_parts(&question, &all);
            }
        }
        let mut asked = 0;
        for _ in 0..minutes * 60 {
            script.block();
            asked += script.take(is_parts).len();
            script.summarize(|_| holds(3, all.clone()));
            for question in script.take(is_outline) {
                script.end(&question, RequestEnd::Manifest(sizes(S, 3, 60)));
            }
            work(&mut script, &mut durable);
        }
        let once_a_minute = minutes / 2..minutes + 10;
        assert!(once_a_minute.contains(&asked), "{asked} times in {minutes} minutes");

        let speaks = script.millis();
        while script.status().phase != Phase::Completing {
            let late = script.millis() > speaks + 120_000;
            assert!(!late, "after {minutes} minutes: {:?}", script.status());
            script.wait(100);
            for question in script.take(is_parts) {
                script.give_parts(&question, &all);
            }
            script.summarize(|_| holds(3, all.clone()));
            work(&mut script, &mut durable);
        }
    }
}
