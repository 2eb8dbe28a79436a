//! `bulla.token.v1`: agents ask for tokens in their workloads' names; admins ask why.

use std::sync::Arc;

use api::token::explain_server::Explain as ExplainRpc;
use api::token::mint_request::Binding as WireBinding;
use api::token::tokens_server::Tokens as TokensRpc;
use api::token::{
    Error, ExplainDecisionRequest, ExplainTokenRequest, ExplainedDecision, Granted, Holder,
    Holding, MintRequest, MintResponse, NearMiss, PolicyRef, Refused, Warning, WhatCanRequest,
    WhatCanResponse, WhoCanRequest, WhoCanResponse,
};
use bytes::Bytes;
use channel::RemoteAddress;
use identity::{EntryId, MAX_SELECTORS, Selector, Selectors, SpiffeId, Timestamp};
use policy::{Binding, TokenRequest};
use tonic::{Request, Response, Status};

use crate::authz;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::server::Server;
use crate::tokens::{ASSUMPTIONS, Ask, Can, Explained, Mint, Question};

/// The service for agents.
#[derive(Clone)]
pub(super) struct TokensService {
    server: Arc<Server>,
}

impl TokensService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

fn binding(request: &MintRequest) -> Result<Option<Binding>, Failure> {
    let (field, bytes) = match &request.binding {
        None => return Ok(None),
        Some(WireBinding::CertificateSha256(bytes)) => ("certificate_sha256", bytes),
        Some(WireBinding::KeyThumbprint(bytes)) => ("key_thumbprint", bytes),
    };
    let wrong = |_| Failure::invalid(format!("{field}: 32 bytes are expected"));
    let sha256: [u8; 32] = <[u8; 32]>::try_from(bytes.as_ref()).map_err(wrong)?;
    if field == "key_thumbprint" {
        return Ok(Some(Binding::Key(sha256)));
    }
    if request.svid_not_after <= 0 {
        return Err(Failure::invalid(
            "svid_not_after: it is required beside certificate_sha256",
        ));
    }
    Ok(Some(Binding::Certificate(sha256)))
}

fn selectors(texts: &[String]) -> Result<Selectors, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::invalid(format!("selectors: {error}"));
    if texts.len() > MAX_SELECTORS {
        return Err(invalid(&format!("more than {MAX_SELECTORS}")));
    }
    let parsed = texts.iter().map(|text| Selector::parse(text));
    let list: Result<Vec<_>, _> = parsed.collect();
    Selectors::new(list.map_err(|e| invalid(&e))?).map_err(|e| invalid(&e))
}

fn ask(agent: SpiffeId, from: Option<&RemoteAddress>, wire: MintRequest) -> Result<Ask, Failure> {
    let entry = EntryId::parse(&wire.entry_id)
        .map_err(|error| Failure::invalid(format!("entry_id: {error}")))?;
    let binding = binding(&wire)?;
    let details: Vec<serde_json::Value> = match wire.authorization_details.as_str() {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|error| {
            Failure::invalid(format!(
                "authorization_details: a JSON array is expected: {error}"
            ))
        })?,
    };
    Ok(Ask {
        agent,
        source_ip: from.map(|address| address.0.ip().to_canonical()),
        entry,
        binding,
        svid_not_after: (wire.svid_not_after > 0).then_some(Timestamp(wire.svid_not_after)),
        selectors: selectors(&wire.selectors)?,
        attested_at: Timestamp(wire.attested_at),
        request: TokenRequest {
            audience: wire.audience,
            permissions: wire.permissions,
            authorization_details: details,
            ttl: (wire.ttl_seconds != 0).then_some(wire.ttl_seconds),
            profile: (!wire.profile.is_empty()).then_some(wire.profile),
            all_or_nothing: wire.all_or_nothing,
        },
    })
}

fn policies(refs: &[policy::PolicyRef]) -> Vec<PolicyRef> {
    let refs = refs.iter().map(|policy| PolicyRef {
        id: policy.id.clone(),
        owner: policy.owner.clone(),
        rationale: policy.rationale.clone(),
    });
    refs.collect()
}

fn refused(refused: &policy::Refused) -> Refused {
    let nearest = refused.nearest.iter().map(|near| NearMiss {
        policy: near.policy.clone(),
        failed: near.failed.clone(),
    });
    Refused {
        permission: refused.permission.clone(),
        code: refused.code.as_str().to_owned(),
        reason: refused.reason.clone(),
        policies: policies(&refused.policies),
        nearest: nearest.collect(),
    }
}

