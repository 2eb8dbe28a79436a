//! `spire.api.server.svid.v1.SVID`: issuance for agents by entry and for admins
//! without one. Contents come from the entry; of a CSR only the key counts, except
//! in an admin's mint, where it also names what is wanted.

mod csr;

use std::sync::Arc;

use api::convert::{id_from_wire, jwt_svid_to_wire, x509_svid_to_wire};
use api::status::item_ok;
use api::svid::svid_server::Svid as SvidRpc;
use api::svid::{
    BatchNewWitsvidRequest, BatchNewWitsvidResponse, BatchNewX509svidRequest,
    BatchNewX509svidResponse, MintJwtsvidRequest, MintJwtsvidResponse, MintWitsvidRequest,
    MintWitsvidResponse, MintX509svidRequest, MintX509svidResponse, NewDownstreamX509caRequest,
    NewDownstreamX509caResponse, NewJwtsvidRequest, NewJwtsvidResponse, NewX509svidParams,
    batch_new_x509svid_response,
};
use authority::SubjectKey;
use identity::{EntryId, Seconds, SpiffeId};
use records::AuditKind;
use tonic::{Request, Response, Status};

use super::items::check_batch;
use super::refused::Refused;
use crate::authz;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::issue::{IssueRefusal, IssuedX509, JwtRequest, JwtRight, X509Request, X509Right};
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct SvidService {
    server: Arc<Server>,
}

impl SvidService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    async fn mint_x509(
        &self,
        caller: &Caller,
        request: &MintX509svidRequest,
    ) -> Result<IssuedX509, Failure> {
        let wanted = match csr::mint(&request.csr) {
            Ok(wanted) => wanted,
            Err(failure) => {
                return Err(self.refuse(AuditKind::MintX509, caller, "", failure).await);
            }
        };
        let order = X509Request {
            right: X509Right::Mint {
                spiffe_id: wanted.spiffe_id,
                dns_names: wanted.dns_names,
                ttl: ttl(request.ttl),
            },
            key: wanted.key,
        };
        let issued = self
            .server
            .issuer
            .issue_x509(caller, vec![order])
            .await
            .pop();
        Ok(issued.ok_or_else(|| Failure::internal("the issuer gave no answer"))??)
    }

    async fn downstream_ca(
        &self,
        caller: &Caller,
        request: &NewDownstreamX509caRequest,
    ) -> Result<Vec<Arc<[u8]>>, Failure> {
        let key = SubjectKey::from_csr(&request.csr)
            .map_err(|error| Failure::invalid(format!("csr: {error}")))?;
        let settings = &self.server.settings;
        let span = (ttl(request.preferred_ttl), settings.ca_ttl);
        let levels = settings.downstream_levels;
        let issuer = &self.server.issuer;
        Ok(issuer.sign_downstream(caller, &key, span, levels).await?)
    }

    async fn refuse(
        &self,
        kind: AuditKind,
        caller: &Caller,
        entry_id: &str,
        failure: Failure,
    ) -> Failure {
        let mut refused = Refused::new(kind, caller);
        refused.add(entry_id, &failure);
        refused.record(&self.server.audit).await;
        failure
    }
}

/// A lifetime as stock tools send it: 0 and less are the server's default.
fn ttl(seconds: i32) -> Option<Seconds> {
    u32::try_from(seconds)
        .ok()
        .filter(|ttl| *ttl != 0)
        .map(Seconds)
}

fn x509_request(agent: &SpiffeId, params: &NewX509svidParams) -> Result<X509Request, Failure> {
    let entry = EntryId::parse(&params.entry_id)
        .map_err(|error| Failure::invalid(format!("entry_id: {error}")))?;
    let key = SubjectKey::from_csr(&params.csr)
        .map_err(|error| Failure::invalid(format!("csr: {error}")))?;
    Ok(X509Request {
        right: X509Right::Entry {
            agent: agent.clone(),
            entry,
        },
        key,
    })
}

/// Status and SVID of one item; the status is always there (stock agents look
/// into it unasked).
fn x509_result(issued: Result<IssuedX509, IssueRefusal>) -> batch_new_x509svid_response::Result {
    match issued {
        Ok(issued) => {
            let hint = issued.entry.as_ref().map_or("", |entry| &entry.hint);
            batch_new_x509svid_response::Result {
                status: Some(item_ok()),
                svid: Some(x509_svid_to_wire(&issued.svid, hint)),
            }
        }
        Err(refusal) => batch_new_x509svid_response::Result {
            status: Some(refusal.kind().item(refusal.to_string())),
            svid: None,
        },
    }
}

#[tonic::async_trait]
impl SvidRpc for SvidService {
    async fn mint_x509svid(
        &self,
        request: Request<MintX509svidRequest>,
    ) -> Result<Response<MintX509svidResponse>, Status> {
        let caller = authz::caller(&request)?;
        let issued = self.mint_x509(&caller, request.get_ref()).await?;
        Ok(Response::new(MintX509svidResponse {
            svid: Some(x509_svid_to_wire(&issued.svid, "")),
        }))
    }

