//! `spire.api.server.agent.v1.Agent`: attestation for anyone, renewal for agents,
//! administration for admins.

mod attest;
mod filter;
mod time;

use std::sync::Arc;

use api::agent::agent_server::Agent as AgentRpc;
use api::agent::{
    AttestAgentRequest, AttestAgentResponse, BanAgentRequest, CountAgentsRequest,
    CountAgentsResponse, CreateJoinTokenRequest, DeleteAgentRequest, GetAgentRequest,
    ListAgentsRequest, ListAgentsResponse, PostStatusRequest, PostStatusResponse,
    RenewAgentRequest, RenewAgentResponse,
};
use api::convert::{id_from_wire, node_to_wire, optional_id_from_wire, x509_svid_to_wire};
use api::status;
use api::types::{self, permission_denied_details::Reason};
use futures_util::stream::BoxStream;
use identity::{Seconds, SpiffeId};
use join_token::JoinToken;
use tonic::{Request, Response, Status, Streaming};

use super::items::{self, List, PageSize, bad_token};
use crate::attest::{MUST_REATTEST, TokenOrder};
use crate::authz;
use crate::failure::{Failure, Kind};
use crate::server::Server;

/// The service.
#[derive(Clone)]
pub(super) struct AgentService {
    server: Arc<Server>,
}

impl AgentService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Reads the ID of an agent of this trust domain.
    fn agent_id(&self, wire: Option<&types::Spiffeid>) -> Result<SpiffeId, Status> {
        let id = id_from_wire("id", wire)?;
        let td = self.server.state.trust_domain();
        if id.is_member_of(td) && id.is_agent() {
            return Ok(id);
        }
        let message =
            format!("id: {id} is not an agent's; those are spiffe://{td}/spire/agent/...");
        Err(Kind::Invalid.status(message))
    }
}

fn token_order(request: CreateJoinTokenRequest) -> Result<TokenOrder, Failure> {
    let ttl = match u32::try_from(request.ttl) {
        Ok(0) => None,
        Ok(ttl) => Some(Seconds(ttl)),
        Err(_) => {
            return Err(Failure::invalid(
                "ttl: it is negative; 0 is the server's default",
            ));
        }
    };
    let token = match request.token.as_str() {
        "" => None,
        text => {
            let token = JoinToken::parse(text);
            Some(token.map_err(|error| Failure::invalid(format!("token: {error}")))?)
        }
    };
    let alias = optional_id_from_wire("agent_id", request.agent_id.as_ref());
    Ok(TokenOrder {
        ttl,
        token,
        alias: alias.map_err(Failure::invalid)?,
    })
}

#[tonic::async_trait]
impl AgentRpc for AgentService {
    type AttestAgentStream = BoxStream<'static, Result<AttestAgentResponse, Status>>;

    async fn count_agents(
        &self,
        request: Request<CountAgentsRequest>,
    ) -> Result<Response<CountAgentsResponse>, Status> {
        let filter = filter::from_count(request.into_inner().filter)?;
        let registry = self.server.state.registry();
        let count = registry.nodes().filter(|node| filter.matches(node)).count();
        Ok(Response::new(CountAgentsResponse {
            count: i32::try_from(count).unwrap_or(i32::MAX),
        }))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        let request = request.into_inner();
        let filter = filter::from_list(request.filter)?;
        let size = PageSize::from_wire(request.page_size);
        let after = items::page_start(List::Agents, &request.page_token)?;
        let after = after.map(|id| SpiffeId::parse(id).map_err(|_unreadable| bad_token()));
        let after = after.transpose()?;
        let page = self
            .server
            .state
            .registry()
            .list_nodes(&filter, after.as_ref(), size.limit());
        let mask = request.output_mask.as_ref();
        let filled = items::fill(&page.items, size, |node| node_to_wire(node, mask))?;
        let next = if filled.cut {
            let last = filled.messages.len().checked_sub(1);
            last.and_then(|n| page.items.get(n))
                .map(|node| node.id.as_str().to_owned())
        } else {
            page.next.map(|id| id.as_str().to_owned())
        };
        Ok(Response::new(ListAgentsResponse {
            agents: filled.messages,
            next_page_token: next
                .map_or_else(String::new, |last| items::page_token(List::Agents, &last)),
        }))
    }

    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<types::Agent>, Status> {
        let request = request.into_inner();
        let id = self.agent_id(request.id.as_ref())?;
        let node = self.server.state.registry().node(&id).cloned();
        let node = node.ok_or_else(|| Failure::not_found(format!("there is no node {id}")))?;
        Ok(Response::new(node_to_wire(
            &node,
            request.output_mask.as_ref(),
        )))
    }

    async fn delete_agent(
        &self,
        request: Request<DeleteAgentRequest>,
    ) -> Result<Response<()>, Status> {
        let caller = authz::caller(&request)?;
        let id = self.agent_id(request.get_ref().id.as_ref())?;
        self.server.attestation.evict(&caller, &id).await?;
        Ok(Response::new(()))
    }

    async fn ban_agent(&self, request: Request<BanAgentRequest>) -> Result<Response<()>, Status> {
        let caller = authz::caller(&request)?;
        let id = self.agent_id(request.get_ref().id.as_ref())?;
        self.server.attestation.ban(&caller, &id).await?;
        Ok(Response::new(()))
    }

    async fn attest_agent(
        &self,
        request: Request<Streaming<AttestAgentRequest>>,
    ) -> Result<Response<Self::AttestAgentStream>, Status> {
        let caller = authz::caller(&request)?;
        let attestation = self.server.attestation.clone();
        let steps = attest::steps(attestation, caller, request.into_inner());
        Ok(Response::new(Box::pin(steps)))
    }

    async fn renew_agent(
        &self,
        request: Request<RenewAgentRequest>,
    ) -> Result<Response<RenewAgentResponse>, Status> {
        let agent = authz::agent(&request)?;
        let params = request.into_inner().params.unwrap_or_default();
        let renewed = self.server.attestation.renew(&agent, &params.csr).await;
        let svid = renewed.map_err(|failure| match failure.message() {
            MUST_REATTEST => status::denied(Reason::AgentMustReattest, MUST_REATTEST),
            _ => failure.into(),
        })?;
        Ok(Response::new(RenewAgentResponse {
            svid: Some(x509_svid_to_wire(&svid, "")),
        }))
    }

    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<types::JoinToken>, Status> {
        let caller = authz::caller(&request)?;
        let order = token_order(request.into_inner())?;
        let created = self.server.attestation.create_token(&caller, order).await?;
        Ok(Response::new(types::JoinToken {
            value: created.token.expose().to_owned(),
            expires_at: created.expires_at.0,
        }))
    }

    async fn post_status(
        &self,
        request: Request<PostStatusRequest>,
    ) -> Result<Response<PostStatusResponse>, Status> {
        let agent = authz::agent(&request)?;
        let version = &request.get_ref().agent_version;
        self.server.attestation.post_status(&agent, version).await?;
        Ok(Response::new(PostStatusResponse {}))
    }
}
