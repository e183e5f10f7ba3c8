use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::status::{HeadStatus, ShardReport, Taken};

/// What a new scrape says of a status.
fn text(status: &NodeStatus) -> String {
    of_snapshot(&recorder().unwrap(), status)
}

fn status() -> NodeStatus {
    let report = ShardReport {
        shard: 3,
        phase: "downloading".into(),
        verdict: Some("at-risk".into()),
        is_tracked: true,
        parts_held: 2,
        parts: 5,
        margin_seconds: Some(-1.5),
        ..ShardReport::default()
    };
    let caught_up = ShardReport { shard: 9, phase: "following".into(), ..ShardReport::default() };
    let taken =
        Taken { seconds: 12.0, bytes_from_trackers: 7, in_time: Some(true), ..Taken::default() };
    NodeStatus {
        epoch: Some(4),
        head: Some(HeadStatus { height: 42, time_ms: 1_500 }),
        shards: vec![report, caught_up],
        taken: vec![taken.clone(), Taken { in_time: None, ..taken }],
        ..NodeStatus::default()
    }
}

#[test]
fn a_status_is_told_by_shard_phase_and_verdict() {
    let text = text(&status());
    for line in [
        "ketch_chain_head_height_blocks 42",
        "ketch_chain_head_time_seconds 1.5",
        "ketch_chain_epoch_number 4",
        "ketch_shard_phase_state{shard=\"3\",phase=\"downloading\"} 1",
        "ketch_shard_phase_state{shard=\"3\",phase=\"following\"} 0",
        "ketch_shard_phase_state{shard=\"9\",phase=\"following\"} 1",
        "ketch_shard_verdict_state{shard=\"3\",verdict=\"at-risk\"} 1",
        "ketch_shard_tracked_state{shard=\"3\"} 1",
        "ketch_shard_parts_held_count{shard=\"3\"} 2",
        "ketch_shard_parts_count{shard=\"3\"} 5",
        "ketch_shard_margin_seconds{shard=\"3\"} -1.5",
        "ketch_catchup_taken_count{in_time=\"yes\"} 1",
        "ketch_catchup_taken_count{in_time=\"no\"} 0",
        "ketch_catchup_taken_count{in_time=\"open\"} 1",
        "ketch_catchup_fetched_bytes{from=\"trackers\"} 14",
        "ketch_catchup_taking_seconds_bucket{le=\"10\"} 0",
        "ketch_catchup_taking_seconds_bucket{le=\"30\"} 2",
        "ketch_catchup_taking_seconds_sum 24",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("ketch_shard_margin_seconds{shard=\"9\"}"), "{text}");
}

#[test]
fn a_shard_that_is_gone_leaves_nothing_behind() {
    let mut status = status();
    assert!(text(&status).contains("shard=\"3\""));
    status.shards.remove(0);
    let text = text(&status);
    assert!(!text.contains("shard=\"3\"") && text.contains("shard=\"9\""), "{text}");
}

#[test]
fn everything_that_is_told_is_explained_and_of_one_type() {
    let text = text(&status());
    let names = |start: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(start));
        lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    let types = names("# TYPE ");
    let explained: BTreeSet<_> = names("# HELP ").into_iter().collect();
    assert_eq!(types.iter().cloned().collect::<BTreeSet<_>>(), explained);
    assert_eq!(types.len(), explained.len(), "a name has two types:\n{text}");
    let fixed: BTreeSet<_> =
        described::OF_SNAPSHOT.iter().map(|metric| metric.name.into()).collect();
    let never_told = [
        "ketch_shard_eta_seconds",
        "ketch_shard_applied_height_blocks",
        "ketch_shard_deadline_height_blocks",
    ];
    let told: BTreeSet<String> =
        explained.into_iter().chain(never_told.map(str::to_owned)).collect();
    assert_eq!(fixed, told);
}

#[tokio::test]
async fn what_is_measured_elsewhere_stands_beside_the_status_once() {
    let metrics = Metrics::install().unwrap();
    assert!(matches!(Metrics::install(), Err(MetricsError::Installed)));
    metrics::counter!("ketch_net_bans_count").increment(2);
    for _ in 0..2 {
        let text = metrics.render(&status());
        assert!(text.contains("# HELP ketch_net_bans_count Bans"), "{text}");
        assert!(text.contains("\nketch_net_bans_count 2\n"), "{text}");
        assert_eq!(text.matches("# TYPE ketch_shard_parts_count gauge").count(), 1);
        assert!(text.contains("ketch_catchup_taking_seconds_count 2\n"), "{text}");
    }
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_metric_in_the_sources_is_described() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files);
    let known = described::MEASURED.iter().chain(&described::OF_SNAPSHOT);
    let known: BTreeSet<_> = known.map(|metric| metric.name.to_owned()).collect();
    let mut used = BTreeSet::new();
    for file in files.iter().filter(|file| file.components().any(|part| part.as_os_str() == "src"))
    {
        let text = fs::read_to_string(file).unwrap();
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if !file.ends_with("metrics/tests.rs") && !file.ends_with("metrics/described.rs") {
            for kind in ["counter!(", "gauge!(", "histogram!("] {
                let calls = product.split(kind).skip(1);
                let names =
                    calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
                used.extend(names.map(str::to_owned));
            }
        }
    }
    assert!(used.len() > 8, "only {used:?} were found");
    let unknown: Vec<_> = used.difference(&known).collect();
    assert_eq!(unknown, Vec::<&String>::new());
    let shape = |name: &String| name.starts_with("ketch_") && name.split('_').count() >= 4;
    assert!(known.iter().all(shape), "{known:?}");
}
