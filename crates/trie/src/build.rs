use thiserror::Error;

use crate::entry::{Entry, EntryError};
use crate::node::{Children, Commit};
use crate::node_builder::NodeBuilder;
use crate::open_bytes::Buffer;
use crate::prefix::Prefix;

/// Why entries do not make a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// An entry is over the limits.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A key is not above the one before it.
    #[error("a key is not above the one before it")]
    Order,
}

/// Builds a state from its entries, handed over in key order.
///
/// *Shape:* memory stays below two buckets and one entry, and 80 bytes for each level of the path
/// to the last key; every inner node is handed to `sink`, children before parents.
pub struct StateBuilder<S> {
    nodes: NodeBuilder<Buffer>,
    sink: S,
}

impl<S: FnMut(Prefix, Children)> StateBuilder<S> {
    /// A builder of a state without entries so far.
    pub fn new(sink: S) -> Self {
        Self { nodes: NodeBuilder::new(Buffer::default()), sink }
    }

    /// Adds the next entry.
    ///
    /// *Errors:* see [`BuildError`]; a refused entry changes nothing.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), BuildError> {
        let entry = Entry::new(key, value)?;
        let common_bits = self.nodes.rise_to(key).ok_or(BuildError::Order)?;
        let Ok(()) = self.nodes.entry(&entry, common_bits, &mut self.sink);
        Ok(())
    }

    /// The top node of the state; none if it is empty.
    pub fn finish(mut self) -> Option<Commit> {
        let Ok(top) = self.nodes.finish(&mut self.sink);
        top
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::entry::ENTRY_BYTES_MAX;
    use crate::node::BUCKET_BYTES;

    proptest! {
        #[test]
        fn a_builder_holds_less_than_two_buckets_and_one_entry(
            values in vec(prop_oneof![4 => 0_usize..300, 2 => 0_usize..9_000, 1 => 0_usize..90_000], 1..300),
            deep in any::<bool>(),
        ) {
            let mut builder = StateBuilder::new(|_, _| {});
            let bucket = usize::try_from(BUCKET_BYTES).unwrap();
            for (i, value_bytes) in values.into_iter().enumerate() {
                // Either every key parts from all after it at the same depth, or ever deeper.
                let key = if deep { vec![0xff; i + 1] } else { vec![u8::try_from(i % 255).unwrap(); i + 1] };
                if builder.push(&key, &vec![0; value_bytes]).is_err() {
                    continue;
                }
                let open = &builder.nodes.open;
                let open_bytes = builder.nodes.open_bytes();
                prop_assert!(open_bytes <= BUCKET_BYTES);
                prop_assert_eq!(open.open_len() as u64, open_bytes);
                prop_assert!(open.held_len() < 2 * bucket + ENTRY_BYTES_MAX);
                prop_assert!(open.held_len() < 2 * bucket + 100_000);
            }
        }
    }
}