    async fn mint_jwtsvid(
        &self,
        request: Request<MintJwtsvidRequest>,
    ) -> Result<Response<MintJwtsvidResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        let spiffe_id = match id_from_wire("id", request.id.as_ref()) {
            Ok(id) => id,
            Err(error) => {
                let failure = Failure::invalid(error);
                return Err(self
                    .refuse(AuditKind::MintJwt, &caller, "", failure)
                    .await
                    .into());
            }
        };
        let order = JwtRequest {
            right: JwtRight::Mint {
                spiffe_id,
                ttl: ttl(request.ttl),
            },
            audience: request.audience,
        };
        let issued = self
            .server
            .issuer
            .issue_jwt(&caller, order)
            .await
            .map_err(Failure::from)?;
        Ok(Response::new(MintJwtsvidResponse {
            svid: Some(jwt_svid_to_wire(&issued.svid, "")),
        }))
    }

    async fn mint_witsvid(
        &self,
        _request: Request<MintWitsvidRequest>,
    ) -> Result<Response<MintWitsvidResponse>, Status> {
        Err(Kind::Unimplemented.status("this server issues no workload identity tokens"))
    }

    async fn batch_new_x509svid(
        &self,
        request: Request<BatchNewX509svidRequest>,
    ) -> Result<Response<BatchNewX509svidResponse>, Status> {
        let agent = authz::agent(&request)?;
        let caller = Caller::Spiffe(agent.clone());
        let params = request.into_inner().params;
        if params.is_empty() {
            return Err(Kind::Invalid.status("params: one at least is required"));
        }
        check_batch(params.len())?;
        let parsed = super::csr_batch::parse(params.len(), |n| match params.get(n) {
            Some(params) => x509_request(&agent, params),
            None => Err(Failure::internal("the batch is shorter than it was")),
        })
        .await;
        let mut refused = Refused::new(AuditKind::IssueX509, &caller);
        for (params, failure) in params.iter().zip(&parsed.refused) {
            if let Some(failure) = failure {
                refused.add(&params.entry_id, failure);
            }
        }
        refused.record(&self.server.audit).await;
        let mut issued = self
            .server
            .issuer
            .issue_x509(&caller, parsed.good)
            .await
            .into_iter();
        let results = parsed.refused.into_iter().map(|refused| match refused {
            Some(failure) => x509_result(Err(failure.into())),
            None => x509_result(issued.next().unwrap_or_else(|| {
                Err(Failure::internal("an item of the batch has no outcome").into())
            })),
        });
        Ok(Response::new(BatchNewX509svidResponse {
            results: results.collect(),
        }))
    }

    async fn new_jwtsvid(
        &self,
        request: Request<NewJwtsvidRequest>,
    ) -> Result<Response<NewJwtsvidResponse>, Status> {
        let agent = authz::agent(&request)?;
        let caller = Caller::Spiffe(agent.clone());
        let request = request.into_inner();
        let entry = match EntryId::parse(&request.entry_id) {
            Ok(entry) => entry,
            Err(error) => {
                let failure = Failure::invalid(format!("entry_id: {error}"));
                return Err(self
                    .refuse(AuditKind::IssueJwt, &caller, "", failure)
                    .await
                    .into());
            }
        };
        let order = JwtRequest {
            right: JwtRight::Entry { agent, entry },
            audience: request.audience,
        };
        let issued = self
            .server
            .issuer
            .issue_jwt(&caller, order)
            .await
            .map_err(Failure::from)?;
        let hint = issued.entry.as_ref().map_or("", |entry| &entry.hint);
        Ok(Response::new(NewJwtsvidResponse {
            svid: Some(jwt_svid_to_wire(&issued.svid, hint)),
        }))
    }

    async fn batch_new_witsvid(
        &self,
        _request: Request<BatchNewWitsvidRequest>,
    ) -> Result<Response<BatchNewWitsvidResponse>, Status> {
        Err(Kind::Unimplemented.status("this server issues no workload identity tokens"))
    }

    async fn new_downstream_x509ca(
        &self,
        request: Request<NewDownstreamX509caRequest>,
    ) -> Result<Response<NewDownstreamX509caResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        let signed = self.downstream_ca(&caller, &request).await;
        let chain = match signed {
            Ok(chain) => chain,
            Err(failure) => {
                let kind = AuditKind::DownstreamCa;
                return Err(self.refuse(kind, &caller, "", failure).await.into());
            }
        };
        let state = &self.server.state;
        let own = state.registry().bundle(state.trust_domain()).cloned();
        let own = own.ok_or_else(|| Failure::unavailable("this server has no bundle yet"))?;
        let roots = own.x509_authorities.iter();
        Ok(Response::new(NewDownstreamX509caResponse {
            ca_cert_chain: chain.iter().map(|der| der.to_vec().into()).collect(),
            x509_authorities: roots.map(|root| root.der.to_vec().into()).collect(),
        }))
    }
}
