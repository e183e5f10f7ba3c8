use metrics::{Label, counter, gauge, histogram};

use crate::status::{HeadStatus, NodeStatus, ShardReport, Taken};

/// Records a node's status with the recorder in use.
///
/// Labels are shards, phases and verdicts, so that their number is bounded; a value that cannot be
/// told is not recorded. To be called once for a recorder that is new, as [`Metrics::render`] does:
/// in one that stays, shards that are gone would stay too.
///
/// [`Metrics::render`]: super::Metrics::render
pub(super) fn record(status: &NodeStatus) {
    if let Some(HeadStatus { height, time_ms }) = &status.head {
        gauge!("ketch_chain_head_height_blocks").set(*height as f64);
        gauge!("ketch_chain_head_time_seconds").set(*time_ms as f64 / 1_000.0);
    }
    if let Some(epoch) = status.epoch {
        gauge!("ketch_chain_epoch_number").set(epoch as f64);
    }
    status.shards.iter().for_each(record_shard);
    // There from the start, since a rate cannot be told from a counter's first value.
    for in_time in ["yes", "no", "open"] {
        counter!("ketch_catchup_taken_count", "in_time" => in_time).absolute(0);
    }
    status.taken.iter().for_each(record_taken);
}

fn record_shard(report: &ShardReport) {
    let shard = Label::new("shard", report.shard.to_string());
    let with = |name, value| [shard.clone(), Label::from_static_parts(name, value)];
    for phase in ShardReport::PHASES {
        let is_in = f64::from(u8::from(report.phase == phase));
        gauge!("ketch_shard_phase_state", with("phase", phase).iter()).set(is_in);
    }
    for verdict in ShardReport::VERDICTS {
        let is_expected = f64::from(u8::from(report.verdict.as_deref() == Some(verdict)));
        gauge!("ketch_shard_verdict_state", with("verdict", verdict).iter()).set(is_expected);
    }
    for (name, value) in [
        ("ketch_shard_tracked_state", f64::from(u8::from(report.is_tracked))),
        ("ketch_shard_parts_held_count", f64::from(report.parts_held)),
        ("ketch_shard_parts_count", f64::from(report.parts)),
        ("ketch_shard_held_bytes", report.bytes_held as f64),
        ("ketch_shard_state_bytes", report.bytes as f64),
        ("ketch_shard_fetched_bytes_per_second", report.bytes_per_second as f64),
        ("ketch_shard_providers_peers", f64::from(report.providers)),
    ] {
        gauge!(name, std::slice::from_ref(&shard).iter()).set(value);
    }
    for (name, value) in [
        ("ketch_shard_eta_seconds", report.eta_seconds),
        ("ketch_shard_margin_seconds", report.margin_seconds),
        ("ketch_shard_applied_height_blocks", report.applied_height.map(|height| height as f64)),
        ("ketch_shard_deadline_height_blocks", report.deadline_height.map(|height| height as f64)),
    ] {
        if let Some(value) = value {
            gauge!(name, std::slice::from_ref(&shard).iter()).set(value);
        }
    }
}

fn record_taken(taken: &Taken) {
    let in_time = match taken.in_time {
        Some(true) => "yes",
        Some(false) => "no",
        None => "open",
    };
    counter!("ketch_catchup_taken_count", "in_time" => in_time).increment(1);
    for (from, bytes) in [
        ("trackers", taken.bytes_from_trackers),
        ("part-servers", taken.bytes_from_part_servers),
        ("catching-up", taken.bytes_from_catching_up),
    ] {
        counter!("ketch_catchup_fetched_bytes", "from" => from).increment(bytes);
    }
    histogram!("ketch_catchup_taking_seconds").record(taken.seconds);
}
