//! How long a shard takes in the simulator, as a multiple of the least possible time: against the number
//! of newcomers, and against the share of peers that are hostile, for both policies.
//!
//! `cargo bench --bench scaling [-- --most N]`, at most so many newcomers (128, which takes two minutes;
//! twice as many take up to eight times as long). Prints both tables and draws them into `docs/plots`.
//! Nothing here is timed: the same code gives the same figures on any machine.

mod plot;

use std::io::Write;
use std::process::ExitCode;

use ketch_sim::{Form, PolicyKind, Scenario};

use plot::{Axis, Curve};

/// Newcomers to one shard in the same second.
const NEWCOMERS: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000];
/// The most of these if nobody asks for more.
const MOST: u32 = 128;
/// Of fifty peers that a newcomer has.
const HOSTILE: [u32; 9] = [0, 5, 10, 20, 30, 40, 45, 48, 49];
const PEERS: u32 = 50;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let most = match (words.next().as_deref(), words.next()) {
        (None, _) => MOST,
        (Some("--most"), Some(most)) if most.parse::<u32>().is_ok_and(|most| most > 0) => {
            most.parse().unwrap_or(1)
        }
        _ => {
            eprintln!("scaling: it takes --most N, the most newcomers, or nothing");
            return ExitCode::FAILURE;
        }
    };
    let newcomers = NEWCOMERS.into_iter().filter(|count| *count <= most);
    let newcomers = curves("newcomers", newcomers, |count| (count, herd(count)));
    let hostile = curves("hostile peers, %", HOSTILE.into_iter(), |liars| {
        (liars * 100 / PEERS, besieged(liars))
    });
    let herd = Axis { title: "newcomers to one shard", place: f64::log2, number: f64::exp2 };
    let share = Axis { title: "hostile peers of fifty, %", place: |x| x, number: |x| x };
    let drawn = plot::draw("docs/plots/newcomers.svg", &herd, &newcomers);
    match drawn.and_then(|()| plot::draw("docs/plots/hostile.svg", &share, &hostile)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("scaling: the plots could not be drawn: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// For each policy, the time of the last to be done ÷ the bound, where anybody was done at all.
fn curves(
    what: &str,
    counts: impl Iterator<Item = u32> + Clone,
    scenario: impl Fn(u32) -> (u32, String),
) -> Vec<Curve> {
    println!("{what:>17}{:>10}{:>10}", "ketch", "nearcore");
    let mut curves: Vec<_> =
        PolicyKind::ALL.map(|policy| Curve { name: policy.name(), points: Vec::new() }).into();
    for count in counts {
        let (at, text) = scenario(count);
        print!("{at:>17}");
        for (policy, curve) in PolicyKind::ALL.into_iter().zip(&mut curves) {
            match of_bound(&text, policy) {
                Some(times) => {
                    print!("{times:>10.2}");
                    curve.points.push((f64::from(at), times));
                }
                None => print!("{:>10}", "never"),
            }
            // A large world takes minutes.
            drop(std::io::stdout().flush());
        }
        println!();
    }
    curves
}

/// The time until the last of all takers was done ÷ the least time; none if not all were.
fn of_bound(text: &str, policy: PolicyKind) -> Option<f64> {
    let scenario = Scenario::parse(text, Form::Full).expect("what is written here is a scenario");
    let scenario = match policy {
        PolicyKind::Ketch => scenario,
        PolicyKind::Nearcore => scenario.baseline(),
    };
    let mut world = scenario.world(0, policy).expect("its chain can be");
    let outcome = scenario.run(&mut world);
    assert!(outcome.breaches.is_empty(), "{:?}", outcome.breaches.first());
    let times = outcome.applied.longest.as_secs_f64() / outcome.bound.as_secs_f64();
    (outcome.unfinished == 0 && outcome.missed == 0).then_some(times)
}

/// Four hosts, and so many newcomers.
fn herd(newcomers: u32) -> String {
    let host = nodes("host", 4, "tracks = [[0]]");
    let taker = nodes("taker", newcomers, "tracks = [[], [0]]");
    format!("{}{host}{taker}", chain("256MiB", "4MiB", 100))
}

/// One newcomer, and peers of which so many lie, each in its own way.
fn besieged(liars: u32) -> String {
    let host = nodes("host", PEERS - liars, "tracks = [[0]]");
    let liar = if liars > 0 { nodes("liar", liars, "lies = [\"all\"]") } else { String::new() };
    let taker = nodes("taker", 1, "tracks = [[], [0]]");
    format!("{}{host}{liar}{taker}", chain("4GiB", "4MiB", 1_000))
}

/// A state, its parts, and lines of so many megabits; an epoch is long enough for both policies.
fn chain(state: &str, part: &str, mbit: u32) -> String {
    format!(
        "title = \"scaling\"\nend = \"24h\"\n\
         [chain]\nshards = 2\nstate = \"{state}\"\ncontent = \"stand-ins\"\npart = \"{part}\"\n\
         changes = 1\nepoch_blocks = 720\nblock_interval = \"60s\"\nchanged = 0.02\n\
         chunk = \"64KiB\"\n\
         [line]\nup_mbit = {mbit}\ndown_mbit = {mbit}\ndelay = \"25ms\"\napply = \"300MiB\"\n"
    )
}

fn nodes(name: &str, count: u32, what: &str) -> String {
    format!("[[nodes]]\nname = \"{name}\"\ncount = {count}\n{what}\n")
}
