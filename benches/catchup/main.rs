//! How fast a state goes from packed parts to a queryable store, beside the pieces it is made of.
//!
//! `cargo bench --bench catchup [-- --only CASE] [--state SIZE] [--entries N] [--rounds N]`
//!
//! Cases: `pieces`, `arrival`, `pregeneration`, `commit`, `comb`. Pieces that are compared take turns
//! in one run, since a shared machine drifts; best and median of the rounds are printed, user and
//! system CPU apart. Never a test: nothing here passes or fails.

mod arrival;
mod commit;
mod measure;
mod state;

use std::process::ExitCode;

use ketch_types::ByteSize;

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
    if options.runs("pieces") || options.runs("arrival") || options.runs("pregeneration") {
        arrival::run(&options);
    }
    if options.runs("commit") {
        commit::random_puts(&options);
    }
    if options.runs("comb") {
        commit::comb(&options);
    }
    ExitCode::SUCCESS
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
