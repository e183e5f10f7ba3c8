//! What is on the nodes' disks after a run, hashed afresh by processes of their own.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _};
use ketch_types::{Height, ShardId, StateRoot};
use serde::Deserialize;
use tokio::process::Command;

use super::error::TestnetError;
use super::outcome::StateCheck;
use super::plan::{Member, Plan};
use super::watch::Watch;
use crate::book::Book;
use crate::node::shards_folder;
use crate::shards::shard_folder;
use crate::status::ShardReport;

/// What `ketch state root` prints.
#[derive(Deserialize)]
struct RootLine {
    root: String,
}

/// Hashes every shard that every node must track, and compares it with the signed roots from the
/// height on that the node had applied when it was seen last.
///
/// *Errors:* [`TestnetError::Book`], [`TestnetError::Process`].
pub(super) async fn states(plan: &Plan, watch: &Watch) -> Result<Vec<StateCheck>, TestnetError> {
    let book = Book::open(&plan.sequencer.data().join("ledger"), &plan.genesis, None)?;
    let tracked = plan
        .followers()
        .flat_map(|member| watch.tracked(&member.name).map(move |shard| (member, shard)));
    let checks = tracked.map(|(member, shard)| check(&book, member, shard));
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    futures::stream::iter(checks).buffered(at_once).try_collect().await
}

async fn check(
    book: &Book,
    member: &Member,
    shard: &ShardReport,
) -> Result<StateCheck, TestnetError> {
    let id = ShardId(shard.shard);
    let signed = signed_roots(book, id, Height(shard.applied_height.unwrap_or(0)))?;
    let root = root_of(member, id).await?;
    let is_signed = root.as_ref().is_some_and(|root| signed.contains(root));
    let (node, root) = (member.name.clone(), root.unwrap_or_default());
    Ok(StateCheck { node, shard: shard.shard, root, is_signed })
}

/// The roots of a shard from a height on, each under a quorum.
fn signed_roots(
    book: &Book,
    shard: ShardId,
    from: Height,
) -> Result<BTreeSet<String>, TestnetError> {
    let mut roots = BTreeSet::from([state_at(book, shard, from)?.to_string()]);
    for chunk in book.chunks_after(shard, from, Height(u64::MAX))? {
        roots.insert(chunk?.header.state_after().to_string());
    }
    Ok(roots)
}

fn state_at(book: &Book, shard: ShardId, height: Height) -> Result<StateRoot, TestnetError> {
    Ok(book.header_at(shard, height)?.state_after())
}

async fn root_of(member: &Member, shard: ShardId) -> Result<Option<String>, TestnetError> {
    let failed = |error| TestnetError::Process { name: member.name.clone(), error };
    let output = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["state", "root"])
        .arg(shard_folder(&shards_folder(&member.data()), shard))
        .kill_on_drop(true)
        .output()
        .await
        .map_err(failed)?;
    let line: Option<RootLine> = serde_json::from_slice(&output.stdout).ok();
    Ok(line.map(|line| line.root))
}
