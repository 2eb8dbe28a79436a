//! `spire.api.server.localauthority.v1.LocalAuthority`: the signing keys of this
//! server, by hand. What is allowed when is decided by the rotation; WIT authorities
//! do not exist here.

use std::sync::Arc;

use api::localauthority::local_authority_server::LocalAuthority as LocalAuthorityRpc;
use api::localauthority::{
    ActivateJwtAuthorityRequest, ActivateJwtAuthorityResponse, ActivateWitAuthorityRequest,
    ActivateWitAuthorityResponse, ActivateX509AuthorityRequest, ActivateX509AuthorityResponse,
    AuthorityState, GetJwtAuthorityStateRequest, GetJwtAuthorityStateResponse,
    GetWitAuthorityStateRequest, GetWitAuthorityStateResponse, GetX509AuthorityStateRequest,
    GetX509AuthorityStateResponse, PrepareJwtAuthorityRequest, PrepareJwtAuthorityResponse,
    PrepareWitAuthorityRequest, PrepareWitAuthorityResponse, PrepareX509AuthorityRequest,
    PrepareX509AuthorityResponse, RevokeJwtAuthorityRequest, RevokeJwtAuthorityResponse,
    RevokeWitAuthorityRequest, RevokeWitAuthorityResponse, RevokeX509AuthorityRequest,
    RevokeX509AuthorityResponse, RevokeX509UpstreamAuthorityRequest,
    RevokeX509UpstreamAuthorityResponse, TaintJwtAuthorityRequest, TaintJwtAuthorityResponse,
    TaintWitAuthorityRequest, TaintWitAuthorityResponse, TaintX509AuthorityRequest,
    TaintX509AuthorityResponse, TaintX509UpstreamAuthorityRequest,
    TaintX509UpstreamAuthorityResponse,
};
use records::AuthorityProfile;
use tonic::{Request, Response, Status};

use crate::authorities::{Act, KeyStatus};
use crate::authz;
use crate::failure::{Failure, Kind};
use crate::server::Server;

const X509: AuthorityProfile = AuthorityProfile::X509;
const JWT: AuthorityProfile = AuthorityProfile::Jwt;

/// The service.
#[derive(Clone)]
pub(super) struct AuthorityService {
    server: Arc<Server>,
}

/// The keys of one profile as SPIRE's three slots show them.
struct Slots {
    active: Option<AuthorityState>,
    prepared: Option<AuthorityState>,
    old: Option<AuthorityState>,
}

