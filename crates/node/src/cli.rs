use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use ketch_types::ByteSize;

use crate::genesis::GenesisFormat;
use crate::state_tool;

/// Gets a validator onto its next shards before the epoch turns.
#[derive(Parser)]
#[command(name = "ketch", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
    let Command::State(command) = Cli::parse().command;
    let done = match command {
        StateCommand::Root(source) => state_tool::root(&source),
        StateCommand::Outline(source) => state_tool::outline(&source),
        StateCommand::Parts(source) => state_tool::parts(&source),
        StateCommand::Import(import) => state_tool::import(&import),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ketch: {error}");
            ExitCode::FAILURE
        }
    }
}
