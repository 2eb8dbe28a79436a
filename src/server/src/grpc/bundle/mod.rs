//! `spire.api.server.bundle.v1.Bundle`: the own bundle for anyone, federated
//! bundles for admins and agents. Adding an authority to the own bundle makes its
//! holder a root of the trust domain: admins alone may, and it is recorded.

mod check;

use std::sync::Arc;

use api::bundle::bundle_server::Bundle as BundleRpc;
use api::bundle::{
    AppendBundleRequest, BatchCreateFederatedBundleRequest, BatchCreateFederatedBundleResponse,
    BatchDeleteFederatedBundleRequest, BatchDeleteFederatedBundleResponse,
    BatchSetFederatedBundleRequest, BatchSetFederatedBundleResponse,
    BatchUpdateFederatedBundleRequest, BatchUpdateFederatedBundleResponse, CountBundlesRequest,
    CountBundlesResponse, GetBundleRequest, GetFederatedBundleRequest, ListFederatedBundlesRequest,
    ListFederatedBundlesResponse, PublishJwtAuthorityRequest, PublishJwtAuthorityResponse,
    PublishWitAuthorityRequest, PublishWitAuthorityResponse,
    batch_create_federated_bundle_response, batch_delete_federated_bundle_request,
    batch_delete_federated_bundle_response, batch_set_federated_bundle_response,
    batch_update_federated_bundle_response,
};
use api::convert::{bundle_from_wire, bundle_to_wire, merge_bundle, trust_domain_from_wire};
use api::status::item_ok;
use api::types::{self, BundleMask};
use identity::{Bundle, TrustDomain};
use records::AuditKind;
use tonic::{Request, Response, Status};

use super::items::{self, List, PageSize, bad_token, check_batch};
use super::refused::Refused;
use crate::authz;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::server::Server;
use crate::state::{BundleDeletion, BundlePut};

/// The service.
#[derive(Clone)]
pub(super) struct BundleService {
    server: Arc<Server>,
}

type Outcome = (types::Status, Option<types::Bundle>);

impl BundleService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    fn own(&self) -> Result<Arc<Bundle>, Failure> {
        let state = &self.server.state;
        let bundle = state.registry().bundle(state.trust_domain()).cloned();
        bundle.ok_or_else(|| Failure::unavailable("this server has no bundle yet; try again"))
    }

    fn federated(&self, of: &TrustDomain) -> Result<Arc<Bundle>, Failure> {
        if of == self.server.state.trust_domain() {
            return Err(Failure::invalid(format!(
                "trust_domain: {of} is this server's own; call GetBundle"
            )));
        }
        let bundle = self.server.state.registry().bundle(of).cloned();
        bundle.ok_or_else(|| Failure::not_found(format!("there is no bundle of {of}")))
    }

    /// Puts one bundle after another: each is a commit of its own, as each may
    /// fail on its own.
    async fn put_all(
        &self,
        caller: &Caller,
        wires: &[types::Bundle],
        put: BundlePut,
        (input, output): (Option<&BundleMask>, Option<&BundleMask>),
    ) -> Vec<Outcome> {
        let mut refused = Refused::new(AuditKind::BundleChange, caller);
        let mut outcomes = Vec::with_capacity(wires.len());
        for wire in wires {
            outcomes.push(match self.put_one(caller, wire, put, input).await {
                Ok(bundle) => (item_ok(), Some(bundle_to_wire(&bundle, output))),
                Err(failure) => {
                    refused.add_for(&wire.trust_domain, &failure);
                    (failure.kind().item(failure.message()), None)
                }
            });
        }
        refused.record(&self.server.audit).await;
        outcomes
    }

    async fn put_one(
        &self,
        caller: &Caller,
        wire: &types::Bundle,
        put: BundlePut,
        input: Option<&BundleMask>,
    ) -> Result<Arc<Bundle>, Failure> {
        let bundle = if put == BundlePut::Update {
            let of = trust_domain_from_wire("bundle.trust_domain", &wire.trust_domain);
            let of = of.map_err(Failure::invalid)?;
            let there = self.federated(&of)?;
            merge_bundle(Bundle::clone(&there), wire, input).map_err(Failure::invalid)?
        } else {
            bundle_from_wire(wire).map_err(Failure::invalid)?
        };
        check::authorities(&bundle)?;
        self.server.state.put_bundle(caller, bundle, put).await
    }

    /// A downstream server's JWT key, for the whole trust domain: here, and above
    /// this server when something is above it.
    async fn publish_jwt(
        &self,
        caller: &Caller,
        request: PublishJwtAuthorityRequest,
    ) -> Result<(), Failure> {
        let wire = types::Bundle {
            trust_domain: self.server.state.trust_domain().as_str().to_owned(),
            jwt_authorities: request.jwt_authority.into_iter().collect(),
            ..Default::default()
        };
        let added = bundle_from_wire(&wire).map_err(Failure::invalid)?;
        check::authorities(&added)?;
        let key = added.jwt_authorities.into_iter().next();
        let key = key.ok_or_else(|| Failure::invalid("jwt_authority: it is required"))?;
        check::downstream_key(&key, self.server.clock.now())?;
        let Caller::Spiffe(id) = caller else {
            return Err(Failure::new(
                Kind::Denied,
                "only downstream servers publish keys",
            ));
        };
        let authorities = &self.server.authorities;
        authorities.publish_of_downstream(caller, id, key).await
    }

    async fn delete_one(
        &self,
        caller: &Caller,
        name: &str,
        mode: BundleDeletion,
    ) -> Result<(), Failure> {
        let of = trust_domain_from_wire("trust_domain", name).map_err(Failure::invalid)?;
        self.server.state.delete_bundle(caller, &of, mode).await
    }
}

