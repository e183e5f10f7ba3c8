use ketch_types::{OutputsRoot, TransactionsRoot};
use thiserror::Error;

use crate::chunk_header::CHUNK_BYTES_MAX;
use crate::tree::{TRANSACTIONS, TreeBuilder};

/// The longest transaction; the shortest is one byte.
///
/// *Units:* bytes. *Source:* the ledger's bytes, version 1.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 20;

/// The root of the tree over no outputs.
const EMPTY_OUTPUTS: [u8; 32] = [
    0x74, 0x0f, 0xac, 0x64, 0xdb, 0xfc, 0x3e, 0x5f, 0x08, 0x20, 0x58, 0xaf, 0x98, 0x13, 0x4e, 0x0d,
    0xee, 0x75, 0x67, 0x3a, 0xa2, 0x3e, 0xc0, 0xcc, 0x16, 0x5c, 0xaf, 0xc4, 0x7a, 0xa1, 0xf1, 0x39,
];

/// The root of the tree over no transactions.
const EMPTY_TRANSACTIONS: [u8; 32] = [
    0xab, 0xab, 0x28, 0x7f, 0x27, 0xb0, 0xfc, 0x01, 0x5b, 0x71, 0xb2, 0x91, 0x3f, 0x97, 0x64, 0xc9,
    0x6b, 0x40, 0x39, 0xdf, 0xb6, 0x30, 0x00, 0x85, 0x0c, 0xc3, 0x2c, 0xef, 0x09, 0x5f, 0x2d, 0xdf,
];

/// What a chunk header says of a list: the root of the tree over its items, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListCommit<R> {
    /// The root of the tree over the items.
    pub root: R,
    /// The number of items.
    pub count: u32,
    /// The sum of the items' encodings, without the list's count. *Units:* bytes.
    pub bytes: u64,
}

/// What a chunk header says of the chunk's outputs.
pub type OutputsCommit = ListCommit<OutputsRoot>;

/// What a chunk header says of the chunk's transactions.
pub type TransactionsCommit = ListCommit<TransactionsRoot>;

/// Why transactions are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TransactionsError {
    /// A transaction has 1 to [`TRANSACTION_BYTES_MAX`] bytes.
    #[error("a transaction of {0} bytes, not 1 to {TRANSACTION_BYTES_MAX}")]
    Length(usize),
    /// All together have more than [`CHUNK_BYTES_MAX`] bytes.
    #[error("a chunk's transactions have more than {CHUNK_BYTES_MAX} bytes")]
    Bytes,
}

impl OutputsCommit {
    /// What is said of a chunk without outputs.
    pub const EMPTY: Self = Self { root: OutputsRoot::new(EMPTY_OUTPUTS), count: 0, bytes: 0 };
}

impl TransactionsCommit {
    /// What is said of a chunk without transactions.
    pub const EMPTY: Self =
        Self { root: TransactionsRoot::new(EMPTY_TRANSACTIONS), count: 0, bytes: 0 };

    /// What a header says of these transactions, in their order.
    ///
    /// *Errors:* see [`TransactionsError`].
    pub fn of<T: AsRef<[u8]>>(
        transactions: impl IntoIterator<Item = T>,
    ) -> Result<Self, TransactionsError> {
        let mut tree = TreeBuilder::new(&TRANSACTIONS);
        let mut bytes = 0;
        for transaction in transactions {
            let transaction = transaction.as_ref();
            if transaction.is_empty() || transaction.len() > TRANSACTION_BYTES_MAX {
                return Err(TransactionsError::Length(transaction.len()));
            }
            bytes += transaction.len() as u64;
            if bytes > CHUNK_BYTES_MAX {
                return Err(TransactionsError::Bytes);
            }
            tree.push(transaction);
        }
        let count = tree.count();
        Ok(Self { root: TransactionsRoot::new(tree.finish()), count, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::OUTPUTS;

    #[test]
    fn the_empty_lists_have_the_roots_of_empty_trees() {
        assert_eq!(OUTPUTS.root([""; 0]), EMPTY_OUTPUTS);
        assert_eq!(TRANSACTIONS.root([""; 0]), EMPTY_TRANSACTIONS);
        assert_eq!(TransactionsCommit::of([""; 0]), Ok(TransactionsCommit::EMPTY));
    }

    #[test]
    fn transactions_are_counted_and_their_order_matters() {
        let commit = TransactionsCommit::of(["pay", "go"]).unwrap();
        assert_eq!((commit.count, commit.bytes), (2, 5));
        assert_eq!(*commit.root.as_bytes(), TRANSACTIONS.root(["pay", "go"]));
        assert_ne!(TransactionsCommit::of(["go", "pay"]).unwrap(), commit);
    }

    #[test]
    fn transactions_over_the_limits_are_refused() {
        let long = vec![0; TRANSACTION_BYTES_MAX + 1];
        assert_eq!(TransactionsCommit::of([""]), Err(TransactionsError::Length(0)));
        let refused = TransactionsCommit::of([&long]);
        assert_eq!(refused, Err(TransactionsError::Length(long.len())));
        let most = std::iter::repeat_n(&long[1..], 64);
        assert_eq!(TransactionsCommit::of(most.clone()).unwrap().bytes, CHUNK_BYTES_MAX);
        let more = most.chain([&[0][..]]);
        assert_eq!(TransactionsCommit::of(more), Err(TransactionsError::Bytes));
    }
}
