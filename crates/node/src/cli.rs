use std::error::Error;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ketch_sim::{Form, PolicyKind};
use ketch_types::ByteSize;

use crate::config::{DevnetState, NodeConfig};
use crate::genesis::GenesisFormat;
use crate::layout_file::read_layout;
use crate::node;
use crate::sim::{self, SimError, Span};
use crate::state_tool::{self, StateToolError};
use crate::status_tool;
use crate::testnet::{self, TestnetError, Wanted};

/// Gets a validator onto its next shards before the epoch turns.
#[derive(Parser)]
#[command(name = "ketch", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a node: a validator, a part server, or a devnet's sequencer, which holds the dev
    /// validators' keys.
    Node(Node),
    /// Run a chain with validators that change shards every epoch, each node a process on loopback.
    Testnet(Testnet),
    /// Run a scenario in a deterministic world, and hold what came of it against its limits.
    Sim(Sim),
    /// Show how a node stands: its head, its shards, and what it took.
    Status(Status),
    /// Look into a shard's state, or make one from a genesis file.
    #[command(subcommand)]
    State(StateCommand),
}

#[derive(Subcommand)]
enum StateCommand {
    /// Print the state root, and how many entries and bytes it commits to.
    Root(Source),
    /// Print the outline at a cut, with its parts.
    Outline(CutSource),
    /// Print the parts at a cut, one a line.
    Parts(CutSource),
    /// Fill one new database per shard of a layout from a genesis file.
    Import(Import),
}

#[derive(Args)]
struct Node {
    /// The configuration; see the examples in `config/`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A value over the file's and the environment's, as `section.key=value`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// Write what the coordinator is told and says to this file, which is new; see `ketch sim replay`.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Args)]
struct Testnet {
    /// The shard layout.
    #[arg(long, value_name = "FILE", default_value = "shards/quartet.toml")]
    layout: PathBuf,
    /// How many validators share the shards.
    #[arg(long, value_name = "N", default_value_t = 4)]
    validators: u32,
    /// How many nodes serve parts of all shards.
    #[arg(long, value_name = "N", default_value_t = 1)]
    part_servers: u32,
    /// How many changes of epochs to see.
    #[arg(long, value_name = "N", default_value_t = 3)]
    epochs: u64,
    /// The length of an epoch; 40, or a block for each 2 MiB of a shard's state, if that is more.
    #[arg(long, value_name = "N")]
    epoch_blocks: Option<u64>,
    /// The time from a block to the next.
    #[arg(long, value_name = "DURATION", default_value = "500ms")]
    block_interval: humantime::Duration,
    /// The size that each shard's state begins with.
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    state_size: ByteSize,
    /// A genesis file to begin with, instead of states made from the seed.
    #[arg(long, value_name = "FILE", conflicts_with = "state_size")]
    genesis: Option<PathBuf>,
    /// The most that each node sends in a second.
    #[arg(long, value_name = "SIZE")]
    upload_limit: Option<ByteSize>,
    /// The most that each node receives in a second.
    #[arg(long, value_name = "SIZE")]
    download_limit: Option<ByteSize>,
    /// What all keys and states come from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Keep everything in this folder, which is new or empty.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Have each node but the sequencer record into its folder, as `ketch node --record` does.
    #[arg(long, requires = "keep")]
    record: bool,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Sim {
    #[command(subcommand)]
    command: Option<SimCommand>,
    /// The scenario's file; `random` for one that is made from the seed.
    #[arg(value_name = "SCENARIO.toml", required = true)]
    scenario: Option<PathBuf>,
    /// The seed of the world.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The seeds of as many worlds, the last one not among them.
    #[arg(long, value_name = "A..B", conflicts_with = "seed", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// Who decides for the nodes.
    #[arg(long, value_name = "POLICY", default_value = "ketch", value_parser = policy)]
    policy: PolicyKind,
    /// Run the scenario in its small form, as the tests do.
    #[arg(long)]
    small: bool,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Subcommand)]
enum SimCommand {
    /// List the project's scenarios.
    List,
    /// Run random scenarios for as long as asked, and sum up what came of them.
    Soak(Soak),
    /// Tell a coordinator what a node's was told, by its record, and compare what both say.
    Replay(Replay),
}

#[derive(Args)]
struct Replay {
    /// What `ketch node --record` wrote.
    #[arg(value_name = "FILE")]
    record: PathBuf,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Args)]
struct Soak {
    /// How long.
    #[arg(long, value_name = "N", default_value_t = 20)]
    minutes: u64,
    /// Run these seeds instead, the last one not among them, however long it takes.
    #[arg(long, value_name = "A..B", conflicts_with_all = ["minutes", "first"], value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// The first seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let (first, end) = text.split_once("..").ok_or("not of the form A..B")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
    let seeds = number(first)?..number(end)?;
    if seeds.is_empty() { Err("no seeds".to_owned()) } else { Ok(seeds) }
}

fn policy(name: &str) -> Result<PolicyKind, String> {
    let known = || PolicyKind::ALL.map(PolicyKind::name).join(" or ");
    let found = PolicyKind::ALL.into_iter().find(|policy| policy.name() == name);
    found.ok_or_else(|| format!("there is {}", known()))
}

