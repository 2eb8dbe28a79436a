//! `bulla.audit.v1.Audit`: the decision log for admins.

use std::sync::Arc;

use api::audit::audit_server::Audit as AuditRpc;
use api::audit::{HeadRequest, HeadResponse, ListRequest, Record, VerifyRequest, VerifyResponse};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use journal::Head;
use records::AuditKind;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::audit::{AuditFilter, AuditOrder, Seen};
use crate::failure::{Failure, Kind};
use crate::server::Server;

/// The most kinds in one filter.
const MAX_KINDS: usize = 64;

/// The service.
#[derive(Clone)]
pub(super) struct AuditService {
    server: Arc<Server>,
}

impl AuditService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

fn order(request: ListRequest) -> Result<AuditOrder, Failure> {
    if request.kinds.len() > MAX_KINDS {
        return Err(Failure::invalid(format!(
            "kinds: more than {MAX_KINDS} given"
        )));
    }
    let kinds = request.kinds.iter().map(|name| {
        AuditKind::parse(name).ok_or_else(|| {
            let known: Vec<_> = AuditKind::ALL.iter().map(|kind| kind.as_str()).collect();
            Failure::invalid(format!(
                "kinds: {name:?} is none; there are {}",
                known.join(", ")
            ))
        })
    });
    Ok(AuditOrder {
        filter: AuditFilter {
            kinds: kinds.collect::<Result<_, _>>()?,
            spiffe_id: request.spiffe_id,
            entry_id: request.entry_id,
            refused_only: request.refused_only,
            since_ms: request.since_ms,
        },
        from_seq: request.from_seq,
        limit: usize::try_from(request.limit).unwrap_or(usize::MAX),
        newest: request.newest,
        follow: request.follow,
    })
}

fn to_wire(seen: &Seen) -> Record {
    let view = seen.record.view();
    let credential_id = if view.serial.is_empty() {
        view.jti.to_owned()
    } else {
        hex::encode(view.serial)
    };
    Record {
        seq: seen.seq,
        at_ms: view.at_ms,
        kind: view.kind.as_str().to_owned(),
        who: view.caller.to_string(),
        for_whom: view.for_whom.to_owned(),
        entry_id: view.entry_id.to_owned(),
        credential_id,
        not_after: view.not_after,
        authority_id: view.authority_id.to_owned(),
        result: view.outcome.as_str().to_owned(),
        reason: view.reason.to_owned(),
        detail: view.detail.to_owned(),
        hash: Bytes::copy_from_slice(&seen.hash),
        previous_hash: Bytes::copy_from_slice(&seen.previous_hash),
    }
}

#[tonic::async_trait]
impl AuditRpc for AuditService {
    type ListStream = BoxStream<'static, Result<Record, Status>>;

    async fn list(
        &self,
        request: Request<ListRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let records = self.server.audit.list(order(request.into_inner())?)?;
        let stream = ReceiverStream::new(records)
            .map(|seen| seen.map(|seen| to_wire(&seen)).map_err(Status::from));
        Ok(Response::new(stream.boxed()))
    }

    async fn head(&self, _request: Request<HeadRequest>) -> Result<Response<HeadResponse>, Status> {
        let head = self.server.audit.head();
        Ok(Response::new(HeadResponse {
            seq: head.seq,
            hash: Bytes::copy_from_slice(&head.hash),
        }))
    }

    async fn verify(
        &self,
        request: Request<VerifyRequest>,
    ) -> Result<Response<VerifyResponse>, Status> {
        let request = request.into_inner();
        let known = match (request.seq, request.hash.as_ref()) {
            (0, []) => None,
            (seq, hash) => Some(Head {
                seq,
                hash: hash
                    .try_into()
                    .or(Err(Kind::Invalid.status("hash: 32 bytes are expected")))?,
            }),
        };
        let checked = self.server.audit.verify(known).await?;
        let mut response = VerifyResponse {
            intact: checked.fault.is_none(),
            ..Default::default()
        };
        if let Some(head) = checked.head {
            response.seq = head.seq;
            response.hash = Bytes::copy_from_slice(&head.hash);
            response.records = checked.records;
        }
        if let Some((seq, fault)) = checked.fault {
            response.fault_seq = seq;
            response.fault = fault;
        }
        Ok(Response::new(response))
    }
}
