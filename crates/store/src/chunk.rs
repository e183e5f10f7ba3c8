use fjall::{Keyspace, OwnedWriteBatch, Readable};
use ketch_trie::{CommitCost, Committed, Manifest, Outline, Overlay, Writes};
use ketch_types::{Height, StateRoot};

use crate::read_ahead::commit_ahead;
use crate::record::{Head, encode_children, node_key};
use crate::view::StateView;
use crate::{ShardStore, StoreError};

/// What one height does to the shard: the outputs of its chunk, or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The height, one above the head's.
    pub height: Height,
    /// The chunk's puts and deletes.
    pub writes: &'a Writes,
    /// The root that the quorum committed to.
    pub root: StateRoot,
    /// For the last height of an epoch, the size that the next epoch's start is cut into.
    pub next_epoch_cut: Option<u32>,
}

/// A value in a history: what a key had before its first write in the epoch.
const HAD_NOTHING: &[u8] = &[0];
const HAD: u8 = 1;

impl ShardStore {
    /// Applies a chunk's writes: entries, inner nodes, history and head in one batch, or nothing at
    /// all unless they lead to the committed root. The last chunk of an epoch also fixes how the next
    /// one's start is cut, in the same batch.
    ///
    /// It survives a crash of the process; a power cut may take it back whole until
    /// [`ShardStore::sync`].
    ///
    /// *Errors:* [`StoreError::RootMismatch`], [`StoreError::HeightGap`], [`StoreError::NoState`],
    /// with nothing written; [`StoreError::Damaged`] if what is stored is not what it was; what the
    /// disk says.
    pub fn commit(&self, chunk: Chunk<'_>) -> Result<CommitCost, StoreError> {
        let _alone = self.change_alone()?;
        let head = self.head().ok_or(StoreError::NoState)?;
        if chunk.height != head.height.next() {
            return Err(StoreError::HeightGap { head: head.height, got: chunk.height });
        }
        let view = self.view()?;
        let committed = commit_ahead(&view, chunk.writes)?;
        let (height, expected, got) = (chunk.height, chunk.root, committed.root());
        if got != expected {
            return Err(StoreError::RootMismatch { height, expected, got });
        }
        self.write_chunk(chunk, head, view, &committed)?;
        Ok(committed.cost)
    }

    /// Applies the writes of the next height whatever they lead to: the root that they lead to. Only for
    /// whoever makes the chunks, whose roots nobody has committed to yet.
    ///
    /// *Errors:* as of [`commit`](Self::commit), but for the mismatch.
    pub fn execute(
        &self,
        writes: &Writes,
        next_epoch_cut: Option<u32>,
    ) -> Result<StateRoot, StoreError> {
        let _alone = self.change_alone()?;
        let head = self.head().ok_or(StoreError::NoState)?;
        let view = self.view()?;
        let committed = commit_ahead(&view, writes)?;
        let (height, root) = (head.height.next(), committed.root());
        self.write_chunk(Chunk { height, writes, root, next_epoch_cut }, head, view, &committed)?;
        Ok(root)
    }

    fn write_chunk(
        &self,
        chunk: Chunk<'_>,
        head: Head,
        view: StateView,
        committed: &Committed,
    ) -> Result<(), StoreError> {
        let mut batch = self.batch();
        let history = self.history(&mut self.state(), head.epoch)?;
        put_history(&mut batch, &history, &view, chunk.writes, committed)?;
        for (key, value) in chunk.writes.iter() {
            match value {
                Some(value) => batch.insert(&self.entries, key, value),
                None => batch.remove(&self.entries, key),
            }
        }
        for (prefix, children) in &committed.nodes {
            match children {
                Some(children) => {
                    batch.insert(&self.nodes, node_key(prefix), encode_children(children));
                }
                None => batch.remove(&self.nodes, node_key(prefix)),
            }
        }
        let mut head = Head { height: chunk.height, top: committed.top, ..head };
        let mut next_start = None;
        if let Some(cut) = chunk.next_epoch_cut {
            head.epoch = head.epoch.next();
            let mut after = Overlay::new(view);
            after.apply(chunk.writes, committed);
            let manifest = Manifest::new(Outline::of_state(&after, cut)?)?;
            self.put_manifest(&mut batch, head.epoch, &manifest);
            next_start = Some(manifest);
        }
        self.put_head(&mut batch, Some(&head));
        let mut state = self.state();
        self.guard(batch.commit().map_err(StoreError::from))?;
        state.head = Some(head);
        if let Some(manifest) = next_start {
            state.manifests.insert(head.epoch, manifest.into());
        }
        Ok(())
    }
}

/// Records the values that keys had before, where this is their first write in the epoch.
fn put_history(
    batch: &mut OwnedWriteBatch,
    history: &Keyspace,
    view: &StateView,
    writes: &Writes,
    committed: &Committed,
) -> Result<(), StoreError> {
    for ((key, _), replaced) in writes.iter().zip(&committed.replaced) {
        if view.snapshot.contains_key(history, key)? {
            continue;
        }
        match replaced {
            Some(value) => batch.insert(history, key, [&[HAD], value.as_slice()].concat()),
            None => batch.insert(history, key, HAD_NOTHING),
        }
    }
    Ok(())
}

/// What a history's record says that its key had.
pub(crate) fn decode_had(record: &[u8]) -> Result<Option<&[u8]>, StoreError> {
    match record {
        HAD_NOTHING => Ok(None),
        [HAD, value @ ..] => Ok(Some(value)),
        _ => Err(StoreError::Malformed("history")),
    }
}