fn deletion(mode: i32) -> Result<BundleDeletion, Failure> {
    use batch_delete_federated_bundle_request::Mode;
    match Mode::try_from(mode) {
        Ok(Mode::Restrict) => Ok(BundleDeletion::Restrict),
        Ok(Mode::Delete) => Ok(BundleDeletion::Delete),
        Ok(Mode::Dissociate) => Ok(BundleDeletion::Dissociate),
        Err(_) => Err(Failure::invalid(format!("mode: {mode} is unknown"))),
    }
}

#[tonic::async_trait]
impl BundleRpc for BundleService {
    async fn count_bundles(
        &self,
        _request: Request<CountBundlesRequest>,
    ) -> Result<Response<CountBundlesResponse>, Status> {
        let count = self.server.state.registry().counts().bundles;
        Ok(Response::new(CountBundlesResponse {
            count: i32::try_from(count).unwrap_or(i32::MAX),
        }))
    }

    async fn get_bundle(
        &self,
        request: Request<GetBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        let own = self.own()?;
        if let Caller::Spiffe(agent) = authz::caller(&request)?
            && agent.is_agent()
        {
            self.server.state.note_bundle_given(&agent, own.sequence);
        }
        let mask = request.into_inner().output_mask;
        Ok(Response::new(bundle_to_wire(&own, mask.as_ref())))
    }

    async fn append_bundle(
        &self,
        request: Request<AppendBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        let wire = types::Bundle {
            trust_domain: self.server.state.trust_domain().as_str().to_owned(),
            x509_authorities: request.x509_authorities,
            jwt_authorities: request.jwt_authorities,
            ..Default::default()
        };
        if wire.x509_authorities.is_empty() && wire.jwt_authorities.is_empty() {
            let why = "x509_authorities, jwt_authorities: one at least is required";
            return Err(Kind::Invalid.status(why));
        }
        if !request.wit_authorities.is_empty() {
            return Err(Kind::Invalid.status("wit_authorities: this server keeps none"));
        }
        let added = bundle_from_wire(&wire)?;
        check::authorities(&added)?;
        for key in &added.jwt_authorities {
            check::key_id(key)?;
        }
        let authorities = &self.server.authorities;
        authorities
            .append_to_bundle(&caller, added.x509_authorities, added.jwt_authorities)
            .await?;
        Ok(Response::new(bundle_to_wire(
            &*self.own()?,
            request.output_mask.as_ref(),
        )))
    }

    async fn publish_jwt_authority(
        &self,
        request: Request<PublishJwtAuthorityRequest>,
    ) -> Result<Response<PublishJwtAuthorityResponse>, Status> {
        let caller = authz::caller(&request)?;
        let published = self.publish_jwt(&caller, request.into_inner()).await;
        if let Err(failure) = published {
            let mut refused = Refused::new(AuditKind::BundleChange, &caller);
            refused.add_for(self.server.state.trust_domain().as_str(), &failure);
            refused.record(&self.server.audit).await;
            return Err(failure.into());
        }
        let own = bundle_to_wire(&*self.own()?, None);
        Ok(Response::new(PublishJwtAuthorityResponse {
            jwt_authorities: own.jwt_authorities,
        }))
    }

    async fn publish_wit_authority(
        &self,
        _request: Request<PublishWitAuthorityRequest>,
    ) -> Result<Response<PublishWitAuthorityResponse>, Status> {
        Err(Kind::Unimplemented.status(
            "this server publishes no keys of WIT-SVIDs, its own or others'; nothing verifies by them here",
        ))
    }

