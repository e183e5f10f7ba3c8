//! How fast a state goes from packed parts to a queryable store, beside the pieces it is made of.
//!
//! `cargo bench --bench catchup [-- --only CASE] [--state SIZE] [--entries N] [--rounds N]`
//!
//! Cases: `transfer` from node to node beside `curl` and `tar`, `mix` with the devnet's own entries,
//! `swarm` of one seed and four newcomers, `arrival` without a network, `pregeneration`, `commit`,
//! `comb`. What is compared takes turns in one run, since a shared machine drifts; best and median of
//! the rounds are printed, user and system CPU apart. Never a test: nothing here passes or fails.

mod arrival;
mod commit;
mod measure;
mod pieces;
mod pregeneration;
mod seed;
mod state;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/still_chain.rs"]
mod still_chain;
mod stream;
mod swarm;
mod tools;
mod transfer;

use std::process::ExitCode;

use ketch_devnet::GenesisState;
use ketch_types::ByteSize;

use arrival::Arrival;
use measure::print_share;
use pieces::Pieces;
use state::{BenchState, ENTRY_BYTES, PART_BYTES};
use still_chain::{SHARD, StillChain};
use tools::Tools;
use transfer::Transfer;

/// That of the command, so that pieces are measured as they are used.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to run, and how large.
struct Options {
    only: Option<String>,
    state_bytes: u64,
    entries: u64,
    rounds: usize,
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("catchup: {problem}");
            return ExitCode::FAILURE;
        }
    };
    let state = ByteSize(options.state_bytes);
    println!("state {state}, entries for commits {}, rounds {}", options.entries, options.rounds);
    if ["transfer", "arrival", "pregeneration"].iter().any(|case| options.runs(case)) {
        catch_up(&options);
    }
    if options.runs("mix") {
        mix(&options);
    }
    if options.runs("swarm") {
        swarm::run(&options);
    }
    if options.runs("commit") {
        commit::random_puts(&options);
    }
    if options.runs("comb") {
        commit::comb(&options);
    }
    ExitCode::SUCCESS
}

/// Everything that is measured against the pieces that it is made of, in turns.
fn catch_up(options: &Options) {
    let state = BenchState::new(options.state_bytes / ENTRY_BYTES);
    let mut transfer = Transfer::new("32 + 96", state.entries());
    let bytes = transfer.seed.bytes();
    println!("{} parts, {} windows", state.manifest.part_count(), state.windows().len());
    if options.runs("pregeneration") {
        pregeneration::run(options, &state, &transfer.seed);
    }
    if !(options.runs("transfer") || options.runs("arrival")) {
        return;
    }
    println!();
    let (mut pieces, mut arrival) = (Pieces::new(&transfer.seed), Arrival::new(bytes));
    let tools = options.runs("transfer").then(|| Tools::new(&transfer.seed.member.shard(), bytes));
    let mut tools = tools.flatten();
    for _ in 0..options.rounds {
        pieces.round(&state, &transfer.seed);
        if options.runs("transfer") {
            transfer.round();
            tools.iter_mut().for_each(Tools::round);
        }
        if options.runs("arrival") {
            arrival.round(&state, &transfer.seed);
        }
    }
    pieces.print();
    if options.runs("arrival") {
        arrival.print(pieces.bound_in_memory());
    }
    if options.runs("transfer") {
        transfer.print();
        print_share("node to node", &transfer.client, pieces.bound());
        tools.iter().for_each(|tools| tools.print(&transfer.client));
    }
}

/// The devnet's own mix of accounts and contracts, from node to node.
fn mix(options: &Options) {
    let range =
        StillChain::new(PART_BYTES).layout().range_of(SHARD).expect("a shard of the layout");
    let state = GenesisState::new(1, SHARD, &range, options.state_bytes);
    let state = state.expect("the range has room for names");
    println!();
    let mut transfer = Transfer::new("devnet's mix", state.entries());
    for _ in 0..options.rounds {
        transfer.round();
    }
    transfer.print();
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { only: None, state_bytes: 1 << 30, entries: 1_000_000, rounds: 3 };
        while let Some(flag) = arguments.next() {
            // Cargo adds this one.
            if flag == "--bench" {
                continue;
            }
            let value = arguments.next().ok_or(format!("{flag} wants a value"))?;
            let wrong = |error: &dyn std::fmt::Display| format!("{flag} {value}: {error}");
            match flag.as_str() {
                "--only" => options.only = Some(value),
                "--state" => {
                    options.state_bytes = value.parse::<ByteSize>().map_err(|e| wrong(&e))?.0;
                }
                "--entries" => options.entries = value.parse().map_err(|e| wrong(&e))?,
                "--rounds" => options.rounds = value.parse().map_err(|e| wrong(&e))?,
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        Ok(options)
    }

    fn runs(&self, case: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == case)
    }
}