#[derive(Args)]
pub(crate) struct Status {
    /// Where the node's HTTP server listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7680")]
    pub(crate) http: SocketAddr,
    /// How the status is printed.
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
}

/// For whom something is printed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Where the entries come from.
#[derive(Args)]
pub(crate) struct Source {
    /// A genesis file, or the folder of a stopped node's shard, all of whose entries are hashed afresh.
    #[arg(value_name = "FILE-or-DIR")]
    pub(crate) path: PathBuf,
    /// The file's format; by default what its name and content say.
    #[arg(long, value_enum)]
    pub(crate) format: Option<GenesisFormat>,
}

#[derive(Args)]
pub(crate) struct CutSource {
    #[command(flatten)]
    pub(crate) source: Source,
    /// The size that parts are cut to: an integer with an optional KiB, MiB or GiB.
    #[arg(long, value_name = "SIZE", default_value = "4MiB")]
    pub(crate) cut: ByteSize,
}

#[derive(Args)]
pub(crate) struct Import {
    /// The genesis file.
    pub(crate) file: PathBuf,
    /// The file's format; by default what its name and content say.
    #[arg(long, value_enum)]
    pub(crate) format: Option<GenesisFormat>,
    /// The shard layout.
    #[arg(long, value_name = "shards/X.toml")]
    pub(crate) layout: PathBuf,
    /// The folder in which a folder `shard-ID` is made for each shard.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let done: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Node(node) => run_node(&node),
        Command::Testnet(testnet) => return run_testnet(&testnet),
        Command::Sim(sim) => return run_sim(sim),
        Command::Status(status) => status_tool::status(&status).map_err(Into::into),
        Command::State(command) => run_state(&command).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ketch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_node(node: &Node) -> Result<(), Box<dyn Error>> {
    let config = NodeConfig::load(&node.config, std::env::vars_os(), &node.settings)?;
    Ok(node::run(config, node.record.as_deref())?)
}

fn run_testnet(testnet: &Testnet) -> ExitCode {
    let output = testnet.output;
    let outcome = wanted(testnet).and_then(|wanted| testnet::run(wanted, testnet.keep.as_deref()));
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => {
            eprintln!("ketch: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = match output {
        Output::Table => outcome.to_string(),
        Output::Json => serde_json::to_string(&outcome).unwrap_or_default(),
    };
    println!("{text}");
    if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_sim(sim: Sim) -> ExitCode {
    let good = match sim.command {
        Some(SimCommand::List) => list_scenarios(),
        Some(SimCommand::Soak(soak)) => {
            let time = Duration::from_secs(soak.minutes.saturating_mul(60));
            let span = soak.seeds.map_or(Span::For(time, soak.first), Span::Seeds);
            let sum = sim::soak(span);
            print(soak.output, &sum, || serde_json::to_string(&sum).unwrap_or_default());
            Ok(sum.is_good())
        }
        Some(SimCommand::Replay(Replay { record, output })) => {
            sim::replay(&record).map(|replayed| {
                print(output, &replayed, || serde_json::to_string(&replayed).unwrap_or_default());
                replayed.is_good()
            })
        }
        None => {
            let wanted = sim::Wanted {
                path: sim.scenario.unwrap_or_default(),
                form: if sim.small { Form::Small } else { Form::Full },
                seeds: sim.seeds.unwrap_or(sim.seed..sim.seed.saturating_add(1)),
                policy: sim.policy,
            };
            sim::simulate(&wanted).map(|report| {
                print(sim.output, &report, || report.to_json());
                report.is_good()
            })
        }
    };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ketch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn list_scenarios() -> Result<bool, SimError> {
    for (path, title) in sim::list()? {
        println!("{}  {title}", path.display());
    }
    Ok(true)
}

fn print(output: Output, table: &impl std::fmt::Display, json: impl FnOnce() -> String) {
    match output {
        Output::Table => print!("{table}"),
        Output::Json => println!("{}", json()),
    }
}

fn wanted(testnet: &Testnet) -> Result<Wanted, TestnetError> {
    let size = testnet.state_size.0;
    let state = match &testnet.genesis {
        Some(path) => DevnetState::File { path: path.clone(), format: None },
        None => DevnetState::Generated {
            shard_bytes: NonZeroU64::new(size).ok_or(TestnetError::NoState)?,
        },
    };
    let epoch_blocks = testnet.epoch_blocks.unwrap_or_else(|| (size / (2 << 20)).max(40));
    Ok(Wanted {
        layout: read_layout(&testnet.layout)?,
        validators: testnet.validators,
        part_servers: testnet.part_servers,
        epochs: testnet.epochs,
        epoch_blocks,
        block_interval: testnet.block_interval.into(),
        state,
        upload_limit: testnet.upload_limit,
        download_limit: testnet.download_limit,
        records: testnet.record,
        seed: testnet.seed,
    })
}

fn run_state(command: &StateCommand) -> Result<(), StateToolError> {
    match command {
        StateCommand::Root(source) => state_tool::root(source),
        StateCommand::Outline(source) => state_tool::outline(source),
        StateCommand::Parts(source) => state_tool::parts(source),
        StateCommand::Import(import) => state_tool::import(import),
    }
}
