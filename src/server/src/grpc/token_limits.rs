//! `bulla.entries.v1.Limits`: what tokens an entry's workloads can have at most.

use std::sync::Arc;

use api::entries::limits_server::Limits as LimitsRpc;
use api::entries::{
    ListTokenLimitsRequest, ListTokenLimitsResponse, SetTokenLimitsRequest, TokenLimits,
};
use identity::{EntryId, Seconds};
use policy::Audience;
use records::TokenLimitsRecord;
use tonic::{Request, Response, Status};

use crate::authz;
use crate::failure::Failure;
use crate::limits::MAX_LIMIT_AUDIENCES;
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct LimitsService {
    server: Arc<Server>,
}

impl LimitsService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

fn parse(wire: TokenLimits) -> Result<TokenLimitsRecord, Failure> {
    let entry = EntryId::parse(&wire.entry_id)
        .map_err(|error| Failure::invalid(format!("limits.entry_id: {error}")))?;
    checked(wire, entry)
}

/// The limits that come with an entry, and so name none themselves.
///
/// # Errors
/// They name an entry, an audience is none, or there are too many.
pub(super) fn of_entry(wire: TokenLimits, entry: &EntryId) -> Result<TokenLimitsRecord, Failure> {
    if !wire.entry_id.is_empty() && wire.entry_id != entry.as_str() {
        let why = "limits.entry_id: these limits come with another entry; leave it empty";
        return Err(Failure::invalid(why));
    }
    checked(wire, entry.clone())
}

fn checked(wire: TokenLimits, entry: EntryId) -> Result<TokenLimitsRecord, Failure> {
    if wire.audiences.len() > MAX_LIMIT_AUDIENCES {
        let text = format!("limits.audiences: more than {MAX_LIMIT_AUDIENCES}");
        return Err(Failure::invalid(text));
    }
    for audience in &wire.audiences {
        Audience::parse(audience)
            .map_err(|error| Failure::invalid(format!("limits.audiences: {error}")))?;
    }
    Ok(TokenLimitsRecord {
        entry,
        audiences: wire.audiences,
        max_ttl: (wire.max_ttl_seconds != 0).then_some(Seconds(wire.max_ttl_seconds)),
    })
}

fn to_wire(limits: &TokenLimitsRecord) -> TokenLimits {
    TokenLimits {
        entry_id: limits.entry.as_str().to_owned(),
        audiences: limits.audiences.clone(),
        max_ttl_seconds: limits.max_ttl.map_or(0, |span| span.0),
    }
}

#[tonic::async_trait]
impl LimitsRpc for LimitsService {
    async fn set(
        &self,
        request: Request<SetTokenLimitsRequest>,
    ) -> Result<Response<TokenLimits>, Status> {
        let caller = authz::caller(&request)?;
        let limits = request.into_inner().limits;
        let limits = limits.ok_or_else(|| Failure::invalid("limits: they are required"))?;
        let limits = parse(limits)?;
        self.server.state.set_token_limits(&caller, &limits).await?;
        Ok(Response::new(to_wire(&limits)))
    }

    async fn list(
        &self,
        request: Request<ListTokenLimitsRequest>,
    ) -> Result<Response<ListTokenLimitsResponse>, Status> {
        let entry = request.into_inner().entry_id;
        let all = self.server.state.all_token_limits();
        let wanted = all
            .iter()
            .filter(|limits| entry.is_empty() || limits.entry.as_str() == entry);
        Ok(Response::new(ListTokenLimitsResponse {
            limits: wanted.map(|limits| to_wire(limits)).collect(),
        }))
    }
}