impl AuthorityService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    fn slots(&self, profile: AuthorityProfile) -> Slots {
        let keys = self.server.authorities.status();
        // Oldest first; of several the newest is shown.
        let in_state = |states: &[&str]| {
            let mut keys = keys.iter().rev().filter(|key| key.profile == profile);
            keys.find(|key| states.contains(&key.state)).map(to_wire)
        };
        Slots {
            active: in_state(&["active"]),
            prepared: in_state(&["prepared", "published"]),
            old: in_state(&["retired"]),
        }
    }

    fn named(&self, profile: AuthorityProfile, id: &str) -> Option<AuthorityState> {
        let keys = self.server.authorities.status();
        let mut keys = keys.iter().filter(|key| key.profile == profile);
        keys.find(|key| key.id == id).map(to_wire)
    }

    async fn prepare<T>(
        &self,
        request: &Request<T>,
        profile: AuthorityProfile,
    ) -> Result<Option<AuthorityState>, Status> {
        let caller = authz::caller(request)?;
        let key = self.server.authorities.prepare(&caller, profile).await?;
        Ok(Some(to_wire(&key)))
    }

    async fn activate<T>(
        &self,
        request: &Request<T>,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<Option<AuthorityState>, Status> {
        let caller = authz::caller(request)?;
        let key = self
            .server
            .authorities
            .activate(&caller, profile, given(id)?);
        Ok(Some(to_wire(&key.await?)))
    }

    async fn taint<T>(
        &self,
        request: &Request<T>,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<Option<AuthorityState>, Status> {
        let caller = authz::caller(request)?;
        // A tainted key that nothing was signed with is removed; SPIRE's command line
        // fails when the answer does not name the authority.
        let was = self.named(profile, given(id)?);
        let authorities = &self.server.authorities;
        authorities.taint(&caller, profile, id).await?;
        Ok(self.named(profile, id).or(was))
    }

    /// An act on a root of the authority above.
    async fn on_root<T>(&self, request: &Request<T>, act: Act, id: &str) -> Result<(), Status> {
        let caller = authz::caller(request)?;
        let authorities = &self.server.authorities;
        if authorities.upstream().is_none() {
            return Err(Kind::Precondition.status("this server has no upstream authority"));
        }
        let id = given(id)?;
        authorities
            .act_on_root(&caller, (act, id), (false, false))
            .await?;
        Ok(())
    }

    async fn revoke<T>(
        &self,
        request: &Request<T>,
        profile: AuthorityProfile,
        id: &str,
    ) -> Result<Option<AuthorityState>, Status> {
        let caller = authz::caller(request)?;
        let was = self.named(profile, given(id)?);
        let authorities = &self.server.authorities;
        authorities.revoke(&caller, profile, id, false).await?;
        Ok(was)
    }
}

fn given(id: &str) -> Result<&str, Failure> {
    if id.is_empty() {
        return Err(Failure::invalid("authority_id: it is required"));
    }
    Ok(id)
}

fn to_wire(key: &KeyStatus) -> AuthorityState {
    AuthorityState {
        authority_id: key.id.clone(),
        expires_at: key.not_after.0,
        upstream_authority_subject_key_id: key.upstream.clone().unwrap_or_default(),
    }
}

fn no_wit() -> Status {
    Kind::Unimplemented.status("this server has no WIT authorities")
}

#[tonic::async_trait]
impl LocalAuthorityRpc for AuthorityService {
    async fn get_jwt_authority_state(
        &self,
        _request: Request<GetJwtAuthorityStateRequest>,
    ) -> Result<Response<GetJwtAuthorityStateResponse>, Status> {
        let Slots {
            active,
            prepared,
            old,
        } = self.slots(JWT);
        Ok(Response::new(GetJwtAuthorityStateResponse {
            active,
            prepared,
            old,
        }))
    }

    async fn prepare_jwt_authority(
        &self,
        request: Request<PrepareJwtAuthorityRequest>,
    ) -> Result<Response<PrepareJwtAuthorityResponse>, Status> {
        let prepared_authority = self.prepare(&request, JWT).await?;
        Ok(Response::new(PrepareJwtAuthorityResponse {
            prepared_authority,
        }))
    }

    async fn activate_jwt_authority(
        &self,
        request: Request<ActivateJwtAuthorityRequest>,
    ) -> Result<Response<ActivateJwtAuthorityResponse>, Status> {
        let activated_authority = self
            .activate(&request, JWT, &request.get_ref().authority_id)
            .await?;
        Ok(Response::new(ActivateJwtAuthorityResponse {
            activated_authority,
        }))
    }

    async fn taint_jwt_authority(
        &self,
        request: Request<TaintJwtAuthorityRequest>,
    ) -> Result<Response<TaintJwtAuthorityResponse>, Status> {
        let tainted_authority = self
            .taint(&request, JWT, &request.get_ref().authority_id)
            .await?;
        Ok(Response::new(TaintJwtAuthorityResponse {
            tainted_authority,
        }))
    }

    async fn revoke_jwt_authority(
        &self,
        request: Request<RevokeJwtAuthorityRequest>,
    ) -> Result<Response<RevokeJwtAuthorityResponse>, Status> {
        let revoked_authority = self
            .revoke(&request, JWT, &request.get_ref().authority_id)
            .await?;
        Ok(Response::new(RevokeJwtAuthorityResponse {
            revoked_authority,
        }))
    }

    async fn get_x509_authority_state(
        &self,
        _request: Request<GetX509AuthorityStateRequest>,
    ) -> Result<Response<GetX509AuthorityStateResponse>, Status> {
        let Slots {
            active,
            prepared,
            old,
        } = self.slots(X509);
        Ok(Response::new(GetX509AuthorityStateResponse {
            active,
            prepared,
            old,
        }))
    }

    async fn prepare_x509_authority(
        &self,
        request: Request<PrepareX509AuthorityRequest>,
    ) -> Result<Response<PrepareX509AuthorityResponse>, Status> {
        let prepared_authority = self.prepare(&request, X509).await?;
        Ok(Response::new(PrepareX509AuthorityResponse {
            prepared_authority,
        }))
    }

    async fn activate_x509_authority(
        &self,
        request: Request<ActivateX509AuthorityRequest>,
    ) -> Result<Response<ActivateX509AuthorityResponse>, Status> {
        let activated_authority = self
            .activate(&request, X509, &request.get_ref().authority_id)
            .await?;
        Ok(Response::new(ActivateX509AuthorityResponse {
            activated_authority,
        }))
    }

    async fn taint_x509_authority(
        &self,
        request: Request<TaintX509AuthorityRequest>,
    ) -> Result<Response<TaintX509AuthorityResponse>, Status> {
        let tainted_authority = self
            .taint(&request, X509, &request.get_ref().authority_id)
            .await?;
        Ok(Response::new(TaintX509AuthorityResponse {
            tainted_authority,
        }))
    }

    async fn revoke_x509_authority(
        &self,
        request: Request<RevokeX509AuthorityRequest>,
    ) -> Result<Response<RevokeX509AuthorityResponse>, Status> {
        let revoked_authority = self
            .revoke(&request, X509, &request.get_ref().authority_id)
            .await?;
        Ok(Response::new(RevokeX509AuthorityResponse {
            revoked_authority,
        }))
    }

    async fn taint_x509_upstream_authority(
        &self,
        request: Request<TaintX509UpstreamAuthorityRequest>,
    ) -> Result<Response<TaintX509UpstreamAuthorityResponse>, Status> {
        let id = request.get_ref().subject_key_id.clone();
        self.on_root(&request, Act::Taint, &id).await?;
        Ok(Response::new(TaintX509UpstreamAuthorityResponse {
            upstream_authority_subject_key_id: id,
        }))
    }

    async fn revoke_x509_upstream_authority(
        &self,
        request: Request<RevokeX509UpstreamAuthorityRequest>,
    ) -> Result<Response<RevokeX509UpstreamAuthorityResponse>, Status> {
        let id = request.get_ref().subject_key_id.clone();
        self.on_root(&request, Act::Revoke, &id).await?;
        Ok(Response::new(RevokeX509UpstreamAuthorityResponse {
            upstream_authority_subject_key_id: id,
        }))
    }

    async fn get_wit_authority_state(
        &self,
        _request: Request<GetWitAuthorityStateRequest>,
    ) -> Result<Response<GetWitAuthorityStateResponse>, Status> {
        Err(no_wit())
    }

    async fn prepare_wit_authority(
        &self,
        _request: Request<PrepareWitAuthorityRequest>,
    ) -> Result<Response<PrepareWitAuthorityResponse>, Status> {
        Err(no_wit())
    }

    async fn activate_wit_authority(
        &self,
        _request: Request<ActivateWitAuthorityRequest>,
    ) -> Result<Response<ActivateWitAuthorityResponse>, Status> {
        Err(no_wit())
    }

    async fn taint_wit_authority(
        &self,
        _request: Request<TaintWitAuthorityRequest>,
    ) -> Result<Response<TaintWitAuthorityResponse>, Status> {
        Err(no_wit())
    }

    async fn revoke_wit_authority(
        &self,
        _request: Request<RevokeWitAuthorityRequest>,
    ) -> Result<Response<RevokeWitAuthorityResponse>, Status> {
        Err(no_wit())
    }
}
