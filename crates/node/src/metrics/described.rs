//! Every metric that a node has, by name.

use metrics::Unit;

/// A metric as it is explained to whoever reads it.
pub(super) struct Described {
    pub(super) name: &'static str,
    kind: Kind,
    unit: Unit,
    text: &'static str,
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What is measured where it happens.
pub(super) const MEASURED: [Described; 6] = [
    gauge("ketch_net_connected_peers", Unit::Count, "Peers that are connected."),
    counter(
        "ketch_net_received_bytes",
        Unit::Bytes,
        "Bytes that came over streams, by the streams' protocol.",
    ),
    counter(
        "ketch_net_sent_bytes",
        Unit::Bytes,
        "Bytes that went over streams, by the streams' protocol.",
    ),
    counter("ketch_net_bans_count", Unit::Count, "Bans of peers that were proven to lie."),
    counter(
        "ketch_net_refused_streams_count",
        Unit::Count,
        "Streams of peers that were refused because too many were open.",
    ),
    counter(
        "ketch_http_dropped_connections_count",
        Unit::Count,
        "Connections to the HTTP server that made room for others before they were answered.",
    ),
];

/// What the node's status says.
pub(super) const OF_SNAPSHOT: [Described; 19] = [
    gauge("ketch_chain_head_height_blocks", Unit::Count, "The newest block that is known."),
    gauge(
        "ketch_chain_head_time_seconds",
        Unit::Seconds,
        "When the newest block was produced, since 1970.",
    ),
    gauge("ketch_chain_epoch_number", Unit::Count, "The epoch that has begun last."),
    gauge(
        "ketch_shard_phase_state",
        Unit::Count,
        "1 for the phase that the shard's task is in, 0 for each other one.",
    ),
    gauge(
        "ketch_shard_verdict_state",
        Unit::Count,
        "1 for what is expected of the shard, 0 for each other verdict.",
    ),
    gauge(
        "ketch_shard_tracked_state",
        Unit::Count,
        "1 if the shard must be tracked in the epoch that has begun.",
    ),
    gauge("ketch_shard_parts_held_count", Unit::Count, "Parts that are durable."),
    gauge("ketch_shard_parts_count", Unit::Count, "Parts of the state."),
    gauge("ketch_shard_held_bytes", Unit::Bytes, "Bytes of the state that are durable."),
    gauge("ketch_shard_state_bytes", Unit::Bytes, "The size of the state."),
    gauge("ketch_shard_fetched_bytes_per_second", Unit::Bytes, "How fast the state is fetched."),
    gauge(
        "ketch_shard_eta_seconds",
        Unit::Seconds,
        "How long it takes until the shard is caught up; absent where that cannot be told.",
    ),
    gauge(
        "ketch_shard_margin_seconds",
        Unit::Seconds,
        "The time left beyond what is needed, negative if it is too short; absent where that cannot be told.",
    ),
    gauge("ketch_shard_applied_height_blocks", Unit::Count, "The height that is applied."),
    gauge(
        "ketch_shard_deadline_height_blocks",
        Unit::Count,
        "The first height at which the shard must be held.",
    ),
    gauge(
        "ketch_shard_providers_peers",
        Unit::Count,
        "Peers in reach that hold some of the state.",
    ),
    counter(
        "ketch_catchup_taken_count",
        Unit::Count,
        "Shards that were taken since the start: `yes` in time, `no` too late, `open` before the epoch that needs them.",
    ),
    counter(
        "ketch_catchup_fetched_bytes",
        Unit::Bytes,
        "Bytes of parts of the shards that were taken since the start, by whom they came from.",
    ),
    histogram(
        "ketch_catchup_taking_seconds",
        Unit::Seconds,
        "The time from an epoch's first block to a caught-up shard.",
    ),
];

const fn counter(name: &'static str, unit: Unit, text: &'static str) -> Described {
    Described { name, kind: Kind::Counter, unit, text }
}

const fn gauge(name: &'static str, unit: Unit, text: &'static str) -> Described {
    Described { name, kind: Kind::Gauge, unit, text }
}

const fn histogram(name: &'static str, unit: Unit, text: &'static str) -> Described {
    Described { name, kind: Kind::Histogram, unit, text }
}

/// Explains metrics to the recorder in use.
pub(super) fn describe(metrics: &[Described]) {
    for Described { name, kind, unit, text } in metrics {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *unit, *text),
            Kind::Gauge => metrics::describe_gauge!(*name, *unit, *text),
            Kind::Histogram => metrics::describe_histogram!(*name, *unit, *text),
        }
    }
}
