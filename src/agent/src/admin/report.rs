//! What the operator is told.

use serde::Serialize;

use crate::core::Core;

/// The answer of `/ready`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    /// Whether workloads can be served.
    pub(super) ready: bool,
    /// What does not work, even if workloads can be served for now.
    reasons: Vec<String>,
    spiffe_id: Option<String>,
    svid_expires_at: Option<i64>,
    data_sealed: bool,
}

impl Readiness {
    pub(super) fn of(core: &Core) -> Self {
        let ready = core.hub.is_ready();
        let problems = core.health.problems();
        let mut reasons: Vec<String> = problems
            .into_iter()
            .map(|(part, p)| format!("{}: {} (since {})", part.name(), p.reason, p.since.0))
            .collect();
        if !ready && reasons.is_empty() {
            reasons.push("the agent has not heard from its server yet".to_owned());
        }
        let own = core.own();
        Self {
            ready,
            reasons,
            spiffe_id: own.as_ref().map(|own| own.svid.spiffe_id.to_string()),
            svid_expires_at: own.map(|own| own.svid.not_after.0),
            data_sealed: core.folder.is_sealed(),
        }
    }
}

/// The answer of `/v1/cache`.
#[derive(Debug, Serialize)]
pub(super) struct Inventory {
    trust_domain: String,
    bundle_sequence: u64,
    views: usize,
    jwt_svids: usize,
    entries: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    entry_id: String,
    spiffe_id: String,
    hint: String,
    selectors: Vec<String>,
    x509_svid_expires_at: Option<i64>,
}

impl Inventory {
    pub(super) fn of(core: &Core) -> Self {
        let counts = core.hub.counts();
        let lines = core
            .hub
            .inventory()
            .into_iter()
            .map(|(entry, expiry)| Line {
                entry_id: entry.id.to_string(),
                spiffe_id: entry.spiffe_id.to_string(),
                hint: entry.hint.clone(),
                selectors: entry.selectors.iter().map(ToString::to_string).collect(),
                x509_svid_expires_at: expiry.map(|at| at.0),
            });
        Self {
            trust_domain: core.settings.trust_domain.to_string(),
            bundle_sequence: core.hub.own_bundle().map_or(0, |b| b.sequence),
            views: counts.views,
            jwt_svids: counts.jwt_svids,
            entries: lines.collect(),
        }
    }
}

/// The answer of `/v1/status`: what `/ready` says, and numbers.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    #[serde(flatten)]
    readiness: Readiness,
    bundle_sequence: u64,
    /// Open streams of workloads.
    streams: usize,
    entries: usize,
    x509_svids: usize,
    jwt_svids: usize,
    /// By when the next X.509-SVID is renewed.
    next_renewal_by: Option<i64>,
}

impl Status {
    pub(super) fn of(core: &Core) -> Self {
        let counts = core.hub.counts();
        Self {
            readiness: Readiness::of(core),
            bundle_sequence: core.hub.own_bundle().map_or(0, |b| b.sequence),
            streams: core.hub.open_streams(),
            entries: counts.entries,
            x509_svids: counts.x509_svids,
            jwt_svids: counts.jwt_svids,
            next_renewal_by: core.hub.next_renewal_by().map(|at| at.0),
        }
    }
}

/// Sets the gauges that are read off the state.
pub(super) fn set_gauges(core: &Core) {
    let counts = core.hub.counts();
    let gauge = |name: &'static str, value: usize| {
        // A count beyond 2^32 would mean that every limit has failed.
        metrics::gauge!(name).set(f64::from(u32::try_from(value).unwrap_or(u32::MAX)));
    };
    gauge("bulla_agent_entries", counts.entries);
    gauge("bulla_agent_x509_svids", counts.x509_svids);
    gauge("bulla_agent_jwt_svids", counts.jwt_svids);
    gauge("bulla_agent_views", counts.views);
    gauge("bulla_agent_problems", core.health.problems().len());
    gauge("bulla_agent_ready", usize::from(core.hub.is_ready()));
    if let Some(own) = core.own() {
        let left = own.svid.not_after.since(core.now());
        metrics::gauge!("bulla_agent_svid_seconds_left").set(f64::from(left.0));
    }
}
