//! `bulla.revocation.v1.Revocations`: taking back what is valid.

use std::sync::Arc;

use api::revocation::revocations_server::Revocations as RevocationsRpc;
use api::revocation::{
    Hit, LiftRequest, LiftResponse, ListRequest, ListResponse, Revocation, RevokeRequest,
    RevokeResponse, SignedRequest, SignedResponse,
};
use identity::Revoked;
use tonic::{Request, Response, Status};

use crate::authz;
use crate::failure::Failure;
use crate::revocation::{self, Order};
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct RevocationService {
    server: Arc<Server>,
}

impl RevocationService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    fn parse(&self, kind: &str, value: &str) -> Result<Revoked, Failure> {
        Revoked::parse(kind, value, self.server.state.trust_domain()).map_err(Failure::invalid)
    }
}

fn to_wire(revocation: &identity::Revocation) -> Revocation {
    Revocation {
        kind: revocation.what.kind().to_owned(),
        value: revocation.what.value(),
        at: revocation.at.0,
        until: revocation.until.map_or(0, |until| until.0),
        until_lifted: revocation.is_until_lifted(),
        reason: revocation.reason.as_ref().to_owned(),
        authority_id: revocation.authority.as_ref().to_owned(),
    }
}

fn hit_to_wire(hit: revocation::Hit) -> Hit {
    Hit {
        credential_id: hit.credential_id,
        spiffe_id: hit.spiffe_id,
        entry_id: hit.entry_id,
        holder: hit.holder,
        issued_at: hit.issued_at.0,
        expires_at: hit.expires_at.0,
        authority_id: hit.authority_id,
    }
}

#[tonic::async_trait]
impl RevocationsRpc for RevocationService {
    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        let order = Order {
            what: self.parse(&request.kind, &request.value)?,
            reason: request.reason,
            until_lifted: request.until_lifted,
            force: request.force,
        };
        let revocations = &self.server.revocations;
        let (outcome, sequence) = if request.plan {
            (revocations.plan(&order)?, 0)
        } else {
            revocations.revoke(&caller, &order).await?
        };
        let signed = !request.plan && revocations.is_signed(sequence).await;
        Ok(Response::new(RevokeResponse {
            revocation: Some(to_wire(&outcome.revocation)),
            already: outcome.already,
            done: !request.plan && !outcome.already,
            hits: outcome.hits.into_iter().map(hit_to_wire).collect(),
            hit_count: outcome.hit_count,
            refused_because: outcome
                .refused
                .map_or_else(String::new, |why| why.message().to_owned()),
            sequence,
            signed,
        }))
    }

    async fn lift(&self, request: Request<LiftRequest>) -> Result<Response<LiftResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        let what = self.parse(&request.kind, &request.value)?;
        let revocations = &self.server.revocations;
        let lifted = revocations.lift(&caller, &what, &request.reason).await;
        let (remaining, sequence) = lifted?;
        Ok(Response::new(LiftResponse {
            remaining: remaining.as_deref().map(to_wire),
            sequence,
            signed: revocations.is_signed(sequence).await,
        }))
    }

    async fn list(&self, _request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        self.server.state.check_fresh()?;
        let (revocations, sequence) = {
            let registry = self.server.state.registry();
            let all = registry.revocations().map(|one| to_wire(one)).collect();
            (all, registry.revocation_sequence())
        };
        let signed = self.server.revocations.signed();
        Ok(Response::new(ListResponse {
            revocations,
            sequence,
            signed_sequence: signed.map_or(0, |signed| signed.sequence),
        }))
    }

    async fn signed(
        &self,
        _request: Request<SignedRequest>,
    ) -> Result<Response<SignedResponse>, Status> {
        let signed = self.server.revocations.signed();
        let signed = signed.ok_or_else(|| Failure::unavailable("no list has been signed yet"))?;
        Ok(Response::new(SignedResponse {
            list: signed.list.clone(),
            crls: signed.crls.clone(),
            sequence: signed.sequence,
        }))
    }
}
