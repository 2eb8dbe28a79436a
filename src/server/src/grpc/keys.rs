//! `bulla.keys.v1.Keys`: signing keys by hand, with who depends on them and what
//! an act would do.

use std::sync::Arc;

use api::keys::keys_server::Keys as KeysRpc;
use api::keys::{
    ActRequest, ActResponse, Behind, Dependents, Key, StatusRequest, StatusResponse, StreamBehind,
    Upstream, UpstreamRoot,
};
use authority::rotation::Reason;
use records::AuthorityProfile;
use tonic::{Request, Response, Status};

use crate::authorities::{Act, ActPlan, KeyReport, Order};
use crate::authz;
use crate::failure::Failure;
use crate::server::Server;
use crate::state::{State, StreamsBehind};

/// The most agents that a status names as behind.
const MAX_BEHIND: usize = 200;

/// The service.
#[derive(Clone)]
pub(super) struct KeysService {
    server: Arc<Server>,
}

impl KeysService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    async fn act(
        &self,
        request: Request<ActRequest>,
        act: Act,
    ) -> Result<Response<ActResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        if request.profile == "upstream" {
            let how = (request.plan, request.force);
            let acted = self
                .server
                .authorities
                .act_on_root(&caller, (act, &request.id), how);
            return Ok(Response::new(answer(acted.await?, request.plan)));
        }
        let order = Order {
            act,
            profile: profile(&request.profile)?,
            id: &request.id,
            force: request.force,
        };
        let authorities = &self.server.authorities;
        let plan = if request.plan {
            authorities.plan(order).await?
        } else {
            authorities.carry_out_order(&caller, order).await?
        };
        Ok(Response::new(answer(plan, request.plan)))
    }

    /// The authority above, with its roots.
    async fn upstream(&self) -> Option<Upstream> {
        let authorities = &self.server.authorities;
        let (kind, state) = authorities.upstream()?;
        let roots = authorities.upstream_roots().await;
        let roots = roots.into_iter().map(|root| UpstreamRoot {
            id: root.id,
            not_after: root.not_after.0,
            tainted: root.tainted,
            published: root.published,
            keys: u32::try_from(root.keys).unwrap_or(u32::MAX),
            signs: root.signs,
        });
        Some(Upstream {
            kind: kind.to_owned(),
            problem: state.problem,
            problem_since: state.since.0,
            seen_at: state.seen.0,
            ca_not_after: state.ends.map_or(0, |end| end.0),
            roots: roots.collect(),
        })
    }
}

/// Who has not taken in the newest bundle, the longest first.
fn behind(state: &State) -> Vec<Behind> {
    let lacking = state.agents_behind();
    let told = state.agents_with_streams_behind();
    let only_streams = told.into_iter().filter(|(agent, _)| {
        let mut lacking = lacking.iter();
        !lacking.any(|lacks| lacks.agent == *agent)
    });
    let only_streams: Vec<Behind> = only_streams
        .map(|(agent, streams)| with_streams(&streams, agent.to_string()))
        .collect();
    let mut all: Vec<Behind> = lacking
        .iter()
        .map(|lacks| Behind {
            contact: lacks.how.name().to_owned(),
            bundle_sequence: lacks.bundle,
            since: lacks.since.0,
            ..with_streams(&lacks.streams, lacks.agent.to_string())
        })
        .collect();
    all.sort_by_key(|behind| behind.since);
    all.extend(only_streams);
    all.truncate(MAX_BEHIND);
    all
}

fn with_streams(streams: &StreamsBehind, agent: String) -> Behind {
    let named = streams.named.iter().map(|stream| StreamBehind {
        uid: stream.uid,
        pid: stream.pid,
        since: stream.since,
    });
    Behind {
        agent,
        contact: "following".to_owned(),
        streams: u64::from(streams.count),
        named_streams: named.collect(),
        ..Behind::default()
    }
}

fn answer(plan: ActPlan, plan_only: bool) -> ActResponse {
    ActResponse {
        id: plan.id,
        steps: plan.steps,
        refused_because: plan.refused_because,
        done: !plan_only,
    }
}

fn profile(name: &str) -> Result<AuthorityProfile, Failure> {
    AuthorityProfile::ALL
        .into_iter()
        .find(|profile| profile.as_str() == name)
        .ok_or_else(|| Failure::invalid("profile: it is x509, jwt or access"))
}

fn texts(reasons: &[Reason]) -> Vec<String> {
    reasons.iter().map(Reason::to_string).collect()
}

fn to_wire(report: KeyReport) -> Key {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let known = &report.dependents;
    Key {
        profile: report.status.profile.as_str().to_owned(),
        id: report.status.id,
        state: report.status.state.to_owned(),
        tainted: report.status.tainted,
        key_type: report.status.key_type.to_owned(),
        protection: report.status.protection.name().to_owned(),
        created_at: report.created_at.0,
        since: report.since.0,
        not_after: report.status.not_after.0,
        dependents: Some(Dependents {
            unexpired: known.unexpired,
            last_expiry: known.last_expiry.map_or(0, |at| at.0),
            minted: known.minted,
            counted: known.counted,
            agents_behind: count(known.behind),
            agents_holding: count(known.holding),
        }),
        next_step: report.next.name().to_owned(),
        next_at: report.next.at().map_or(0, |at| at.0),
        waits_for: report.waits_for,
        against_activating: texts(&report.against_activating),
        against_tainting: texts(&report.against_tainting),
        against_revoking: texts(&report.against_revoking),
        upstream_root: report.status.upstream.unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl KeysRpc for KeysService {
    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let reports = self.server.authorities.report().await;
        let state = &self.server.state;
        let own = state.registry().bundle(state.trust_domain()).cloned();
        Ok(Response::new(StatusResponse {
            keys: reports.into_iter().map(to_wire).collect(),
            bundle_sequence: own.map_or(0, |bundle| bundle.sequence),
            now: self.server.clock.now().0,
            upstream: self.upstream().await,
            behind: behind(state),
        }))
    }

    async fn prepare(&self, request: Request<ActRequest>) -> Result<Response<ActResponse>, Status> {
        self.act(request, Act::Prepare).await
    }

    async fn activate(
        &self,
        request: Request<ActRequest>,
    ) -> Result<Response<ActResponse>, Status> {
        self.act(request, Act::Activate).await
    }

    async fn taint(&self, request: Request<ActRequest>) -> Result<Response<ActResponse>, Status> {
        self.act(request, Act::Taint).await
    }

    async fn revoke(&self, request: Request<ActRequest>) -> Result<Response<ActResponse>, Status> {
        self.act(request, Act::Revoke).await
    }
}
