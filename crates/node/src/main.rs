//! `ketch`: gets a validator onto its next shards before the epoch turns.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    ketch_node::run()
}
