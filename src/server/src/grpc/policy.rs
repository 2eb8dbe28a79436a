//! `bulla.policy.v1.Policy`: policy sets planned, activated, shown and gone back to;
//! break-glass by two people.

use std::sync::Arc;
use std::time::Duration;

use api::policy::policy_server::Policy as PolicyRpc;
use api::policy::{
    AccessChange, ActivateResponse, Activation, ApproveBreakGlassRequest, BreakGlass,
    EndBreakGlassRequest, Fault, File, HistoryRequest, HistoryResponse, ListBreakGlassRequest,
    ListBreakGlassResponse, OpenBreakGlassRequest, PlanResponse, PolicySetPart, RollbackRequest,
    ShowRequest,
};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use identity::Timestamp;
use policy::{Severity, SourceFile};
use records::{ActivationRecord, BreakGlassRecord};
use tonic::{Request, Response, Status, Streaming};

use super::malformed::caller_mistake;
use crate::authz;
use crate::failure::Failure;
use crate::limits;
use crate::server::Server;
use crate::tokens::{PolicyPlan, Proposal};

/// How long the caller may be silent between two messages.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of files in one message of an answer.
const PART_BYTES: usize = 1 << 20;

/// The service.
#[derive(Clone)]
pub(super) struct PolicyService {
    server: Arc<Server>,
}

impl PolicyService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    fn glass(&self, record: &BreakGlassRecord) -> BreakGlass {
        glass(record, self.server.clock.now())
    }
}

/// Reads a whole set; one that is too large is refused before it is in memory.
async fn gather(mut parts: Streaming<PolicySetPart>) -> Result<Proposal, Status> {
    let mut proposal = Proposal::default();
    let mut bytes = 0;
    let mut first = true;
    loop {
        let part = tokio::time::timeout(PATIENCE, parts.message()).await;
        let part = part.map_err(|_elapsed| {
            Status::deadline_exceeded("the caller sent nothing for too long")
        })?;
        let Some(part) = part.map_err(caller_mistake)? else {
            return Ok(proposal);
        };
        if first {
            (proposal.expected, proposal.comment) = (part.expected, part.comment);
            first = false;
        }
        for file in part.files {
            bytes += file.name.len() + file.text.len();
            if bytes > limits::MAX_POLICY_BYTES || proposal.files.len() >= policy::limits::FILES_MAX
            {
                let most = limits::MAX_POLICY_BYTES;
                return Err(Failure::invalid(format!(
                    "the policy set is too large: at most {most} bytes and {} files",
                    policy::limits::FILES_MAX
                ))
                .into());
            }
            proposal.files.push(SourceFile {
                name: file.name,
                text: file.text,
            });
        }
    }
}

fn plan(plan: &PolicyPlan) -> PlanResponse {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let faults = plan.faults.iter().map(|fault| Fault {
        file: fault.file.clone(),
        line: fault.line.unwrap_or_default(),
        severity: match fault.severity {
            Severity::Error => "error".to_owned(),
            Severity::Warning => "warning".to_owned(),
        },
        what: fault.what.clone(),
        next: fault.next.clone().unwrap_or_default(),
    });
    let change = |gained: bool| {
        move |access: &pdp::Access| AccessChange {
            spiffe_id: access.spiffe_id.clone(),
            audience: access.audience.clone(),
            permission: access.permission.as_str().to_owned(),
            gained,
            policies: access.policies.clone(),
            conditions: access.conditions.clone(),
        }
    };
    // Losses first: they are never what a long list leaves out.
    let lost = plan.lost.iter().map(change(false));
    let changes = lost.chain(plan.gained.iter().map(change(true)));
    PlanResponse {
        digest: plan.digest.clone(),
        active: plan.active.clone(),
        faults: faults.collect(),
        tests_passed: count(plan.tests_passed),
        tests_failed: plan.tests_failed.clone(),
        files: plan.files.clone(),
        changes: changes.take(limits::MAX_PLAN_CHANGES).collect(),
        changes_total: count(plan.gained.len() + plan.lost.len()),
        activatable: plan.activatable(),
        lost_total: count(plan.lost.len()),
        unexamined: count(plan.unexamined),
    }
}

fn activation(record: &ActivationRecord, active: bool) -> Activation {
    Activation {
        digest: record.digest.clone(),
        catalogue: record.catalogue.clone(),
        at: record.at.0,
        by: record.by.clone(),
        comment: record.comment.clone(),
        previous: record.previous.clone(),
        rollback: record.rollback,
        active,
    }
}

/// An activation whose record cannot be read: what is known of it is in its comment.
fn unread(number: u64, why: &str, active: bool) -> Activation {
    let comment = format!(
        "record history-{number:012} cannot be read: {why}. If it is damaged, the next `bulla policy apply` or `bulla policy rollback` drops it"
    );
    Activation {
        comment,
        active,
        ..Default::default()
    }
}

fn activated(
    (planned, made): (PolicyPlan, Option<Arc<ActivationRecord>>),
) -> Response<ActivateResponse> {
    Response::new(ActivateResponse {
        plan: Some(plan(&planned)),
        activation: made.map(|made| activation(&made, true)),
    })
}

