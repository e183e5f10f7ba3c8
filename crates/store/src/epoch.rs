use std::sync::Arc;

use fjall::{Keyspace, Snapshot, UserKey, UserValue};
use ketch_trie::{Entry, Manifest, VerifiedPart};
use ketch_types::{Epoch, KeyRange, PartIndex};

use crate::chunk::decode_had;
use crate::view::records_in;
use crate::{ShardStore, StoreError};

/// The state at an epoch's start, whole or as far as it is there, as long as the view lives.
/// Short-lived: it keeps old data on disk.
pub struct EpochView {
    manifest: Arc<Manifest>,
    snapshot: Snapshot,
    /// The histories from this epoch on, oldest first, and then the head's entries.
    histories: Vec<Keyspace>,
    entries: Keyspace,
}

impl ShardStore {
    /// How the start of `epoch` is cut into parts.
    ///
    /// *Errors:* [`StoreError::NotRetained`].
    pub fn manifest(&self, epoch: Epoch) -> Result<Arc<Manifest>, StoreError> {
        self.state().manifests.get(&epoch).cloned().ok_or(StoreError::NotRetained(epoch))
    }

    /// The state at the start of `epoch`.
    ///
    /// *Errors:* [`StoreError::NotRetained`].
    pub fn epoch(&self, epoch: Epoch) -> Result<EpochView, StoreError> {
        let state = self.state();
        let manifest = state.manifests.get(&epoch).ok_or(StoreError::NotRetained(epoch))?.clone();
        Ok(EpochView {
            manifest,
            snapshot: self.db.snapshot(),
            histories: state.histories.range(epoch..).map(|(_, history)| history.clone()).collect(),
            entries: self.entries.clone(),
        })
    }

    /// The state of a manifest that is being applied, of which the parts that are held can be made.
    pub fn target(&self, manifest: Arc<Manifest>) -> EpochView {
        // Until it is the head nothing has changed it, so it has no histories.
        let (snapshot, entries) = (self.db.snapshot(), self.entries.clone());
        EpochView { manifest, snapshot, histories: Vec::new(), entries }
    }
}

impl EpochView {
    /// How the state is cut into parts.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Makes one part from the store, and checks it as if it came from a peer: a race or a damaged
    /// disk must never make an honest server look like a liar.
    ///
    /// *Errors:* [`StoreError::DamagedPart`].
    pub fn part(&self, index: PartIndex) -> Result<VerifiedPart, StoreError> {
        let damaged = |fault| StoreError::DamagedPart { part: index, fault };
        let missing = || damaged(ketch_trie::PartFault::Index(index));
        let part = self.manifest.part(index).ok_or_else(missing)?;
        let range = self.manifest.part_range(index).ok_or_else(missing)?;
        let payload = self.payload(&range, part.bytes())?;
        self.manifest.verify(index, payload).map_err(damaged)
    }

    /// The encodings of the entries in `range`, not many more than `bytes` of them.
    fn payload(&self, range: &KeyRange, bytes: u64) -> Result<Vec<u8>, StoreError> {
        // A part is bounded by its manifest, so this is too.
        let mut payload = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        let mut layers = Layers::new(self, range)?;
        while let Some((key, value, is_history)) = layers.next()? {
            let value = if is_history { decode_had(&value)? } else { Some(&*value) };
            if let Some(value) = value {
                Entry { key: &key, value }.encode(&mut payload);
            }
            if payload.len() as u64 > bytes {
                break;
            }
        }
        Ok(payload)
    }
}

/// The records of a key range in histories and head, merged in key order: of each key the one in
/// the oldest history that has it, else the head's.
struct Layers {
    /// Oldest first, the head's entries last.
    layers: Vec<Layer>,
}

/// The records of one keyspace, the next one at hand.
struct Layer {
    rest: fjall::Iter,
    next: Option<(UserKey, UserValue)>,
}

impl Layers {
    fn new(view: &EpochView, range: &KeyRange) -> Result<Self, StoreError> {
        let keyspaces = view.histories.iter().chain([&view.entries]);
        let layer = |keyspace| {
            let mut layer = Layer { rest: records_in(&view.snapshot, keyspace, range), next: None };
            layer.advance()?;
            Ok(layer)
        };
        Ok(Self { layers: keyspaces.map(layer).collect::<Result<_, StoreError>>()? })
    }

    /// The next key with its record, and whether that is a history's.
    fn next(&mut self) -> Result<Option<(UserKey, UserValue, bool)>, StoreError> {
        if let [head] = self.layers.as_mut_slice() {
            return Ok(head.advance()?.map(|(key, value)| (key, value, false)));
        }
        let keys = self.layers.iter().filter_map(|layer| layer.next.as_ref()).map(|(key, _)| key);
        let Some(least) = keys.min().cloned() else {
            return Ok(None);
        };
        let histories = self.layers.len().saturating_sub(1);
        let mut oldest = None;
        for (at, layer) in self.layers.iter_mut().enumerate() {
            if layer.next.as_ref().is_some_and(|(key, _)| *key == least) {
                let record = layer.advance()?;
                oldest = oldest.or(record.map(|(key, value)| (key, value, at < histories)));
            }
        }
        Ok(oldest)
    }
}

impl Layer {
    /// The record at hand; the one after it comes to hand.
    fn advance(&mut self) -> Result<Option<(UserKey, UserValue)>, StoreError> {
        let next = self.rest.next().map(fjall::Guard::into_inner).transpose()?;
        Ok(std::mem::replace(&mut self.next, next))
    }
}
