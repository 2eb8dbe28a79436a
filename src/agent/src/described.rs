//! What each metric of the agent means: the HELP of `/metrics`, held equal to
//! `docs/metrics.md` by a test.

use observe::Metric;

/// Every metric of an agent but those of its process.
pub const METRICS: &[Metric] = &[
    Metric::gauge(
        "bulla_agent_build_info",
        "Always 1; the label says which version runs",
    )
    .by(&["version"]),
    Metric::gauge(
        "bulla_agent_ready",
        "1 while workloads can be served, else 0",
    ),
    Metric::gauge(
        "bulla_agent_problems",
        "Parts that have a problem; /ready names them",
    ),
    Metric::gauge(
        "bulla_agent_entries",
        "Entries that this agent is authorised for",
    ),
    Metric::gauge("bulla_agent_x509_svids", "X.509-SVIDs that are held"),
    Metric::gauge("bulla_agent_jwt_svids", "JWT-SVIDs that are held"),
    Metric::gauge(
        "bulla_agent_views",
        "Sets of selectors for which answers are kept ready",
    ),
    Metric::gauge(
        "bulla_agent_svid_seconds_left",
        "Seconds until the agent's own SVID expires",
    ),
    Metric::gauge(
        "bulla_agent_server_view_age_seconds",
        "Age of the server's view of its store, as its last heartbeat said, in seconds",
    ),
    Metric::counter(
        "bulla_agent_x509_svids_issued_total",
        "X.509-SVIDs that the server issued for workloads of this node",
    ),
    Metric::counter(
        "bulla_agent_jwt_svids_issued_total",
        "JWT-SVIDs that the server issued for workloads of this node",
    ),
    Metric::counter(
        "bulla_agent_scoped_tokens_total",
        "Scoped tokens that the server minted for workloads of this node",
    ),
    Metric::counter(
        "bulla_agent_workload_refusals_total",
        "Calls of workloads that were refused, by status code",
    )
    .by(&["code"]),
    Metric::counter(
        "bulla_agent_delegate_refusals_total",
        "Calls of delegates that were refused, by status code",
    )
    .by(&["code"]),
    Metric::gauge("bulla_agent_duty_late", "1 for a duty that is late, else 0").by(&["duty"]),
    Metric::gauge(
        "bulla_agent_duty_last_success_seconds",
        "Seconds since a duty last succeeded; absent until it has",
    )
    .by(&["duty"]),
    Metric::gauge(
        "bulla_agent_streams_behind",
        "Streams of workloads that have not taken the newest bundle",
    ),
    Metric::counter(
        "bulla_agent_descriptors_exhausted_total",
        "Attestations that failed because the agent had no descriptor left",
    ),
];

#[cfg(test)]
mod tests {
    use super::METRICS;

    #[test]
    fn u13_every_metric_is_named_as_prometheus_wants_it() {
        assert_eq!(observe::faults(METRICS), Vec::<String>::new());
    }
}
