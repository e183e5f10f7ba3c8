//! Rule 5 over any order of events: a part is asked of two peers at most, and nothing stays behind.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Three windows of the state that is taken.
const PARTS: u32 = 24;
const PEERS: u32 = 4;

/// What one of the peers that were asked does, or all do together.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next part that was asked for comes.
    Sends,
    /// Some bytes come.
    Trickles,
    /// Nothing comes for so many milliseconds.
    Stalls(u64),
    /// The answer ends, whatever has come.
    Ends,
    Refuses(Refusal),
    Fails,
}

fn step() -> impl Strategy<Value = Step> {
    let busy = Refusal::Busy { retry_after: Duration::from_secs(1) };
    prop_oneof![
        6 => Just(Step::Sends),
        1 => Just(Step::Trickles),
        2 => (1..4_000_u64).prop_map(Step::Stalls),
        1 => (10_000..12_000_u64).prop_map(Step::Stalls),
        1 => Just(Step::Ends),
        1 => prop_oneof![Just(Refusal::NotHeld), Just(busy)].prop_map(Step::Refuses),
        1 => Just(Step::Fails),
    ]
}

/// What the peers were asked for.
#[derive(Default)]
struct Asked {
    /// Requests for parts that were not cancelled, with the parts that have not come of each.
    open: BTreeMap<RequestId, (Peer, PartSet)>,
    /// Parts that came from anybody.
    come: BTreeSet<PartIndex>,
}

impl Asked {
    fn read(&mut self, script: &mut Script) {
        for question in script.take(is_parts) {
            let Query::Parts { wanted, .. } = question.query else { continue };
            self.open.insert(question.request, (question.peer, wanted));
        }
        self.open.retain(|request, _| !script.cancels.contains(request));
    }

    fn take(&mut self, script: &mut Script, which: usize, step: Step) {
        let open: Vec<_> = self.open.keys().copied().collect();
        if let Step::Stalls(millis) = step {
            return script.wait(millis);
        }
        let Some(request) = open.get(which % open.len().max(1)).copied() else { return };
        let end = match step {
            Step::Sends => return self.send(script, request),
            Step::Trickles => return script.tell(Input::RequestProgressed { request, bytes: 0 }),
            Step::Stalls(_) => return,
            Step::Ends => RequestEnd::Parts { held: PartSet::full(PARTS), refusal: None },
            Step::Refuses(refusal) => RequestEnd::Refused(refusal),
            Step::Fails => RequestEnd::Failed(Failure::TimedOut),
        };
        self.open.remove(&request);
        script.tell(Input::RequestEnded { request, end });
    }

    fn send(&mut self, script: &mut Script, request: RequestId) {
        let Some((_, left)) = self.open.get_mut(&request) else { return };
        let next = left.iter().next();
        if let Some(part) = next {
            left.remove(part);
            self.come.insert(part);
            script.tell(Input::PartVerified { request, part });
        }
    }

    /// The peers that are asked for a part that has not come.
    fn asked_for(&self, part: PartIndex) -> Vec<Peer> {
        let asked = self.open.values().filter(|(_, left)| left.contains(part));
        asked.map(|(peer, _)| *peer).collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let missing = (0..PARTS).map(PartIndex).filter(|part| !self.come.contains(part));
        for part in missing {
            let peers = self.asked_for(part);
            prop_assert!(peers.len() <= 2, "{:?} is asked of {:?}", part, peers);
            prop_assert!(peers.len() < 2 || peers[0] != peers[1], "{:?} of {:?}", part, peers);
        }
        for (request, (peer, left)) in &self.open {
            let needed = left.is_empty() || left.iter().any(|part| !self.come.contains(&part));
            prop_assert!(needed, "{request} to {peer}: {:?} has come from elsewhere", left);
        }
        Ok(())
    }
}

/// Four peers hold all of the state; nothing but what the steps do happens to it.
fn downloading() -> Script {
    let config = Config { watchdog: Duration::from_secs(1_000_000), ..Config::default() };
    let mut script = Script::taking(config, 10_000);
    (1..=PEERS).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(PARTS)));
    script.download(&PartSet::empty(PARTS));
    script
}

proptest! {
    #[test]
    fn a_part_is_asked_of_two_peers_at_most_and_of_one_no_longer_once_it_came_from_the_other(
        steps in vec((any::<usize>(), step()), 0..120),
    ) {
        let mut script = downloading();
        let mut asked = Asked::default();
        asked.read(&mut script);
        for (which, step) in steps {
            asked.take(&mut script, which, step);
            asked.read(&mut script);
            asked.check()?;
            script.summarize(|_| holds(3, PartSet::full(PARTS)));
            script.search();
            script.apply();
            asked.read(&mut script);
            asked.check()?;
        }
        for (request, (peer, wanted)) in asked.open {
            let query = Query::Parts { shard: S, root: root(S, 3), wanted };
            script.give_parts(&Question { request, peer, query }, &PartSet::full(PARTS));
        }
        // Longer than anybody is left alone.
        for _ in 0..100 {
            script.block();
            (0..5).for_each(|_| script.all_goes_well(PARTS));
        }
        prop_assert_eq!(script.status().phase, Phase::Following);
        prop_assert_eq!(script.coordinator.pending_bytes(), 0);
        prop_assert!(script.coordinator.is_at_rest());
    }
}

#[test]
fn of_two_who_were_asked_for_a_part_the_later_one_is_cancelled_whoever_it_is() {
    for (winner, loser) in [(0, 1), (1, 0)] {
        let mut script = Script::taking(Config::default(), 10_000);
        let all = PartSet::full(1);
        (1..=PEERS).for_each(|peer| script.connect_holder(peer, 3, &all));
        script.download(&PartSet::empty(1));
        script.wait(3_000);
        let both = script.take(is_parts);
        assert_eq!(both.len(), 2);
        let request = both[winner].request;
        script.tell(Input::PartVerified { request, part: PartIndex(0) });
        assert_eq!(script.cancels, [both[loser].request]);
        assert!(script.take(is_parts).is_empty());
    }
}