fn response(mint: Mint) -> MintResponse {
    let record = mint.record;
    let mut wire = MintResponse {
        profile: record.profile.clone().unwrap_or_default(),
        refused: record.refused.iter().map(refused).collect(),
        policy_set: record.policy_set.to_string(),
        catalogue: record.catalogue.to_string(),
        decision_id: record.id,
        ..Default::default()
    };
    if let Some(error) = record.error {
        wire.error = Some(Error {
            code: error.code.as_str().to_owned(),
            description: error.reason,
            retry_after_seconds: mint.retry_after,
        });
    }
    let Some(token) = mint.token else {
        return wire;
    };
    let details: Vec<_> = record.granted.iter().flat_map(|g| &g.details).collect();
    if !details.is_empty() {
        wire.authorization_details = serde_json::json!(details).to_string();
    }
    wire.granted = record
        .granted
        .iter()
        .map(|granted| Granted {
            permission: granted.permission.as_str().to_owned(),
            policies: policies(&granted.policies),
        })
        .collect();
    wire.warnings = record
        .warnings
        .into_iter()
        .map(|warning| Warning {
            permission: warning.permission.as_str().to_owned(),
            text: warning.text,
        })
        .collect();
    wire.limited_by = record
        .limited_by
        .and_then(|limit| {
            serde_json::to_value(limit)
                .ok()?
                .as_str()
                .map(str::to_owned)
        })
        .unwrap_or_default();
    wire.jti = record.jti.unwrap_or_default();
    wire.token = token.token.as_ref().to_owned();
    wire.issued_at = token.issued_at.0;
    wire.expires_at = token.expires_at.0;
    wire.renew_at = token.issued_at.0.midpoint(token.expires_at.0);
    wire
}

#[tonic::async_trait]
impl TokensRpc for TokensService {
    async fn mint(&self, request: Request<MintRequest>) -> Result<Response<MintResponse>, Status> {
        let agent = authz::agent(&request)?;
        let caller = Caller::Spiffe(agent.clone());
        let from = request.extensions().get::<RemoteAddress>().copied();
        let ask = ask(agent, from.as_ref(), request.into_inner())?;
        let minted = self.server.tokens.mint(&caller, ask).await;
        let minted = minted.map_err(Failure::from)?;
        Ok(Response::new(response(minted)))
    }
}

/// The service for admins.
#[derive(Clone)]
pub(super) struct ExplainService {
    server: Arc<Server>,
}

impl ExplainService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }
}

fn explained(found: Explained) -> Response<ExplainedDecision> {
    Response::new(ExplainedDecision {
        record: found.json,
        seq: found.seq,
        hash: Bytes::copy_from_slice(&found.hash),
        policy_set_active: found.active,
    })
}

fn assumptions() -> Vec<String> {
    ASSUMPTIONS.map(str::to_owned).to_vec()
}

#[tonic::async_trait]
impl ExplainRpc for ExplainService {
    async fn token(
        &self,
        request: Request<ExplainTokenRequest>,
    ) -> Result<Response<ExplainedDecision>, Status> {
        let question = Question::Token(request.into_inner().jti);
        Ok(explained(self.server.tokens.explain(question).await?))
    }

    async fn decision(
        &self,
        request: Request<ExplainDecisionRequest>,
    ) -> Result<Response<ExplainedDecision>, Status> {
        let question = Question::Decision(request.into_inner().id);
        Ok(explained(self.server.tokens.explain(question).await?))
    }

    async fn who_can(
        &self,
        request: Request<WhoCanRequest>,
    ) -> Result<Response<WhoCanResponse>, Status> {
        let WhoCanRequest {
            permission,
            audience,
        } = request.into_inner();
        let reach = self.server.tokens.who_can(&permission, &audience).await?;
        let holder = |can: &Can| Holder {
            spiffe_id: can.spiffe_id.clone(),
            entry_id: can.entry_id.clone(),
            policies: policies(&can.policies),
            conditions: can.conditions.clone(),
        };
        Ok(Response::new(WhoCanResponse {
            holders: reach.can.iter().map(holder).collect(),
            possible: reach.possible.iter().map(holder).collect(),
            examined: u32::try_from(reach.examined).unwrap_or(u32::MAX),
            policy_set: reach.policy_set.to_string(),
            assumptions: assumptions(),
        }))
    }

    async fn what_can(
        &self,
        request: Request<WhatCanRequest>,
    ) -> Result<Response<WhatCanResponse>, Status> {
        let spiffe_id = request.into_inner().spiffe_id;
        let reach = self.server.tokens.what_can(&spiffe_id).await?;
        let holding = |can: &Can| Holding {
            audience: can.audience.clone(),
            permission: can.permission.clone(),
            entry_id: can.entry_id.clone(),
            policies: policies(&can.policies),
            conditions: can.conditions.clone(),
        };
        Ok(Response::new(WhatCanResponse {
            holdings: reach.can.iter().map(holding).collect(),
            possible: reach.possible.iter().map(holding).collect(),
            policy_set: reach.policy_set.to_string(),
            assumptions: assumptions(),
        }))
    }
}
