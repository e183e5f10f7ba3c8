//! `ketch`: gets a validator onto its next shards before the epoch turns.

fn main() -> std::process::ExitCode {
    ketch_node::run()
}
