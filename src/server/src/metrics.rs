//! Every metric's name, and the counters of hot paths resolved once: a scrape
//! looks names up, an issuance never does.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Seconds until the active X.509 authority expires.
pub(crate) const CA_EXPIRY_SECONDS: &str = "bulla_ca_expiry_seconds";
/// 1 while the authority above this server is in order, 0 while it is not.
pub(crate) const UPSTREAM_UP: &str = "bulla_upstream_up";
/// Seconds until the upstream CA, or what is above it, ends; 0 is unknown.
pub(crate) const UPSTREAM_EXPIRY_SECONDS: &str = "bulla_upstream_expiry_seconds";
/// Sequence of this trust domain's bundle.
pub(crate) const BUNDLE_SEQUENCE: &str = "bulla_bundle_sequence";
/// Credentials signed or refused, by kind and result.
pub(crate) const SIGN_TOTAL: &str = "bulla_sign_total";
/// Node attestations, by attestor and result.
pub(crate) const ATTEST_TOTAL: &str = "bulla_attest_total";
/// How long a commit took, from hand-over to applied.
pub(crate) const STORE_COMMIT_SECONDS: &str = "bulla_store_commit_seconds";
/// How long a group of records took to become durable.
pub(crate) const AUDIT_APPEND_SECONDS: &str = "bulla_audit_append_seconds";
/// Records appended but not yet durable.
pub(crate) const AUDIT_LAG: &str = "bulla_audit_lag";
/// Stored records that could not be read and are left out.
pub(crate) const POISON_RECORDS: &str = "bulla_poison_records";
/// Attestations that wait for a slot.
pub(crate) const QUEUE_DEPTH: &str = "bulla_queue_depth";
/// Age of the in-memory view.
pub(crate) const VIEW_AGE_SECONDS: &str = "bulla_view_age_seconds";
/// Seconds the wall clock stands behind the newest record; 0 when it does not.
pub(crate) const CLOCK_OFFSET: &str = "bulla_clock_offset";
/// Registration entries.
pub(crate) const ENTRIES: &str = "bulla_entries";
/// Attested nodes.
pub(crate) const NODES: &str = "bulla_nodes";
/// Agents that follow by push.
pub(crate) const SUBSCRIBERS: &str = "bulla_subscribed_agents";
/// Agents that follow and have not given the newest bundle to their workloads.
pub(crate) const FOLLOWERS_BEHIND_BUNDLE: &str = "bulla_followers_behind_bundle";
/// Shortest remaining lifetime of any agent SVID that has not expired.
pub(crate) const SVID_MIN_REMAINING_SECONDS: &str = "bulla_svid_min_remaining_seconds";

/// What the principal that has most of a resource has of it, by the budget table.
pub(crate) const LIMIT_USED: &str = "bulla_limit_used";
/// What one principal may have of a resource at most.
pub(crate) const LIMIT_BOUND: &str = "bulla_limit_bound";
/// How many principals are at the bound (at most 16 are counted).
pub(crate) const LIMIT_AT_BOUND: &str = "bulla_limit_at_bound";
/// How often somebody was refused for a bound.
pub(crate) const LIMIT_REFUSED: &str = "bulla_limit_refused_total";

/// Counters of the hot paths.
#[derive(Clone)]
pub(crate) struct Meters {
    pub(crate) x509_granted: Counter,
    pub(crate) x509_refused: Counter,
    pub(crate) jwt_granted: Counter,
    pub(crate) jwt_refused: Counter,
    pub(crate) token_granted: Counter,
    pub(crate) token_refused: Counter,
    pub(crate) commit_seconds: Histogram,
    pub(crate) append_seconds: Histogram,
    pub(crate) audit_lag: Gauge,
    pub(crate) queue_depth: Gauge,
}

impl Meters {
    /// Resolves the names; call [`install`] first, or nothing is counted.
    pub(crate) fn new() -> Self {
        Self {
            x509_granted: counter!(SIGN_TOTAL, "kind" => "x509", "result" => "granted"),
            x509_refused: counter!(SIGN_TOTAL, "kind" => "x509", "result" => "refused"),
            jwt_granted: counter!(SIGN_TOTAL, "kind" => "jwt", "result" => "granted"),
            jwt_refused: counter!(SIGN_TOTAL, "kind" => "jwt", "result" => "refused"),
            token_granted: counter!(SIGN_TOTAL, "kind" => "token", "result" => "granted"),
            token_refused: counter!(SIGN_TOTAL, "kind" => "token", "result" => "refused"),
            commit_seconds: histogram!(STORE_COMMIT_SECONDS),
            append_seconds: histogram!(AUDIT_APPEND_SECONDS),
            audit_lag: gauge!(AUDIT_LAG),
            queue_depth: gauge!(QUEUE_DEPTH),
        }
    }
}

/// Counts one attestation.
pub(crate) fn count_attestation(attestor: &'static str, result: &'static str) {
    counter!(ATTEST_TOTAL, "attestor" => attestor, "result" => result).increment(1);
}

/// Sets the gauges of one row of the budget table.
pub(crate) fn limit(
    principal: &'static str,
    resource: &'static str,
    bound: u64,
    reading: &crate::budgets::Reading,
) {
    let whole = |count: u64| number(usize::try_from(count).unwrap_or(usize::MAX));
    let labels = [("principal", principal), ("resource", resource)];
    gauge!(LIMIT_BOUND, &labels).set(whole(bound));
    gauge!(LIMIT_USED, &labels).set(whole(reading.used));
    gauge!(LIMIT_AT_BOUND, &labels).set(number(reading.at_bound.len()));
    counter!(LIMIT_REFUSED, &labels).absolute(reading.refused);
}

/// Sets one gauge from a whole number of anything.
pub(crate) fn set(name: &'static str, value: f64) {
    gauge!(name).set(value);
}

/// A count as a gauge's number; beyond 2^32 it stays there.
pub(crate) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A span in seconds, as a gauge's number.
pub(crate) fn seconds(span: Duration) -> f64 {
    span.as_secs_f64()
}

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
static INSTALLING: Mutex<()> = Mutex::new(());

/// Installs the process's recorder, once; later calls return the same handle.
/// Several servers in one process (tests) share it.
pub(crate) fn install() -> PrometheusHandle {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    RECORDER
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new()
                .set_buckets(&[
                    0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0,
                ])
                .unwrap_or_default()
                .build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics will stay empty");
            }
            handle
        })
        .clone()
}
