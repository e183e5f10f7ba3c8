//! The states that a devnet begins with, made anew on every node that tracks them.

use std::collections::BTreeMap;
use std::path::Path;

use ketch_devnet::{GenesisState, KeySample, KeySpaceError};
use ketch_store::{ShardStore, StoreConfig, StoreError};
use ketch_types::{ShardId, ShardLayout, StateRoot};
use thiserror::Error;

use crate::config::DevnetState;
use crate::genesis::{GenesisError, read_genesis};
use crate::shards::shard_folder;

/// The entries that the shards of a devnet begin with: made of its seed, or read from a file.
pub(crate) struct DevnetGenesis {
    layout: ShardLayout,
    entries: Entries,
}

enum Entries {
    Generated { seed: u64, shard_bytes: u64 },
    Read(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// Why the states that a devnet begins with are not there.
#[derive(Debug, Error)]
pub(crate) enum DevnetGenesisError {
    /// The genesis file is refused.
    #[error(transparent)]
    File(#[from] GenesisError),
    /// No keys can be made in a shard's range.
    #[error("shard {shard}: {error}")]
    KeySpace {
        /// The shard.
        shard: ShardId,
        /// Why.
        #[source]
        error: KeySpaceError,
    },
    /// A shard that the layout does not have.
    #[error("the layout has no shard {0}")]
    NoShard(ShardId),
    /// A shard's store did not take its state.
    #[error("shard {shard}: {error}")]
    Store {
        /// The shard.
        shard: ShardId,
        /// Why.
        #[source]
        error: StoreError,
    },
    /// What was made is not what the chain's genesis says.
    #[error(
        "shard {shard} begins with {made}, but the chain's genesis says {expected}: the seed, the size or the file differ"
    )]
    OtherRoot {
        /// The shard.
        shard: ShardId,
        /// What was made.
        made: StateRoot,
        /// What the genesis says.
        expected: StateRoot,
    },
}

impl DevnetGenesis {
    /// The genesis of a devnet with this layout.
    ///
    /// *Errors:* [`DevnetGenesisError::File`].
    pub(crate) fn new(
        seed: u64,
        state: &DevnetState,
        layout: ShardLayout,
    ) -> Result<Self, DevnetGenesisError> {
        let entries = match state {
            DevnetState::Generated { shard_bytes } => {
                Entries::Generated { seed, shard_bytes: shard_bytes.get() }
            }
            DevnetState::File { path, format } => Entries::Read(read_genesis(path, *format)?),
        };
        Ok(Self { layout, entries })
    }

    /// Makes a shard's state in its folder below `folder`, unless the shard's store has a head already;
    /// the root that it begins with. What an earlier attempt left half-made is made anew.
    ///
    /// *Errors:* see [`DevnetGenesisError`].
    pub(crate) fn make(
        &self,
        shard: ShardId,
        folder: &Path,
        config: StoreConfig,
    ) -> Result<Option<StateRoot>, DevnetGenesisError> {
        let failed = |error| DevnetGenesisError::Store { shard, error };
        let folder = shard_folder(folder, shard);
        let store = ShardStore::open(&folder, config).map_err(failed)?.store;
        if store.head().is_some() {
            return Ok(None);
        }
        let cut = self.layout.part_bytes();
        let imported = self.with_entries(shard, |entries| store.import(entries, cut))?;
        let head = match imported {
            Err(StoreError::NotEmpty) => {
                drop(store);
                ShardStore::set_aside(&folder).map_err(failed)?;
                let store = ShardStore::open(&folder, config).map_err(failed)?.store;
                self.with_entries(shard, |entries| store.import(entries, cut))?
            }
            imported => imported,
        };
        Ok(Some(head.map_err(failed)?.root()))
    }

    /// The sample of a shard's keys that its workload is made from.
    ///
    /// *Errors:* [`DevnetGenesisError::KeySpace`], [`DevnetGenesisError::NoShard`].
    pub(crate) fn sample(&self, shard: ShardId) -> Result<KeySample, DevnetGenesisError> {
        self.with_entries(shard, |entries| {
            let mut sample = KeySample::default();
            entries.for_each(|(key, _)| sample.push(&key));
            sample
        })
    }

    fn with_entries<T>(
        &self,
        shard: ShardId,
        take: impl FnOnce(&mut dyn Iterator<Item = (Vec<u8>, Vec<u8>)>) -> T,
    ) -> Result<T, DevnetGenesisError> {
        let range = self.layout.range_of(shard).ok_or(DevnetGenesisError::NoShard(shard))?;
        match &self.entries {
            Entries::Generated { seed, shard_bytes } => {
                let state = GenesisState::new(*seed, shard, &range, *shard_bytes)
                    .map_err(|error| DevnetGenesisError::KeySpace { shard, error })?;
                Ok(take(&mut state.entries()))
            }
            Entries::Read(entries) => {
                let from = entries.range(range.low.clone()..);
                let of_shard = from.take_while(|(key, _)| range.contains(key));
                Ok(take(&mut of_shard.map(|(key, value)| (key.clone(), value.clone()))))
            }
        }
    }
}
