//! `ketch status`: how a node stands, asked of its HTTP server.

use std::fmt;
use std::io::{self, Write};

use thiserror::Error;

use crate::cli::{Output, Status};
use crate::clock::wall_ms;
use crate::figure::{ByteFigure, Known, OneLine, TimeFigure};
use crate::http::{ANSWER_TIMEOUT, AskError, ask};
use crate::progress::Figures;
use crate::status::{HeadStatus, NodeStatus, ShardReport, Taken};
use crate::table::Table;

/// Why no status was printed.
#[derive(Debug, Error)]
pub(crate) enum StatusToolError {
    #[error("{0}\nanother address is said with --http ADDR, as in the node's http.listen")]
    Ask(#[from] AskError),
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
}

/// Prints the status of the node that the arguments name.
pub(crate) fn status(arguments: &Status) -> Result<(), StatusToolError> {
    let (text, status) = ask(arguments.http, ANSWER_TIMEOUT)?;
    let mut out = io::stdout().lock();
    match arguments.output {
        // As the node tells it, with what only newer ones tell.
        Output::Json => writeln!(out, "{}", text.trim_end())?,
        Output::Table => write!(out, "{}", Page { status: &status, now_ms: wall_ms() })?,
    }
    Ok(out.flush()?)
}

/// A node's status for people.
struct Page<'a> {
    status: &'a NodeStatus,
    now_ms: u64,
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NodeStatus { role, peer, chain, peers, shards, taken, .. } = self.status;
        writeln!(f, "role   {}", OneLine(role))?;
        writeln!(f, "peer   {}", OneLine(peer))?;
        writeln!(f, "chain  {}", OneLine(chain))?;
        writeln!(f, "epoch  {}", Known(self.status.epoch))?;
        writeln!(f, "head   {}", Known(self.status.head.as_ref().map(|head| self.head(head))))?;
        writeln!(f, "peers  {peers}")?;
        if !shards.is_empty() {
            write!(f, "\n{}", shard_table(shards))?;
        }
        if !taken.is_empty() {
            write!(f, "\n{}", taken_table(taken))?;
        }
        Ok(())
    }
}

impl Page<'_> {
    fn head(&self, head: &HeadStatus) -> String {
        let age = head.age(self.now_ms).as_secs_f64();
        format!("{} ({} ago)", head.height, TimeFigure(age))
    }
}

fn shard_table(shards: &[ShardReport]) -> Table<9> {
    let mut table = Table::new([
        "SHARD",
        "PHASE",
        "HELD",
        "RATE",
        "ETA",
        "MARGIN",
        "VERDICT",
        "PROVIDERS",
        "LAST ERROR",
    ]);
    for report in shards {
        let Figures { percent, rate, eta, margin } = Figures::of(report);
        table.push([
            report.shard.to_string(),
            OneLine(&report.phase).to_string(),
            percent.to_string(),
            rate.to_string(),
            eta.to_string(),
            margin.to_string(),
            Known(report.verdict.as_deref().map(OneLine)).to_string(),
            report.providers.to_string(),
            Known(report.last_error.as_deref().map(OneLine)).to_string(),
        ]);
    }
    table
}

fn taken_table(taken: &[Taken]) -> Table<10> {
    let mut table = Table::new([
        "EPOCH",
        "TAKEN",
        "BYTES",
        "TRACKERS",
        "PART SERVERS",
        "CATCHING UP",
        "REPLAYED",
        "TIME",
        "MARGIN",
        "IN TIME",
    ]);
    for taken in taken {
        let in_time = taken.in_time.map(|in_time| if in_time { "yes" } else { "no" });
        table.push([
            taken.epoch.to_string(),
            format!("shard {}", taken.shard),
            ByteFigure(taken.bytes).to_string(),
            ByteFigure(taken.bytes_from_trackers).to_string(),
            ByteFigure(taken.bytes_from_part_servers).to_string(),
            ByteFigure(taken.bytes_from_catching_up).to_string(),
            taken.replayed.to_string(),
            TimeFigure(taken.seconds).to_string(),
            TimeFigure(taken.margin_seconds).to_string(),
            Known(in_time).to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_tells_the_node_then_its_shards_then_what_it_took() {
        let report = ShardReport {
            shard: 3,
            phase: "downloading".into(),
            bytes_held: 1 << 20,
            bytes: 4 << 20,
            bytes_per_second: 1 << 20,
            eta_seconds: Some(3.0),
            margin_seconds: Some(61.0),
            verdict: Some("on-time".into()),
            providers: 2,
            last_error: Some("stalled\x1b[31m".into()),
            ..ShardReport::default()
        };
        let following =
            ShardReport { shard: 0, phase: "following".into(), ..ShardReport::default() };
        let taken = Taken {
            epoch: 1,
            bytes: 64 << 20,
            bytes_from_trackers: 64 << 20,
            replayed: 12,
            seconds: 5.5,
            margin_seconds: 14.0,
            in_time: Some(true),
            ..Taken::default()
        };
        let status = NodeStatus {
            role: "validator".into(),
            peer: "12D3".into(),
            chain: "ab".into(),
            epoch: Some(2),
            head: Some(HeadStatus { height: 81, time_ms: 1_000 }),
            peers: 5,
            shards: vec![following, report],
            taken: vec![taken],
            ..NodeStatus::default()
        };
        let page = "\
role   validator
peer   12D3
chain  ab
epoch  2
head   81 (0.5s ago)
peers  5

SHARD  PHASE        HELD    RATE      ETA   MARGIN  VERDICT  PROVIDERS  LAST ERROR
0      following    100.0%  -         -     -       -        0          -
3      downloading  25.0%   1.0MiB/s  3.0s  1m01s   on-time  2          stalled [31m

EPOCH  TAKEN    BYTES    TRACKERS  PART SERVERS  CATCHING UP  REPLAYED  TIME  MARGIN  IN TIME
1      shard 0  64.0MiB  64.0MiB   0B            0B           12        5.5s  14s     yes
";
        assert_eq!(Page { status: &status, now_ms: 1_500 }.to_string(), page);
    }

    #[test]
    fn what_a_new_node_does_not_know_is_a_dash() {
        let page = Page { status: &NodeStatus::default(), now_ms: 0 }.to_string();
        assert!(page.ends_with("epoch  -\nhead   -\npeers  0\n"), "{page}");
    }
}
