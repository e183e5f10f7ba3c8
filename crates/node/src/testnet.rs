//! `ketch testnet`: a chain on this machine, every node a process of its own.

mod check;
mod child;
mod error;
mod outcome;
mod plan;
mod watch;

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use child::Process;
pub(crate) use error::TestnetError;
pub(crate) use outcome::Outcome;
pub(crate) use plan::{Plan, Wanted};
use watch::Watch;

/// How often nodes that end are started again, all together.
const RESTARTS_MAX: u32 = 16;

/// How often every node is asked how it stands.
const LOOK: Duration = Duration::from_millis(250);

/// Runs a testnet to its end; what came of it.
///
/// *Errors:* see [`TestnetError`]. Whatever happens, no process is left behind.
pub(crate) fn run(wanted: Wanted, keep: Option<&Path>) -> Result<Outcome, TestnetError> {
    let temporary = tempfile::tempdir().map_err(TestnetError::Runtime)?;
    let folder = keep.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).map_err(TestnetError::file(folder))?;
    eprintln!("making the first states in {}", folder.display());
    let plan = Plan::make(wanted, folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(TestnetError::Runtime)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(TestnetError::Runtime)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(TestnetError::Runtime)?;
        tokio::select! {
            outcome = run_nodes(&plan) => outcome,
            // Dropping the run kills what it has started.
            _ = interrupt.recv() => Err(TestnetError::Interrupted),
            _ = terminate.recv() => Err(TestnetError::Interrupted),
        }
    })
}

async fn run_nodes(plan: &Plan) -> Result<Outcome, TestnetError> {
    let mut sequencer = Process::start(&plan.sequencer, &[], false).await?;
    let known = sequencer.ready.addresses.clone();
    let records = plan.wanted.records;
    let starting = plan.followers().map(|member| Process::start(member, &known, records));
    let mut followers = futures::future::try_join_all(starting).await?;
    eprintln!("{} nodes are running", followers.len() + 1);

    let (mut watch, mut restarts) = (Watch::new(plan), 0);
    let mut looks = tokio::time::interval(LOOK);
    while watch.height() < plan.last_height() {
        looks.tick().await;
        if sequencer.has_ended() {
            return Err(TestnetError::SequencerEnded(plan.sequencer.log()));
        }
        for process in &mut followers {
            if process.has_ended() {
                restarts += 1;
                if restarts > RESTARTS_MAX {
                    return Err(TestnetError::EndsAgain(process.member.log()));
                }
                eprintln!("{} has ended and is started again", process.member.name);
                let member = process.member.clone();
                *process = Process::start(&member, &known, records).await?;
            }
        }
        watch.look(&sequencer, &followers).await;
        watch.show();
    }
    // The last boundary's outcome may still be on its way to those who asked for it.
    watch.settle(&sequencer, &followers).await;
    watch.clear();

    let stopping = followers
        .into_iter()
        .chain([sequencer])
        .map(|process| async { (process.member.name.clone(), process.stop().await) });
    let stopped = futures::future::join_all(stopping).await;
    let states = check::states(plan, &watch).await?;
    Ok(watch.outcome(plan, stopped, states))
}