fn glass(record: &BreakGlassRecord, now: Timestamp) -> BreakGlass {
    let state = match (now < record.ends_at, &record.approver) {
        (false, _) => "ended",
        (true, None) => "open",
        (true, Some(_)) => "in_force",
    };
    BreakGlass {
        id: record.id.clone(),
        spiffe_id: record.spiffe_id.as_str().to_owned(),
        ticket: record.ticket.clone(),
        requester: record.requester.clone(),
        approver: record.approver.clone().unwrap_or_default(),
        seconds: record.lasts.0,
        opened_at: record.opened_at.0,
        ends_at: record.ends_at.0,
        state: state.to_owned(),
    }
}

/// A set's files in messages of a bounded size; the first has the digest.
fn parts(digest: &str, files: Vec<records::PolicyFile>) -> Vec<PolicySetPart> {
    let mut parts = vec![PolicySetPart {
        digest: digest.to_owned(),
        ..Default::default()
    }];
    let mut bytes = 0;
    for file in files {
        bytes += file.name.len() + file.text.len();
        if bytes > PART_BYTES {
            bytes = file.text.len();
            parts.push(PolicySetPart::default());
        }
        if let Some(part) = parts.last_mut() {
            part.files.push(File {
                name: file.name,
                text: file.text,
            });
        }
    }
    parts
}

#[tonic::async_trait]
impl PolicyRpc for PolicyService {
    async fn plan(
        &self,
        request: Request<Streaming<PolicySetPart>>,
    ) -> Result<Response<PlanResponse>, Status> {
        let proposal = gather(request.into_inner()).await?;
        let planned = self.server.tokens.plan(proposal.files).await?;
        Ok(Response::new(plan(&planned)))
    }

    async fn activate(
        &self,
        request: Request<Streaming<PolicySetPart>>,
    ) -> Result<Response<ActivateResponse>, Status> {
        let caller = authz::caller(&request)?;
        let proposal = gather(request.into_inner()).await?;
        let made = self.server.tokens.activate(&caller, proposal).await?;
        Ok(activated(made))
    }

    async fn history(
        &self,
        request: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        let most = match request.into_inner().limit {
            0 => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let state = &self.server.state;
        let (kept, lost) = (state.activations(), state.unread_activations());
        let newest = kept.first().map(|record| record.number);
        let newest = newest.max(lost.last().map(|(number, _)| *number));
        let readable = kept.iter().map(|record| {
            let active = Some(record.number) == newest;
            (record.number, activation(record, active))
        });
        let lost = lost
            .iter()
            .map(|(number, why)| (*number, unread(*number, why, Some(*number) == newest)));
        let mut activations: Vec<_> = readable.chain(lost).collect();
        activations.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let activations = activations.into_iter().map(|(_, activation)| activation);
        Ok(Response::new(HistoryResponse {
            activations: activations.take(most).collect(),
        }))
    }

    async fn rollback(
        &self,
        request: Request<RollbackRequest>,
    ) -> Result<Response<ActivateResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        if request.digest.is_empty() {
            return Err(Failure::invalid("digest: it is required; see the history").into());
        }
        let tokens = &self.server.tokens;
        let made = tokens.rollback(&caller, &request.digest, &request.comment, request.plan);
        Ok(activated(made.await?))
    }

    type ShowStream = BoxStream<'static, Result<PolicySetPart, Status>>;

    async fn show(
        &self,
        request: Request<ShowRequest>,
    ) -> Result<Response<Self::ShowStream>, Status> {
        let kept = self.server.tokens.named(&request.into_inner().digest)?;
        let files = self.server.tokens.files(&kept).await?;
        let parts = parts(&kept.digest, files).into_iter().map(Ok);
        Ok(Response::new(stream::iter(parts).boxed()))
    }

    async fn open_break_glass(
        &self,
        request: Request<OpenBreakGlassRequest>,
    ) -> Result<Response<BreakGlass>, Status> {
        let caller = authz::caller(&request)?;
        let certificate = authz::certificate(&request).ok();
        let wanted = request.into_inner();
        let tokens = &self.server.tokens;
        let by = (&caller, certificate);
        let opened = tokens.open_glass(by, &wanted.spiffe_id, &wanted.ticket, wanted.seconds);
        Ok(Response::new(self.glass(&opened.await?)))
    }

    async fn approve_break_glass(
        &self,
        request: Request<ApproveBreakGlassRequest>,
    ) -> Result<Response<BreakGlass>, Status> {
        let caller = authz::caller(&request)?;
        let by = (&caller, authz::certificate(&request).ok());
        let id = request.into_inner().id;
        let approved = self.server.tokens.approve_glass(by, &id).await?;
        Ok(Response::new(self.glass(&approved)))
    }

    async fn end_break_glass(
        &self,
        request: Request<EndBreakGlassRequest>,
    ) -> Result<Response<BreakGlass>, Status> {
        let caller = authz::caller(&request)?;
        let id = request.into_inner().id;
        let ended = self.server.tokens.end_glass(&caller, &id).await?;
        Ok(Response::new(self.glass(&ended)))
    }

    async fn list_break_glass(
        &self,
        _request: Request<ListBreakGlassRequest>,
    ) -> Result<Response<ListBreakGlassResponse>, Status> {
        let all = self.server.tokens.all_glass();
        Ok(Response::new(ListBreakGlassResponse {
            break_glass: all.iter().map(|record| self.glass(record)).collect(),
        }))
    }
}
