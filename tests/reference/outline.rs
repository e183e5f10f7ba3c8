//! The receiver's check of an outline.

use super::coding::{commit_from, hash_from, pack, root_of, unpack};
use super::{COMMIT_BYTES, Commit, HASH_BYTES, Mutation};

const PREFIX_BITS_MAX: usize = 9 * 2048;
const ENTRY_BYTES_MIN: u64 = 7;

/// Why an outline is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Refusal {
    /// The opening is not what the root commits to.
    Opening,
    /// The records end too early.
    Truncated,
    /// Something follows the last record.
    Trailing,
    /// A record's prefix is no prefix of keys, or is not written as the specification says.
    Prefix,
    /// A child has less than one entry or seven bytes.
    Counts,
    /// A record does not hash to what its parent gave.
    Hash,
}

/// Checks an outline from the top down, and returns its frontier.
pub(crate) fn check_outline(
    root: &[u8; HASH_BYTES],
    cut: u64,
    opening: &[u8],
    mut records: &[u8],
    mutation: Mutation,
) -> Result<Vec<Commit>, Refusal> {
    if opening.len() != COMMIT_BYTES || root_of(opening) != *root {
        return Err(Refusal::Opening);
    }
    let is_empty = opening == [0; COMMIT_BYTES];
    let mut pending = if is_empty { vec![] } else { vec![(commit_from(opening), vec![])] };
    let mut frontier = Vec::new();
    while let Some((node, known)) = pending.pop() {
        if mutation.is_frontier(&node, cut) {
            frontier.push(node);
            continue;
        }
        let (left, right) = check_record(&node, &known, &mut records, mutation)?;
        pending.extend([right, left]);
    }
    if !records.is_empty() && mutation != Mutation::TrailingAllowed {
        return Err(Refusal::Trailing);
    }
    Ok(frontier)
}

type Pending = (Commit, Vec<bool>);

fn check_record(
    node: &Commit,
    known: &[bool],
    records: &mut &[u8],
    mutation: Mutation,
) -> Result<(Pending, Pending), Refusal> {
    let prefix = check_prefix(known, records, mutation)?;
    let left = commit_from(take(records, COMMIT_BYTES)?);
    let (entries, bytes) = right_counts(node, &left, mutation)?;
    let right = (hash_from(take(records, HASH_BYTES)?), entries, bytes);
    if mutation.inner_hash(&prefix, known.len(), &left, &right) != node.0 {
        return Err(Refusal::Hash);
    }
    let below = |bit| [&prefix[..], &[bit]].concat();
    Ok(((left, below(false)), (right, below(true))))
}

fn check_prefix(
    known: &[bool],
    records: &mut &[u8],
    mutation: Mutation,
) -> Result<Vec<bool>, Refusal> {
    let count = take(records, 2)?;
    let n = usize::from(u16::from_le_bytes([count[0], count[1]]));
    if n < known.len() || n > PREFIX_BITS_MAX {
        return Err(Refusal::Prefix);
    }
    let width = (n - known.len()).div_ceil(8);
    // A record is read whole before its content is judged, so a cut one is truncated and no worse.
    if records.len() < width + COMMIT_BYTES + HASH_BYTES {
        return Err(Refusal::Truncated);
    }
    let packed = take(records, width)?;
    let edge = unpack(packed, n - known.len());
    let prefix = [known, &edge].concat();
    let padding_kept = mutation == Mutation::PaddingUnchecked || pack(&edge) == packed;
    let is_of_keys = prefix.iter().step_by(9).all(|bit| *bit);
    if padding_kept && is_of_keys { Ok(prefix) } else { Err(Refusal::Prefix) }
}

fn right_counts(node: &Commit, left: &Commit, mutation: Mutation) -> Result<(u64, u64), Refusal> {
    if mutation == Mutation::CountsUnchecked {
        return Ok((node.1.wrapping_sub(left.1), node.2.wrapping_sub(left.2)));
    }
    let entries = node.1.checked_sub(left.1).ok_or(Refusal::Counts)?;
    let bytes = node.2.checked_sub(left.2).ok_or(Refusal::Counts)?;
    if left.1.min(entries) < 1 || left.2.min(bytes) < ENTRY_BYTES_MIN {
        return Err(Refusal::Counts);
    }
    Ok((entries, bytes))
}

fn take<'a>(records: &mut &'a [u8], count: usize) -> Result<&'a [u8], Refusal> {
    let (taken, rest) = records.split_at_checked(count).ok_or(Refusal::Truncated)?;
    *records = rest;
    Ok(taken)
}
