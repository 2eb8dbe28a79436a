//! Whether the server can do its work now, with reasons, and the gauges that are
//! read off its state.

use std::sync::Arc;

use crate::limits;
use crate::listeners::ops::{Check, Report, Vitals};
use crate::metrics::{self, number, seconds, set};
use crate::server::Server;

/// The server's vital signs.
pub(crate) struct Health(pub(crate) Arc<Server>);

impl Vitals for Health {
    fn report(&self) -> Report {
        let server = &self.0;
        Report::of(vec![
            stopping(server),
            view(server),
            journal(server),
            clock(server),
            x509(server),
            jwt(server),
            policy(server),
            identity(server),
            upstream(server),
        ])
    }

    fn gauge(&self) {
        let server = &self.0;
        server.budgets.gauge();
        let now = server.clock.now();
        let expiry = server
            .authorities
            .x509()
            .map_or(0, |ca| ca.not_after().since(now).0);
        set(metrics::CA_EXPIRY_SECONDS, f64::from(expiry));
        if let Some((_, state)) = server.authorities.upstream() {
            let up = state.problem.is_empty();
            set(metrics::UPSTREAM_UP, f64::from(u8::from(up)));
            let left = state.ends.map_or(0, |end| end.since(now).0);
            set(metrics::UPSTREAM_EXPIRY_SECONDS, f64::from(left));
        }
        set(metrics::VIEW_AGE_SECONDS, seconds(server.state.view_age()));
        set(metrics::POISON_RECORDS, number(server.state.poison().len()));
        set(
            metrics::SUBSCRIBERS,
            number(server.state.subscriber_count()),
        );
        let waiting = server.state.agents_behind_bundle();
        set(metrics::FOLLOWERS_BEHIND_BUNDLE, number(waiting));
        let behind = usize::try_from(server.audit.clock_behind()).unwrap_or_default();
        set(metrics::CLOCK_OFFSET, number(behind));
        let registry = server.state.registry();
        let counts = registry.counts();
        set(metrics::ENTRIES, number(counts.entries));
        set(metrics::NODES, number(counts.nodes));
        let sequence = registry
            .bundle(server.state.trust_domain())
            .map_or(0, |b| b.sequence);
        set(
            metrics::BUNDLE_SEQUENCE,
            number(usize::try_from(sequence).unwrap_or(usize::MAX)),
        );
        let remaining = registry
            .nodes()
            .map(|node| node.expires_at.since(now).0)
            .filter(|left| *left > 0)
            .min();
        set(
            metrics::SVID_MIN_REMAINING_SECONDS,
            f64::from(remaining.unwrap_or_default()),
        );
    }
}

fn check(name: &'static str, ok: bool, good: String, bad: String) -> Check {
    Check {
        name,
        ok,
        detail: if ok { good } else { bad },
    }
}

/// Without a policy set there are no scoped tokens to be ready for.
fn policy(server: &Server) -> Check {
    let active = server.tokens.active();
    let good = active.map_or_else(
        || "no policy set is active".to_owned(),
        |active| format!("policy set {} decides", active.activation.digest),
    );
    let fault = server.tokens.fault();
    let bad = format!(
        "the active policy set is not loaded, so no scoped token is minted: {}",
        fault.as_deref().unwrap_or_default()
    );
    check("policy", fault.is_none(), good, bad)
}

fn stopping(server: &Server) -> Check {
    let stopping = *server.stopping.borrow();
    check(
        "running",
        !stopping,
        "running".into(),
        "shutting down".into(),
    )
}

fn view(server: &Server) -> Check {
    let age = server.state.view_age();
    let detail = format!("view is {} ms old", age.as_millis());
    let bad = format!("{detail}: the store does not answer; look at its disk and at the log");
    check("store", age <= limits::MAX_VIEW_AGE, detail, bad)
}

fn journal(server: &Server) -> Check {
    check(
        "journal",
        server.audit.is_writable(),
        "records are made".into(),
        "records cannot be made, so nothing is signed; look at the disk and at the log".into(),
    )
}

fn clock(server: &Server) -> Check {
    let believed = server.audit.check_clock();
    let problem = believed.as_ref().err().map(ToString::to_string);
    let good = "agrees with the uptime and the newest record".into();
    check("clock", believed.is_ok(), good, problem.unwrap_or_default())
}

fn x509(server: &Server) -> Check {
    let now = server.clock.now();
    let authority = server.authorities.x509();
    let left = authority
        .as_ref()
        .map_or(0, |ca| ca.not_after().since(now).0);
    check(
        "x509_authority",
        left > 0,
        format!("expires in {left} s"),
        "there is no X.509 authority that may sign; see key rotation in the log".into(),
    )
}

fn jwt(server: &Server) -> Check {
    let now = server.clock.now();
    let left = server
        .authorities
        .jwt()
        .map_or(0, |key| key.not_after().since(now).0);
    check(
        "jwt_authority",
        left > 0,
        format!("expires in {left} s"),
        "there is no JWT authority that may sign; see key rotation in the log".into(),
    )
}

/// Told, but never a reason not to be ready: issuing goes on without it.
fn upstream(server: &Server) -> Check {
    let detail = match server.authorities.upstream() {
        None => "there is none above this server".to_owned(),
        Some((kind, state)) if state.problem.is_empty() => format!("{kind} is in order"),
        Some((kind, state)) => format!("{kind} is lost: {}", state.problem),
    };
    check("upstream", true, detail, String::new())
}

fn identity(server: &Server) -> Check {
    check(
        "server_svid",
        server.identity.is_set(),
        "is shown to peers".into(),
        "the server has no SVID of its own yet".into(),
    )
}
