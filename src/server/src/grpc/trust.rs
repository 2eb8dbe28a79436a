//! `bulla.trust.v1.Trust`: who brought which authority into the bundle, and taking
//! one out by hand.

use std::sync::Arc;

use api::trust::trust_server::Trust as TrustRpc;
use api::trust::{Authority, OwnersRequest, OwnersResponse, RemoveRequest, RemoveResponse};
use records::AuditKind;
use tonic::{Request, Response, Status};

use super::refused::Refused;
use crate::authorities::{Listed, Owner};
use crate::authz;
use crate::failure::Failure;
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct TrustService {
    server: Arc<Server>,
}

impl TrustService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

fn to_wire(listed: Listed) -> Authority {
    let (owner, owner_id) = match listed.owner {
        Owner::Server => ("server", String::new()),
        Owner::OtherServer => ("other-server", String::new()),
        Owner::Upstream => ("upstream", String::new()),
        Owner::Administrator => ("administrator", String::new()),
        Owner::Entry(id) => ("downstream", id),
        Owner::Federation(of) => ("federation", of.as_str().to_owned()),
        Owner::Unrecorded => ("unrecorded", String::new()),
    };
    Authority {
        profile: listed.profile.as_str().to_owned(),
        id: listed.id,
        sha256: listed.sha256,
        owner: owner.to_owned(),
        owner_id,
        spiffe_id: listed.spiffe_id,
        since: listed.since.0,
        until: listed.until.map_or(0, |end| end.0),
        by: listed.by,
        why: listed.why,
        tainted: listed.tainted,
    }
}

#[tonic::async_trait]
impl TrustRpc for TrustService {
    async fn owners(
        &self,
        _request: Request<OwnersRequest>,
    ) -> Result<Response<OwnersResponse>, Status> {
        let listed = self.server.authorities.owners().await?;
        let state = &self.server.state;
        let own = state.registry().bundle(state.trust_domain()).cloned();
        Ok(Response::new(OwnersResponse {
            authorities: listed.into_iter().map(to_wire).collect(),
            bundle_sequence: own.map_or(0, |own| own.sequence),
            now: self.server.clock.now().0,
        }))
    }

    async fn remove(
        &self,
        request: Request<RemoveRequest>,
    ) -> Result<Response<RemoveResponse>, Status> {
        let caller = authz::caller(&request)?;
        let RemoveRequest { id, plan } = request.into_inner();
        if id.is_empty() {
            return Err(Failure::invalid("id: it is required").into());
        }
        let authorities = &self.server.authorities;
        match authorities.remove_from_bundle(&caller, &id, plan).await {
            Ok(removal) => Ok(Response::new(RemoveResponse {
                authorities: removal.removed.into_iter().map(to_wire).collect(),
                refused_because: removal.refused_because,
                done: !plan,
            })),
            Err(failure) => {
                let mut refused = Refused::new(AuditKind::BundleChange, &caller);
                refused.add_for(self.server.state.trust_domain().as_str(), &failure);
                refused.record(&self.server.audit).await;
                Err(failure.into())
            }
        }
    }
}
