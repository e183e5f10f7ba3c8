use fjall::KeyspaceCreateOptions;
use fjall::config::BlockSizePolicy;

/// How much memory and how many threads a shard's database may use.
///
/// *Units:* bytes, where a name ends so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Blocks kept in memory for reading.
    pub block_cache_bytes: u64,
    /// Writes that a keyspace gathers in memory before they become a table.
    pub memtable_bytes: u64,
    /// The journal's size at which tables are written early; at least 64 MiB.
    pub journal_bytes_max: u64,
    /// Threads that write and compact tables.
    pub worker_threads: usize,
}

impl Default for StoreConfig {
    /// For a node with a few shards. A part server with a hundred wants less cache for each.
    fn default() -> Self {
        Self {
            block_cache_bytes: 32 << 20,
            memtable_bytes: 16 << 20,
            journal_bytes_max: 128 << 20,
            worker_threads: 1,
        }
    }
}

/// The least that a journal can be limited to: the database panics below it.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;

impl StoreConfig {
    pub(crate) fn database(
        &self,
        folder: &std::path::Path,
    ) -> fjall::DatabaseBuilder<fjall::Database> {
        fjall::Database::builder(folder)
            .cache_size(self.block_cache_bytes)
            .max_journaling_size(self.journal_bytes_max.max(JOURNAL_BYTES_MIN))
            .worker_threads(self.worker_threads.max(1))
    }

    /// For keyspaces that are read by ranges, or at keys that are there: no filters on the last
    /// level, and blocks that hold a whole bucket of entries.
    pub(crate) fn scanned(&self) -> KeyspaceCreateOptions {
        KeyspaceCreateOptions::default()
            .max_memtable_size(self.memtable_bytes)
            .data_block_size_policy(BlockSizePolicy::all(16 << 10))
            .expect_point_read_hits(true)
    }

    /// For keyspaces that are mostly asked for keys that are not there.
    pub(crate) fn probed(&self) -> KeyspaceCreateOptions {
        KeyspaceCreateOptions::default().max_memtable_size(self.memtable_bytes)
    }
}
