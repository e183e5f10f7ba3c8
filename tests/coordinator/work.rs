//! Local work that fails: once or again and again, alone or beside other work on the same store.

use ketch_coordinator::{Obstacle, Verdict};

use super::*;

/// Two windows of one part each are being applied.
fn applying_twice() -> Script {
    let (window_bytes, window_bytes_min) = (u64::from(PART), u64::from(PART));
    let config = Config { window_bytes, window_bytes_min, applies_max: 2, ..Config::default() };
    let mut script = Script::taking(config, 1_000);
    let all = PartSet::full(50);
    script.connect_holder(1, 3, &all);
    script.download(&PartSet::empty(50));
    let applies = |(_, work): &&(_, Work)| matches!(work, Work::Apply { .. });
    while script.jobs.iter().filter(applies).count() < 2 {
        assert!(script.millis() < 10_000, "{:?}", script.status());
        script.wait(10);
        for question in script.take(is_parts) {
            script.give_parts(&question, &all);
        }
    }
    script.search();
    assert_eq!(script.jobs.len(), 2, "{:?}", script.jobs);
    script
}

/// Ends the oldest job.
fn end_first(script: &mut Script, end: JobEnd) {
    let (job, _) = script.jobs.remove(0);
    script.tell(Input::JobEnded { job, end });
}

/// The phases that the shard went through, in order.
fn phases(script: &Script) -> Vec<Phase> {
    let told = script.events.iter().filter_map(|(_, event)| match event {
        Event::PhaseChanged { shard: S, phase } => Some(*phase),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_store_of_which_two_jobs_end_one_after_the_other_around_a_stop_is_opened_once_after_both() {
    let faults = [OurFault::DiskFull, OurFault::Stopped, OurFault::Damaged];
    let ends = faults.map(JobEnd::Failed).into_iter().chain([JobEnd::Applied]);
    for (end, pause) in ends.flat_map(|end| [0, 100, 5_000].map(|pause| (end.clone(), pause))) {
        let mut script = applying_twice();
        end_first(&mut script, JobEnd::Failed(OurFault::DiskFull));
        assert_eq!(script.status().phase, Phase::Stopped);
        script.wait(pause);
        assert_eq!(script.status().phase, Phase::Stopped, "{end:?} after {pause} ms");
        assert!(!script.is_opening(), "{end:?} after {pause} ms");
        end_first(&mut script, end.clone());
        script.wait(2_000);
        // It takes its time, and is not begun a second time meanwhile.
        script.wait(10_000);
        assert_eq!(script.status().phase, Phase::Opening, "{end:?} after {pause} ms");
        let opens = script.jobs.iter().filter(|(_, work)| matches!(work, Work::Open { .. }));
        assert_eq!(opens.count(), 1, "{end:?} after {pause} ms");

        script.open(None, vec![]);
        while script.status().phase != Phase::Following {
            assert!(script.millis() < 60_000, "{end:?} after {pause} ms: {:?}", script.status());
            script.block();
            script.all_goes_well(50);
        }
        let phases = phases(&script);
        for phase in [Phase::Stopped, Phase::Opening, Phase::Completing] {
            let times = phases.iter().filter(|told| **told == phase).count();
            assert_eq!(times, 1, "{end:?} after {pause} ms: {phases:?}");
        }
    }
}

/// What goes on while a kind of work finds the store damaged each time.
#[derive(Default)]
struct Damage {
    /// When the work was done. *Units:* milliseconds.
    tries: Vec<u64>,
    outlines: usize,
    /// Comparisons that believed what the store says of itself.
    trusting: usize,
}

impl Damage {
    fn step(&mut self, script: &mut Script, fails: impl Fn(&Work) -> bool) {
        script.summarize(|_| holds(3, PartSet::full(50)));
        for question in script.take(is_outline) {
            self.outlines += 1;
            script.end(&question, RequestEnd::Manifest(sizes(S, 3, 50)));
        }
        let trusts = |work: &Work| matches!(work, Work::Reconcile { distrust: false, .. });
        self.trusting += usize::from(script.runs(trusts));
        if script.finish(|work| fails(work).then_some(JobEnd::Failed(OurFault::Damaged))) > 0 {
            self.tries.push(script.millis());
        }
        script.reconcile(&PartSet::full(50));
        script.finish(|work| match work {
            Work::Search { .. } | Work::Open { .. } => Some(done(work, 50)),
            _ => None,
        });
    }
}

#[test]
fn damage_that_comes_back_is_mended_at_once_the_first_time_and_then_with_growing_waits() {
    let reconciles = |work: &Work| matches!(work, Work::Reconcile { .. });
    let completes = |work: &Work| matches!(work, Work::Complete { .. });
    let kinds: [&dyn Fn(&Work) -> bool; 2] = [&reconciles, &completes];
    for fails in kinds {
        let mut script = Script::taking(Config::default(), 100_000);
        script.connect_holder(1, 3, &PartSet::full(50));
        let mut damage = Damage::default();
        for tick in 1..=12_000 {
            script.wait(10);
            damage.step(&mut script, fails);
            if tick % 100 == 0 {
                script.head(script.height + 1);
            }
        }
        let waits: Vec<_> = damage.tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((5..=10).contains(&damage.tries.len()), "{:?}", damage.tries);
        assert!(waits.is_sorted() && waits[0] < 500 && waits[1] >= 500, "{waits:?}");
        assert!(damage.outlines <= damage.tries.len() + 1, "{} outlines", damage.outlines);
        assert_eq!(damage.trusting, 1, "what was found damaged is believed");

        let told: Vec<_> = script.verdicts().into_iter().map(|(_, verdict)| verdict).collect();
        assert!(
            matches!(
                told[..],
                [
                    Verdict::OnTime { .. },
                    Verdict::AtRisk { .. },
                    Verdict::Impossible { obstacle: Obstacle::OwnWork, .. }
                ]
            ),
            "{told:?}"
        );
        assert!(!script.has_told(|event| matches!(event, Event::Banned { .. })));
        while script.status().phase != Phase::Following {
            assert!(script.millis() < 300_000, "{:?}", script.status());
            script.block();
            script.all_goes_well(50);
        }
    }
}