    async fn list_federated_bundles(
        &self,
        request: Request<ListFederatedBundlesRequest>,
    ) -> Result<Response<ListFederatedBundlesResponse>, Status> {
        let request = request.into_inner();
        let size = PageSize::from_wire(request.page_size);
        let after = items::page_start(List::Bundles, &request.page_token)?;
        let after = after.map(|td| TrustDomain::parse(td).map_err(|_unreadable| bad_token()));
        let after = after.transpose()?;
        let own = self.server.state.trust_domain();
        let mut bundles: Vec<Arc<Bundle>> = {
            let registry = self.server.state.registry();
            let federated = registry
                .bundles()
                .filter(|bundle| bundle.trust_domain != *own);
            let rest = federated.filter(|bundle| {
                after
                    .as_ref()
                    .is_none_or(|after| bundle.trust_domain > *after)
            });
            rest.take(size.limit().saturating_add(1)).cloned().collect()
        };
        let more = bundles.len() > size.limit();
        bundles.truncate(size.limit());
        let mask = request.output_mask.as_ref();
        let filled = items::fill(&bundles, size, |bundle| bundle_to_wire(bundle, mask))?;
        let last = filled
            .messages
            .last()
            .map(|bundle| bundle.trust_domain.clone());
        let next = if more || filled.cut { last } else { None };
        Ok(Response::new(ListFederatedBundlesResponse {
            bundles: filled.messages,
            next_page_token: next
                .map_or_else(String::new, |last| items::page_token(List::Bundles, &last)),
        }))
    }

    async fn get_federated_bundle(
        &self,
        request: Request<GetFederatedBundleRequest>,
    ) -> Result<Response<types::Bundle>, Status> {
        let request = request.into_inner();
        let of = trust_domain_from_wire("trust_domain", &request.trust_domain)?;
        let bundle = self.federated(&of)?;
        Ok(Response::new(bundle_to_wire(
            &bundle,
            request.output_mask.as_ref(),
        )))
    }

    async fn batch_create_federated_bundle(
        &self,
        request: Request<BatchCreateFederatedBundleRequest>,
    ) -> Result<Response<BatchCreateFederatedBundleResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        check_batch(request.bundle.len())?;
        let masks = (None, request.output_mask.as_ref());
        let outcomes = self
            .put_all(&caller, &request.bundle, BundlePut::Create, masks)
            .await;
        let results = outcomes.into_iter().map(|(status, bundle)| {
            batch_create_federated_bundle_response::Result {
                status: Some(status),
                bundle,
            }
        });
        Ok(Response::new(BatchCreateFederatedBundleResponse {
            results: results.collect(),
        }))
    }

    async fn batch_update_federated_bundle(
        &self,
        request: Request<BatchUpdateFederatedBundleRequest>,
    ) -> Result<Response<BatchUpdateFederatedBundleResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        check_batch(request.bundle.len())?;
        let masks = (request.input_mask.as_ref(), request.output_mask.as_ref());
        let outcomes = self
            .put_all(&caller, &request.bundle, BundlePut::Update, masks)
            .await;
        let results = outcomes.into_iter().map(|(status, bundle)| {
            batch_update_federated_bundle_response::Result {
                status: Some(status),
                bundle,
            }
        });
        Ok(Response::new(BatchUpdateFederatedBundleResponse {
            results: results.collect(),
        }))
    }

    async fn batch_set_federated_bundle(
        &self,
        request: Request<BatchSetFederatedBundleRequest>,
    ) -> Result<Response<BatchSetFederatedBundleResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        check_batch(request.bundle.len())?;
        let masks = (None, request.output_mask.as_ref());
        let outcomes = self
            .put_all(&caller, &request.bundle, BundlePut::Set, masks)
            .await;
        let results = outcomes.into_iter().map(|(status, bundle)| {
            batch_set_federated_bundle_response::Result {
                status: Some(status),
                bundle,
            }
        });
        Ok(Response::new(BatchSetFederatedBundleResponse {
            results: results.collect(),
        }))
    }

    async fn batch_delete_federated_bundle(
        &self,
        request: Request<BatchDeleteFederatedBundleRequest>,
    ) -> Result<Response<BatchDeleteFederatedBundleResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        check_batch(request.trust_domains.len())?;
        let mode = deletion(request.mode)?;
        let mut refused = Refused::new(AuditKind::BundleChange, &caller);
        let mut results = Vec::with_capacity(request.trust_domains.len());
        for trust_domain in request.trust_domains {
            let status = match self.delete_one(&caller, &trust_domain, mode).await {
                Ok(()) => item_ok(),
                Err(failure) => {
                    refused.add_for(&trust_domain, &failure);
                    failure.kind().item(failure.message())
                }
            };
            results.push(batch_delete_federated_bundle_response::Result {
                status: Some(status),
                trust_domain,
            });
        }
        refused.record(&self.server.audit).await;
        Ok(Response::new(BatchDeleteFederatedBundleResponse {
            results,
        }))
    }
}
