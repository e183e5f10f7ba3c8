//! What is made of facts that come late, twice, or after others that say otherwise.

use super::*;

#[test]
fn an_outline_that_was_asked_for_an_older_target_is_not_taken_for_the_new_one() {
    let mut script = Script::taking(Config::default(), 100);
    script.connect_holder(1, 3, &PartSet::full(50));
    let late = script.take(is_outline);
    script.epoch(4, 100, &[], &[S]);
    script
        .tell(Input::HoldingAnnounced { peer: Peer(1), holding: holding(S, 4, PartSet::full(60)) });
    script.wait(2_000);
    assert_eq!(script.status().target.map(|(epoch, _)| epoch), Some(Epoch(4)));
    script.end(&late[0], RequestEnd::Manifest(sizes(S, 3, 50)));
    assert_eq!((script.status().phase, script.status().parts), (Phase::Locating, 0));
    script.download(&PartSet::empty(60));
}

#[test]
fn what_is_not_in_a_summary_is_not_held_whatever_was_announced() {
    let mut script = Script::taking(Config::default(), 1_000);
    script.connect(1);
    let announced = holding(S, 3, PartSet::full(50));
    script.tell(Input::HoldingAnnounced { peer: Peer(1), holding: announced });
    assert_eq!(script.status().holders, 1);
    script.summarize(|_| Summary::default());
    assert_eq!(script.status().holders, 0);
}

#[test]
fn nobody_is_caught_up_with_a_head_that_is_not_new() {
    // The newest known block is a minute old: there must be others.
    let mut script = Script::new(Config::default());
    script.epoch(3, 1_000, &[S], &[S]);
    script.tell(Input::HeadAdvanced { height: Height(3_100), produced: at(0) });
    script.wait(60_000);
    script.open(Some(3_100), vec![]);
    assert_eq!(script.status().phase, Phase::Replaying);
    script.head(3_160);
    script.connect(1);
    script.summarize(|_| feeds(3_001, 3_160));
    script.give_outputs();
    script.replay();
    assert_eq!(script.status().phase, Phase::Following);
    // And whoever hears of no more blocks has fallen behind.
    script.wait(60_000);
    assert_eq!(script.status().phase, Phase::Replaying);
    assert!(script.has_told(|event| matches!(event, Event::FellBehind { .. })));
}

#[test]
fn what_was_announced_of_an_older_target_is_withdrawn_when_the_target_moves() {
    let mut script = Script::taking(Config::default(), 100);
    script.connect_holder(1, 3, &PartSet::full(50));
    script.download(&parts(0..20, 50));
    script.wait(2_000);
    let announced = |script: &Script, held: &PartSet| {
        let wanted = holding(S, 3, held.clone());
        let said =
            |command: &Command| matches!(command, Command::Announce(said) if *said == wanted);
        script.commands.iter().any(said)
    };
    assert!(announced(&script, &parts(0..20, 50)));
    script.tell(Input::PeerDisconnected { peer: Peer(1) });
    script.epoch(4, 100, &[], &[S]);
    script.connect_holder(2, 4, &PartSet::full(50));
    script.wait(10_000);
    assert_eq!(script.status().target.map(|(epoch, _)| epoch), Some(Epoch(4)));
    assert!(announced(&script, &PartSet::empty(50)));
    let stopped =
        |command: &Command| matches!(command, Command::StopProviding { shard: S, epoch: Epoch(3) });
    assert!(script.commands.iter().any(stopped));
}

#[test]
fn a_request_of_which_nothing_comes_has_failed_after_the_limit_and_not_before() {
    let config = Config { stall_timeout: Duration::from_secs(10), ..Config::default() };
    let mut script = Script::taking(config, 10_000);
    script.connect_holder(1, 3, &PartSet::full(50));
    script.download(&PartSet::empty(50));
    let asked = script.take(is_parts);
    // Bytes that come count, even if they make nothing whole.
    for _ in 0..5 {
        script.wait(9_000);
        script.tell(Input::RequestProgressed { request: asked[0].request, bytes: 0 });
    }
    script.wait(9_900);
    assert!(!script.cancels.contains(&asked[0].request));
    script.wait(200);
    assert!(script.cancels.contains(&asked[0].request));
    assert_eq!(script.coordinator.pending_bytes(), 0);
}
