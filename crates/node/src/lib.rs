//! The command line of Ketch, and everything of it that touches the world.
//!
//! So far the state tools: `ketch state root | outline | parts | import`.
//!
//! What is *not* here: any rule of the commitment (`ketch-trie`) or of the store (`ketch-store`).

mod cli;
mod genesis;
mod layout_file;
mod state_tool;
mod toml_file;

pub use cli::run;
pub use genesis::{GenesisError, GenesisFormat, GenesisProblem, read_genesis};
pub use layout_file::{LayoutFileError, read_layout};
pub use toml_file::{TomlFileError, read_toml};
