//! Who is blamed, and when we doubt ourselves instead.

use ketch_coordinator::Fault;

use super::*;

const PARTS: u32 = 40;

/// Five peers hold all of the state, and each is asked for some of it.
fn asked_of_five() -> (Script, Vec<Question>) {
    let mut script = Script::taking(Config::default(), 10_000);
    (1..=5).for_each(|peer| script.connect_holder(peer, 3, &PartSet::full(PARTS)));
    script.download(&PartSet::empty(PARTS));
    let asked = script.take(is_parts);
    assert_eq!(asked.len(), 5);
    (script, asked)
}

/// A peer sends something that is not the first part that it was asked for.
fn lie(script: &mut Script, question: &Question) {
    let Query::Parts { wanted, .. } = &question.query else { panic!("{question:?}") };
    lie_about(script, question, wanted.iter().next().unwrap());
}

fn lie_about(script: &mut Script, question: &Question, part: PartIndex) {
    script.end(question, RequestEnd::Faulty(Fault::Part(part)));
}

/// The next question for parts, as time goes by.
fn next_asked(script: &mut Script) -> Question {
    for _ in 0..200 {
        script.summarize(|_| holds(3, PartSet::full(PARTS)));
        script.search();
        script.reconcile(&PartSet::empty(PARTS));
        if let Some(question) = script.take(is_parts).into_iter().next() {
            return question;
        }
        script.wait(500);
    }
    panic!("nobody is asked any more: {:?}", script.status());
}

fn banned(script: &Script) -> Vec<u32> {
    let bans = script.commands.iter().filter_map(|command| match command {
        Command::Ban { peer, .. } => Some(peer.0),
        _ => None,
    });
    bans.collect()
}

fn checks(script: &mut Script, sound: bool) -> usize {
    let checked = |work: &Work| matches!(work, Work::CheckOurselves);
    script.finish(|work| checked(work).then_some(JobEnd::Checked { sound }))
}

fn suspects(script: &Script) -> bool {
    script.has_told(|event| matches!(event, Event::SuspectingOurselves { .. }))
}

#[test]
fn whoever_lies_is_banned_and_asked_for_nothing_more() {
    let (mut script, asked) = asked_of_five();
    lie(&mut script, &asked[0]);
    assert_eq!(banned(&script), [asked[0].peer.0]);
    assert!(!suspects(&script));
    for _ in 0..100 {
        script.block();
        let asked_now: Vec<_> = script.questions.iter().map(|question| question.peer).collect();
        assert!(!asked_now.contains(&asked[0].peer), "{asked_now:?}");
        script.all_goes_well(PARTS);
    }
}

#[test]
fn a_third_lie_within_a_minute_makes_us_check_ourselves_and_ban_nobody() {
    let (mut script, asked) = asked_of_five();
    asked.iter().take(2).for_each(|question| lie(&mut script, question));
    assert_eq!(banned(&script).len(), 2);
    asked.iter().skip(2).for_each(|question| lie(&mut script, question));
    assert_eq!(banned(&script).len(), 2, "of five");
    assert!(suspects(&script));
    assert_eq!(checks(&mut script, true), 1, "once");
}

#[test]
fn three_lies_that_are_minutes_apart_are_those_of_three_liars() {
    let (mut script, asked) = asked_of_five();
    lie(&mut script, &asked[0]);
    let mut liars = vec![asked[0].peer.0];
    for _ in 0..2 {
        script.wait(61_000);
        let asked = next_asked(&mut script);
        lie(&mut script, &asked);
        liars.push(asked.peer.0);
    }
    assert_eq!(banned(&script), liars);
    assert!(!suspects(&script));
}

#[test]
fn two_peers_who_seem_to_send_the_same_part_wrong_make_us_check_ourselves() {
    let (mut script, asked) = asked_of_five();
    let part = PartIndex(0);
    lie_about(&mut script, &asked[0], part);
    lie_about(&mut script, &asked[1], part);
    assert_eq!(banned(&script), [asked[0].peer.0]);
    let named = Some((S, part));
    let told =
        |event: &Event| matches!(event, Event::SuspectingOurselves { part } if *part == named);
    assert!(script.has_told(told));
}

#[test]
fn after_a_check_that_finds_nothing_liars_are_banned_again_a_minute_later() {
    for (sound, banned_later) in [(true, 3), (false, 2)] {
        let (mut script, asked) = asked_of_five();
        asked.iter().take(3).for_each(|question| lie(&mut script, question));
        checks(&mut script, sound);
        // Not at once: what is wrong with us may come and go.
        lie(&mut script, &asked[3]);
        assert_eq!(banned(&script).len(), 2);
        script.wait(200_000);
        let asked = next_asked(&mut script);
        lie(&mut script, &asked);
        assert_eq!(banned(&script).len(), banned_later, "sound: {sound}");
    }
}
