//! What each metric of the server means: the HELP of `/metrics`, held equal to
//! `docs/metrics.md` by a test.

use observe::Metric;

/// Every metric of a server but those of its process.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "bulla_build_info",
        "Always 1; the label says which version runs",
    )
    .by(&["version"]),
    Metric::gauge("bulla_duty_late", "1 for a duty that is late, else 0").by(&["duty"]),
    Metric::gauge(
        "bulla_duty_last_success_seconds",
        "Seconds since a duty last succeeded; absent until it has",
    )
    .by(&["duty"]),
    Metric::histogram(
        "bulla_rpc_seconds",
        "How long calls took, streams until they began, in seconds",
    )
    .by(&["method", "code"]),
    Metric::counter(
        "bulla_calls_refused_total",
        "Calls that the gate refused before any handler saw them",
    ),
    Metric::counter(
        "bulla_calls_panicked_total",
        "Calls that a defect of the server ended",
    ),
    Metric::counter(
        "bulla_refusals_unrecorded_total",
        "Refusals of strangers that were too many to record",
    ),
    Metric::gauge(
        "bulla_ca_expiry_seconds",
        "Seconds until the active X.509 authority expires",
    ),
    Metric::gauge(
        "bulla_upstream_up",
        "1 while the authority above this server is in order, else 0; absent without one",
    ),
    Metric::gauge(
        "bulla_upstream_expiry_seconds",
        "Seconds until the upstream CA, or what is above it, ends; 0 is unknown",
    ),
    Metric::gauge(
        "bulla_bundle_sequence",
        "Sequence number of this trust domain's bundle",
    ),
    Metric::counter(
        "bulla_sign_total",
        "Credentials signed or refused: X.509-SVIDs, JWT-SVIDs and scoped tokens",
    )
    .by(&["kind", "result"]),
    Metric::counter("bulla_attest_total", "Node attestations").by(&["attestor", "result"]),
    Metric::histogram(
        "bulla_store_commit_seconds",
        "How long a commit took, from hand-over to applied, in seconds",
    ),
    Metric::histogram(
        "bulla_audit_append_seconds",
        "How long a group of decision records took to become durable, in seconds",
    ),
    Metric::gauge(
        "bulla_audit_lag",
        "Decision records that were appended and are not durable yet",
    ),
    Metric::gauge(
        "bulla_poison_records",
        "Stored records that could not be read and are left out",
    ),
    Metric::gauge("bulla_queue_depth", "Attestations that wait for a slot"),
    Metric::gauge(
        "bulla_view_age_seconds",
        "Seconds since the view in memory was last known to be the newest",
    ),
    Metric::gauge(
        "bulla_clock_offset",
        "Seconds by which the wall clock stands behind the newest decision record",
    ),
    Metric::gauge("bulla_entries", "Registration entries"),
    Metric::gauge("bulla_nodes", "Attested nodes"),
    Metric::gauge("bulla_subscribed_agents", "Agents that follow by push"),
    Metric::gauge(
        "bulla_followers_behind_bundle",
        "Agents that follow and have not given the newest bundle to their workloads",
    ),
    Metric::gauge(
        "bulla_svid_min_remaining_seconds",
        "Shortest remaining lifetime of any agent's SVID that has not expired, in seconds",
    ),
    Metric::counter(
        "bulla_records_over_share_total",
        "Requests refused because their records exceed the caller's share of the log",
    ),
    Metric::gauge(
        "bulla_disk_free_mib",
        "Free space on the disk of the data directory, in MiB",
    ),
    Metric::gauge(
        "bulla_disk_stopped",
        "Kinds of work that are stopped for lack of space: records of strangers, issuance, changes",
    ),
    Metric::gauge(
        "bulla_limit_used",
        "What the principal that has most of a resource has of it",
    )
    .by(&["principal", "resource"]),
    Metric::gauge(
        "bulla_limit_bound",
        "What one principal may have of a resource at most",
    )
    .by(&["principal", "resource"]),
    Metric::gauge(
        "bulla_limit_at_bound",
        "Principals that are at the bound of a resource, 16 at most",
    )
    .by(&["principal", "resource"]),
    Metric::counter("bulla_limit_refused_total", "Requests refused for a bound")
        .by(&["principal", "resource"]),
];

#[cfg(test)]
mod tests {
    use super::METRICS;

    #[test]
    fn u13_every_metric_is_named_as_prometheus_wants_it() {
        assert_eq!(observe::faults(METRICS), Vec::<String>::new());
    }
}
