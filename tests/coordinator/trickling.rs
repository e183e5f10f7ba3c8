//! Peers that send some bytes now and then, and nothing whole.

use std::collections::BTreeSet;

use ketch_coordinator::Verdict;

use super::*;

/// Peers that keep their word, of all that claim.
const HONEST: u32 = 3;
/// How often a trickler sends some bytes, well before it would count as silent. *Units:* milliseconds.
const TRICKLE_EVERY: u64 = 8_000;

/// Many peers of which all but a few trickle what they are asked for.
struct Crowd {
    script: Script,
    honest: BTreeSet<Peer>,
    trickling: Vec<Question>,
}

impl Crowd {
    /// The honest ones are neighbours, from `first` on.
    fn new(tricklers: u32, first: u32, count: u32) -> Self {
        let mut script = Script::taking(Config::default(), 1_000_000);
        let peers = tricklers + HONEST;
        let honest = (0..HONEST).map(|place| Peer(1 + (first + place) % peers)).collect();
        (1..=peers).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(count)));
        Self { script, honest, trickling: Vec::new() }
    }

    /// A moment passes.
    fn step(&mut self, millis: u64) {
        let Self { script, trickling, .. } = self;
        script.wait(millis);
        trickling.retain(|question| !script.cancels.contains(&question.request));
        if script.millis().is_multiple_of(TRICKLE_EVERY) {
            for question in trickling.iter() {
                script.tell(Input::RequestProgressed { request: question.request, bytes: 0 });
            }
        }
        script.search();
        script.apply();
    }

    fn is_honest(&self, question: &Question) -> bool {
        self.honest.contains(&question.peer)
    }
}

/// How long it takes until an honest peer is asked for the outline. *Units:* seconds.
fn until_outline(tricklers: u32, first: u32) -> u64 {
    let mut crowd = Crowd::new(tricklers, first, 50);
    let begun = crowd.script.millis();
    loop {
        let (good, bad): (Vec<_>, Vec<_>) = crowd
            .script
            .take(is_outline)
            .into_iter()
            .partition(|question| crowd.is_honest(question));
        crowd.trickling.extend(bad);
        assert!(crowd.trickling.len() <= 8, "{} at once", crowd.trickling.len());
        if let Some(question) = good.first() {
            crowd.script.end(question, RequestEnd::Manifest(sizes(S, 3, 50)));
            assert_eq!(crowd.script.status().phase, Phase::Reconciling);
            return (crowd.script.millis() - begun) / 1_000;
        }
        assert!(crowd.script.millis() < 1_000_000, "{tricklers} tricklers");
        crowd.step(1_000);
        crowd.script.summarize(|_| holds(3, PartSet::full(50)));
    }
}

/// How long it takes until the state is whole of whose last part nobody but the honest ones sends more
/// than some bytes. *Units:* seconds.
fn until_whole(tricklers: u32, first: u32) -> u64 {
    const COUNT: u32 = 60;
    let all = PartSet::full(COUNT);
    let last = PartIndex(COUNT - 1);
    let mut crowd = Crowd::new(tricklers, first, COUNT);
    crowd.script.download(&PartSet::empty(COUNT));
    let mut durable = 0;
    while crowd.script.status().phase != Phase::Completing {
        assert!(crowd.script.millis() < 1_000_000, "{tricklers} tricklers");
        for question in crowd.script.take(is_parts) {
            let Query::Parts { wanted, .. } = &question.query else { continue };
            if crowd.is_honest(&question) || !wanted.contains(last) {
                crowd.script.give_parts(&question, &all);
                continue;
            }
            let request = question.request;
            for part in wanted.iter().filter(|part| *part != last) {
                crowd.script.tell(Input::PartVerified { request, part });
            }
            crowd.trickling.push(question);
        }
        crowd.step(100);
        crowd.script.summarize(|_| holds(3, all.clone()));
        durable = durable.max(crowd.script.status().parts_held);
        if crowd.script.reconcile(&parts(0..COUNT - 1, COUNT)) > 0 {
            assert_eq!(durable, COUNT - 1, "all but the last part were there by then");
        }
    }
    crowd.script.millis() / 1_000
}

/// The longest over all places that the honest ones can have among the others, some of them tried.
fn longest(tricklers: u32, until: impl Fn(u32, u32) -> u64) -> u64 {
    let firsts = (0..tricklers + HONEST).step_by(1 + tricklers as usize / 6);
    firsts.map(|first| until(tricklers, first)).max().unwrap()
}

#[test]
fn getting_past_tricklers_of_an_outline_takes_no_longer_than_in_proportion_to_their_number() {
    for tricklers in [4, 8, 16, 24, 48] {
        let took = longest(tricklers, until_outline);
        assert!(took <= 30 + 4 * u64::from(tricklers), "{took} s with {tricklers} tricklers");
    }
}

#[test]
fn getting_past_tricklers_of_the_last_part_takes_no_longer_than_in_proportion_to_their_number() {
    for tricklers in [4, 8, 16, 24, 48] {
        let took = longest(tricklers, until_whole);
        assert!(took <= 50 + 20 * u64::from(tricklers), "{took} s with {tricklers} tricklers");
    }
}

