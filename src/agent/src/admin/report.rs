//! What the operator is told.

use std::time::Duration;

use duty::Standing;
use serde::Serialize;

use crate::core::Core;
use crate::hub::Laggard;

/// The answer of `/ready`.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    /// Whether workloads can be served.
    pub(super) ready: bool,
    /// Why they cannot; and what else does not work, even if they can for now.
    reasons: Vec<String>,
    spiffe_id: Option<String>,
    svid_expires_at: Option<i64>,
    data_sealed: bool,
    /// What must happen by itself, and whether it does.
    duties: Vec<Standing>,
}

impl Readiness {
    pub(super) fn of(core: &Core) -> Self {
        let mut reasons = core.why_not_ready();
        let ready = reasons.is_empty();
        let duties = core.duties.standings(core.clock.boottime());
        let late = duties.iter().filter(|duty| duty.condition.is_late());
        reasons.extend(late.map(ToString::to_string));
        let problems = core.health.problems().into_iter();
        reasons.extend(
            problems
                .map(|(part, p)| format!("{}: {} (since {})", part.name(), p.reason, p.since.0)),
        );
        let own = core.own();
        Self {
            ready,
            reasons,
            spiffe_id: own.as_ref().map(|own| own.svid.spiffe_id.to_string()),
            svid_expires_at: own.map(|own| own.svid.not_after.0),
            data_sealed: core.folder.is_sealed(),
            duties,
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
    /// Of those, the ones that do not take the newest bundle and are not waited for.
    streams_behind: usize,
    /// Some of them.
    behind: Vec<Behind>,
    entries: usize,
    x509_svids: usize,
    jwt_svids: usize,
    /// By when the next X.509-SVID is renewed.
    next_renewal_by: Option<i64>,
}

/// A stream that does not take what is there for it.
#[derive(Debug, Serialize)]
struct Behind {
    uid: Option<u32>,
    pid: i32,
    bundle_sequence: u64,
    since: i64,
}

impl Behind {
    fn of(laggard: &Laggard) -> Self {
        Self {
            uid: laggard.uid,
            pid: laggard.pid,
            bundle_sequence: laggard.sequence,
            since: laggard.since.0,
        }
    }
}

impl Status {
    pub(super) fn of(core: &Core) -> Self {
        let counts = core.hub.counts();
        let progress = core.hub.delivered().borrow().clone();
        Self {
            readiness: Readiness::of(core),
            bundle_sequence: core.hub.own_bundle().map_or(0, |b| b.sequence),
            streams: core.hub.open_streams(),
            streams_behind: progress.behind,
            behind: progress.named.iter().map(Behind::of).collect(),
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
    let behind = core.hub.delivered().borrow().behind;
    gauge("bulla_agent_streams_behind", behind);
    gauge("bulla_agent_problems", core.health.problems().len());
    let ready = core.why_not_ready().is_empty();
    gauge("bulla_agent_ready", usize::from(ready));
    for duty in core.duties.standings(core.clock.boottime()) {
        let late = f64::from(u8::from(duty.condition.is_late()));
        metrics::gauge!("bulla_agent_duty_late", "duty" => duty.name.clone()).set(late);
        if let Some(ago) = duty.last_success_seconds {
            let ago = Duration::from_secs(ago).as_secs_f64();
            metrics::gauge!("bulla_agent_duty_last_success_seconds", "duty" => duty.name).set(ago);
        }
    }
    if let Some(own) = core.own() {
        let left = own.svid.not_after.since(core.now());
        metrics::gauge!("bulla_agent_svid_seconds_left").set(f64::from(left.0));
    }
}
