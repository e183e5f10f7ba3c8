//! What Prometheus reads of a node.

mod described;
mod snapshot;

use std::time::Duration;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use thiserror::Error;

use crate::status::NodeStatus;
use snapshot::record;

/// Bounds of what takes time, from one answer to taking a large shard. *Units:* seconds.
const SECONDS_BUCKETS: [f64; 12] =
    [0.001, 0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 30.0, 120.0, 600.0, 3_600.0, 14_400.0];
/// Bounds of what has a size, from one entry to a large shard. *Units:* bytes.
const BYTES_BUCKETS: [f64; 9] = [
    256.0,
    4_096.0,
    65_536.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    268_435_456.0,
    4_294_967_296.0,
    68_719_476_736.0,
];
/// Often enough that samples of histograms between two of Prometheus' visits stay few.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Why nothing is measured.
#[derive(Debug, Error)]
pub enum MetricsError {
    /// The bounds of histograms were refused.
    #[error("histograms: {0}")]
    Buckets(#[from] BuildError),
    /// Measurements of this process already go elsewhere.
    #[error("the metrics of this process were set up before")]
    Installed,
}

/// All that this process measures.
///
/// *Shape:* a cheap handle.
#[derive(Clone)]
pub struct Metrics {
    measured: PrometheusHandle,
}

impl Metrics {
    /// Collects what this process measures from now on, with its upkeep as a task of the runtime in
    /// which this is called.
    ///
    /// *Errors:* see [`MetricsError`].
    pub fn install() -> Result<Self, MetricsError> {
        let recorder = recorder()?;
        let measured = recorder.handle();
        metrics::set_global_recorder(recorder).map_err(|_| MetricsError::Installed)?;
        described::describe(&described::MEASURED);
        let kept_up = measured.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
            loop {
                ticks.tick().await;
                kept_up.run_upkeep();
            }
        });
        Ok(Self { measured })
    }

    /// Everything in Prometheus' text format: what was measured, and what the snapshot says.
    ///
    /// The snapshot is recorded afresh each time, apart from all else: a shard that is not in it is
    /// not in the text either, and no gauge stays at what it was last.
    pub fn render(&self, status: &NodeStatus) -> String {
        let mut text = self.measured.render();
        match recorder() {
            Ok(apart) => text += &of_snapshot(&apart, status),
            Err(error) => tracing::error!(%error, "the node's status is not among the metrics"),
        }
        text
    }
}

fn of_snapshot(apart: &PrometheusRecorder, status: &NodeStatus) -> String {
    metrics::with_local_recorder(apart, || {
        described::describe(&described::OF_SNAPSHOT);
        record(status);
    });
    apart.handle().render()
}

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    // Without buckets a histogram is shown as a summary, which cannot be added up over nodes.
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".into()), &BYTES_BUCKETS)?;
    Ok(builder.build_recorder())
}

#[cfg(test)]
mod tests;