/// Lets time pass until something has come true, while bytes of a request come every so often; they
/// alone wake the coordinator unless it `is_woken`.
fn trickle_until(
    script: &mut Script,
    (request, every, is_woken): (RequestId, Duration, bool),
    done: impl Fn(&Script) -> bool,
) {
    while !done(script) {
        assert!(script.millis() < 30_000, "{:?}", script.status());
        let next = script.now + every;
        let due = |script: &Script| script.coordinator.poll_timeout().map(|(due, _)| due);
        while let Some(due) = due(script).filter(|due| is_woken && *due <= next) {
            script.coordinator.handle_timeout(due);
        }
        script.now = next;
        script.tell(Input::RequestProgressed { request, bytes: 0 });
        script.search();
    }
}

/// Three peers claim the state, one of which was asked for its outline; a fourth was asked what it
/// holds.
fn locating(length: u64) -> Script {
    let mut script = Script::taking(Config::default(), length);
    // No timer of another kind is to be due when this one is.
    script.wait(137);
    (1..4).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(50)));
    script.connect(4);
    script
}

#[test]
fn a_second_peer_is_asked_for_a_late_outline_exactly_when_that_is_due_however_many_bytes_come() {
    let due = Config::default().hedge_prior;
    let is_summary = |query: &Query| matches!(query, Query::Summary(_));
    let kinds: [&dyn Fn(&Query) -> bool; 2] = [&is_outline, &is_summary];
    let paces = [90, 400, 2_000, 7_000].map(Duration::from_micros);
    for (kind, every) in kinds.into_iter().flat_map(|kind| paces.map(|pace| (kind, pace))) {
        for is_woken in [false, true] {
            let mut script = locating(10_000);
            let request = script.questions.iter().find(|q| kind(&q.query)).unwrap().request;
            let asked = script.now;
            assert_eq!(script.take(is_outline).len(), 1);
            let second = |script: &Script| script.questions.iter().any(|q| is_outline(&q.query));
            trickle_until(&mut script, (request, every, is_woken), second);
            let waited = script.now - asked;
            assert!((due..due + every).contains(&waited), "{waited:?} with bytes each {every:?}");
            assert_eq!(script.take(is_outline).len(), 1);
        }
    }
}

#[test]
fn verdicts_are_made_however_many_bytes_come() {
    for is_woken in [false, true] {
        let mut script = locating(20);
        let request = script.take(is_outline)[0].request;
        let every = Duration::from_micros(400);
        let warned = |script: &Script| {
            script.verdicts().last().is_some_and(|(_, v)| matches!(v, Verdict::AtRisk { .. }))
        };
        assert!(!warned(&script));
        trickle_until(&mut script, (request, every, is_woken), warned);
        assert!(script.millis() < 6_000, "{:?}", script.verdicts());
    }
}

#[test]
fn peers_that_trickle_an_outline_without_end_are_given_up_for_others() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(50);
    (1..6).for_each(|peer| script.connect_holder(peer, 3, &all));
    let (mut trickling, mut tricklers) = (Vec::new(), BTreeSet::new());
    while script.status().phase == Phase::Locating {
        script.wait(500);
        assert!(script.millis() < 60_000, "{tricklers:?}");
        for question in script.take(is_outline) {
            if tricklers.len() < 2 {
                tricklers.insert(question.peer);
                trickling.push(question.request);
            } else {
                assert!(!tricklers.contains(&question.peer));
                script.end(&question, RequestEnd::Manifest(sizes(S, 3, 50)));
            }
        }
        for request in trickling.clone() {
            script.tell(Input::RequestProgressed { request, bytes: 0 });
        }
        script.search();
    }
    assert!(trickling.iter().all(|request| script.cancels.contains(request)));
    assert!(!script.has_told(|event| matches!(event, Event::Banned { .. })));
}

#[test]
fn a_part_that_two_peers_trickle_is_asked_of_a_third() {
    let mut script = Script::taking(Config::default(), 10_000);
    let all = PartSet::full(1);
    (1..4).for_each(|peer| script.connect_holder(peer, 3, &all));
    script.download(&PartSet::empty(1));
    let (mut trickling, mut tricklers) = (BTreeSet::new(), BTreeSet::new());
    while script.status().phase == Phase::Downloading {
        script.wait(500);
        assert!(script.millis() < 60_000, "{tricklers:?}");
        for question in script.take(is_parts) {
            if tricklers.len() < 2 || tricklers.contains(&question.peer) {
                tricklers.insert(question.peer);
                trickling.insert(question.request);
            } else {
                script.give_parts(&question, &all);
            }
        }
        for request in trickling.clone() {
            script.tell(Input::RequestProgressed { request, bytes: 0 });
        }
        script.summarize(|_| holds(3, all.clone()));
        script.search();
        script.apply();
    }
    assert_eq!(script.status().phase, Phase::Completing);
    assert!(!script.has_told(|event| matches!(event, Event::WatchdogFired { .. })));
    assert!(!script.has_told(|event| matches!(event, Event::Banned { .. })));
}
