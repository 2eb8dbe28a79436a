//! `spire.api.server.trustdomain.v1.TrustDomain`: federation relationships. This
//! server fetches no bundles, so there are none: readers get an empty list, which
//! is true, and writers are told so. Federated bundles are set through `Bundle`.

use api::convert::trust_domain_from_wire;
use api::trustdomain::trust_domain_server::TrustDomain as TrustDomainRpc;
use api::trustdomain::{
    BatchCreateFederationRelationshipRequest, BatchCreateFederationRelationshipResponse,
    BatchDeleteFederationRelationshipRequest, BatchDeleteFederationRelationshipResponse,
    BatchUpdateFederationRelationshipRequest, BatchUpdateFederationRelationshipResponse,
    GetFederationRelationshipRequest, ListFederationRelationshipsRequest,
    ListFederationRelationshipsResponse, RefreshBundleRequest,
};
use api::types::FederationRelationship;
use tonic::{Request, Response, Status};

use super::items::bad_token;
use crate::failure::{Failure, Kind};

/// The service.
#[derive(Clone, Copy)]
pub(super) struct TrustDomainService;

fn none_kept() -> Status {
    Kind::Unimplemented.status(
        "this server keeps no federation relationships; set federated bundles with the Bundle service",
    )
}

fn no_relationship(trust_domain: &str) -> Result<Status, Status> {
    let of = trust_domain_from_wire("trust_domain", trust_domain)?;
    Ok(Failure::not_found(format!("there is no federation relationship with {of}")).into())
}

#[tonic::async_trait]
impl TrustDomainRpc for TrustDomainService {
    async fn list_federation_relationships(
        &self,
        request: Request<ListFederationRelationshipsRequest>,
    ) -> Result<Response<ListFederationRelationshipsResponse>, Status> {
        if !request.get_ref().page_token.is_empty() {
            return Err(bad_token().into());
        }
        Ok(Response::new(ListFederationRelationshipsResponse::default()))
    }

    async fn get_federation_relationship(
        &self,
        request: Request<GetFederationRelationshipRequest>,
    ) -> Result<Response<FederationRelationship>, Status> {
        Err(no_relationship(&request.get_ref().trust_domain)?)
    }

    async fn batch_create_federation_relationship(
        &self,
        _request: Request<BatchCreateFederationRelationshipRequest>,
    ) -> Result<Response<BatchCreateFederationRelationshipResponse>, Status> {
        Err(none_kept())
    }

    async fn batch_update_federation_relationship(
        &self,
        _request: Request<BatchUpdateFederationRelationshipRequest>,
    ) -> Result<Response<BatchUpdateFederationRelationshipResponse>, Status> {
        Err(none_kept())
    }

    async fn batch_delete_federation_relationship(
        &self,
        _request: Request<BatchDeleteFederationRelationshipRequest>,
    ) -> Result<Response<BatchDeleteFederationRelationshipResponse>, Status> {
        Err(none_kept())
    }

    async fn refresh_bundle(
        &self,
        request: Request<RefreshBundleRequest>,
    ) -> Result<Response<()>, Status> {
        Err(no_relationship(&request.get_ref().trust_domain)?)
    }
}
