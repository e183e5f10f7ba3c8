use ketch_trie::{Children, Commit, Manifest, Outline, Prefix, StateBuilder};
use ketch_types::{Epoch, Height, KeyRange};

use crate::record::{Head, encode_children, node_key};
use crate::view::StateView;
use crate::{ShardStore, StoreError};

/// Inner nodes are written this many in a batch.
const NODES_A_BATCH: usize = 4_096;

impl ShardStore {
    /// Fills an empty store with a genesis state: entries in key order, cut into parts of `cut`.
    ///
    /// The head is written last, so a crash leaves a store that is not taken for a state.
    ///
    /// *Errors:* [`StoreError::NotEmpty`]; [`StoreError::Import`] for an entry over the limits or out
    /// of order; what the disk says.
    pub fn import<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
        cut: u32,
    ) -> Result<Head, StoreError> {
        let _alone = self.change_alone()?;
        let view = StateView::new(self, self.db.snapshot(), None);
        if self.head().is_some() || view.entries_in(&KeyRange::ALL).next().is_some() {
            return Err(StoreError::NotEmpty);
        }
        // An empty state that was given up is marked as such, and an import that was cut short leaves
        // inner nodes, which are of no state.
        self.unmark(&KeyRange::ALL)?;
        self.ingest_nodes(&KeyRange::ALL, &[])?;
        let top = self.import_entries(entries)?;
        let head = Head { epoch: Epoch(0), height: Height(0), top };
        let view = StateView::new(self, self.db.snapshot(), top);
        let manifest = Manifest::new(Outline::of_state(&view, cut)?)?;
        let mut batch = self.batch();
        self.put_head(&mut batch, Some(&head));
        self.put_manifest(&mut batch, head.epoch, &manifest);
        let mut state = self.state();
        self.write(batch)?;
        state.head = Some(head);
        state.manifests.insert(head.epoch, manifest.into());
        Ok(head)
    }

    fn import_entries<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Option<Commit>, StoreError> {
        let mut ingestion = self.guard(self.entries.start_ingestion().map_err(StoreError::from))?;
        let mut nodes = Vec::new();
        let mut failed = Ok(());
        let mut builder = StateBuilder::new(|prefix, children| {
            nodes.push((prefix, children));
            if nodes.len() >= NODES_A_BATCH && failed.is_ok() {
                failed = self.write_nodes(std::mem::take(&mut nodes));
            }
        });
        for (at, (key, value)) in (0_u64..).zip(entries) {
            let (key, value) = (key.as_ref(), value.as_ref());
            builder.push(key, value).map_err(|error| StoreError::Import { at, error })?;
            self.guard(ingestion.write(key, value).map_err(StoreError::from))?;
        }
        let top = builder.finish();
        failed?;
        self.write_nodes(nodes)?;
        self.guard(ingestion.finish().map_err(StoreError::from))?;
        Ok(top)
    }

    fn write_nodes(&self, nodes: Vec<(Prefix, Children)>) -> Result<(), StoreError> {
        let mut batch = self.batch();
        for (prefix, children) in nodes {
            batch.insert(&self.nodes, node_key(&prefix), encode_children(&children));
        }
        self.guard(batch.commit().map_err(StoreError::from))
    }
}
