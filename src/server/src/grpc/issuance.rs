//! `bulla.issuance.v1.Issuance`: X.509-SVIDs for keys that the authenticated agent
//! made itself and vouches for. No CSR, so no second signature to check: that
//! check is most of what a CSR-based issuance costs.

use std::sync::Arc;

use api::issuance::issuance_server::Issuance as IssuanceRpc;
use api::issuance::{IssueX509Request, IssueX509Response, issue_x509_request, issue_x509_response};
use api::status::item_ok;
use authority::SubjectKey;
use bytes::Bytes;
use identity::{EntryId, SpiffeId};
use records::AuditKind;
use tonic::{Request, Response, Status};

use super::csr_batch;
use super::items::check_batch;
use super::refused::Refused;
use crate::authz;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::issue::{IssueRefusal, IssuedX509, X509Request, X509Right};
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct IssuanceService {
    server: Arc<Server>,
}

impl IssuanceService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

fn x509_request(agent: &SpiffeId, item: &issue_x509_request::Item) -> Result<X509Request, Failure> {
    let entry = EntryId::parse(&item.entry_id)
        .map_err(|error| Failure::invalid(format!("entry_id: {error}")))?;
    let key = SubjectKey::from_spki(&item.spki)
        .map_err(|error| Failure::invalid(format!("spki: {error}")))?;
    Ok(X509Request {
        right: X509Right::Entry {
            agent: agent.clone(),
            entry,
        },
        key,
    })
}

fn result(issued: Result<IssuedX509, IssueRefusal>) -> issue_x509_response::Result {
    match issued {
        Ok(issued) => {
            let chain = issued.svid.chain.iter();
            issue_x509_response::Result {
                status: Some(item_ok()),
                chain: chain.map(|der| Bytes::copy_from_slice(der)).collect(),
                not_before: issued.svid.not_before.0,
                expires_at: issued.svid.not_after.0,
            }
        }
        Err(refusal) => issue_x509_response::Result {
            status: Some(refusal.kind().item(refusal.to_string())),
            ..Default::default()
        },
    }
}

#[tonic::async_trait]
impl IssuanceRpc for IssuanceService {
    async fn issue_x509(
        &self,
        request: Request<IssueX509Request>,
    ) -> Result<Response<IssueX509Response>, Status> {
        let agent = authz::agent(&request)?;
        let caller = Caller::Spiffe(agent.clone());
        let items = request.into_inner().items;
        check_batch(items.len())?;
        let parsed = csr_batch::parse(items.len(), |n| match items.get(n) {
            Some(item) => x509_request(&agent, item),
            None => Err(Failure::internal("the batch is shorter than it was")),
        })
        .await;
        let mut refused = Refused::new(AuditKind::IssueX509, &caller);
        for (item, failure) in items.iter().zip(&parsed.refused) {
            if let Some(failure) = failure {
                refused.add(&item.entry_id, failure);
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
            Some(failure) => result(Err(failure.into())),
            None => result(issued.next().unwrap_or_else(|| {
                Err(Failure::internal("an item of the batch has no outcome").into())
            })),
        });
        Ok(Response::new(IssueX509Response {
            results: results.collect(),
        }))
    }
}
