//! What a mint grants, refuses, records and outlives; policy sets coming, going and
//! coming back.

mod glass;
mod mints;
mod sets;

use std::sync::Arc;

use identity::{Entry, Timestamp};
use policy::{Binding, DecisionRecord, SourceFile, TokenRequest};
use records::{AuditKind, AuditOutcome};
use serde_json::Value;

use super::{Ask, Mint, PolicyPlan, Proposal};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::issue::IssueRefusal;
use crate::rig::{ADMIN, Agent, Rig, selectors};

const CATALOGUE: &str = "
audience: payments
owner: team-payments
description: Charges cards.
profiles: [at+jwt, jwt-svid]
max_ttl: 10m
default_ttl: 5m
permissions:
  - name: payments:charge
    description: Charge.
    risk: low
  - name: payments:read
    description: Read.
    risk: low
  - name: payments:refund
    description: Give money back.
    risk: high
";

const POLICIES: &str = r#"
@id("pay-1") @owner("team-payments") @rationale("checkout charges") @max_ttl("4m")
permit (principal in Path::"spiffe://example.org/checkout", action == Action::"payments:charge", resource == Audience::"payments");
@id("pay-2") @owner("team-payments") @rationale("and reads, but not often") @rate("2/1m")
permit (principal in Path::"spiffe://example.org/checkout", action == Action::"payments:read", resource == Audience::"payments");
@id("pay-3") @owner("team-payments") @rationale("refunds in emergencies only")
permit (principal in Path::"spiffe://example.org/checkout", action == Action::"payments:refund", resource == Audience::"payments")
when { context has breakGlass };
"#;

const GUARDRAIL: &str = r#"
@id("guard-1") @owner("team-security") @rationale("nobody reads on Sundays")
forbid (principal, action == Action::"payments:read", resource) when { context.weekday == 7 };
"#;

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.into(),
        text: text.into(),
    }
}

/// The policy set of these tests; `more` is added to the policies.
fn files(more: &str) -> Vec<SourceFile> {
    vec![
        file("catalogue/payments.yaml", CATALOGUE),
        file("policies/payments.cedar", &format!("{POLICIES}{more}")),
    ]
}

fn with_guardrail() -> Vec<SourceFile> {
    let mut files = files("");
    files.push(file("guardrails/security.cedar", GUARDRAIL));
    files
}

/// A server with the policy set, a node and a workload on it.
struct World {
    rig: Rig,
    agent: Agent,
    entry: Arc<Entry>,
}

impl World {
    async fn new() -> Self {
        let world = Self::without_policies(Rig::memory().await).await;
        world.apply(files("")).await.1.unwrap();
        world
    }

    async fn without_policies(rig: Rig) -> Self {
        let agent = rig.agent().await;
        let entry = rig.create(rig.entry(&agent.id, "checkout")).await;
        Self { rig, agent, entry }
    }

    async fn apply(
        &self,
        files: Vec<SourceFile>,
    ) -> (PolicyPlan, Option<Arc<records::ActivationRecord>>) {
        self.try_apply(files, "").await.unwrap()
    }

    async fn try_apply(
        &self,
        files: Vec<SourceFile>,
        expected: &str,
    ) -> Result<(PolicyPlan, Option<Arc<records::ActivationRecord>>), Failure> {
        let proposal = Proposal {
            files,
            expected: expected.into(),
            comment: "a test".into(),
        };
        self.rig.server.tokens.activate(&ADMIN, proposal).await
    }

    fn ask(&self, permissions: &[&str]) -> Ask {
        let now = self.rig.clock.now();
        Ask {
            agent: self.agent.id.clone(),
            source_ip: Some([10, 0, 0, 7].into()),
            entry: self.entry.id.clone(),
            request: TokenRequest {
                audience: "payments".into(),
                permissions: permissions.iter().map(|p| (*p).into()).collect(),
                ..TokenRequest::default()
            },
            binding: Some(Binding::Certificate([7; 32])),
            svid_not_after: Some(Timestamp(now.0 + 1_800)),
            selectors: selectors(&["unix:uid:1000"]),
            attested_at: now,
        }
    }

    async fn mint(&self, ask: Ask) -> Result<Mint, IssueRefusal> {
        let caller = Caller::Spiffe(self.agent.id.clone());
        self.rig.server.tokens.mint(&caller, ask).await
    }

    /// Mints, and says how long the token lives and why it ends.
    async fn life(&self, ask: Ask) -> (i64, String) {
        let mint = self.mint(ask).await.unwrap();
        let token = mint.token.expect("a token");
        let limit = serde_json::to_value(mint.record.limited_by.unwrap()).unwrap();
        let life = token.expires_at.0 - token.issued_at.0;
        (life, limit.as_str().unwrap().to_owned())
    }

    /// The OAuth code of a refusal and its reason.
    async fn refusal(&self, ask: Ask) -> (String, String) {
        let mint = self.mint(ask).await.unwrap();
        assert!(mint.token.is_none());
        let error = mint.record.error.unwrap();
        (error.code.as_str().to_owned(), error.reason)
    }

    /// The decisions on record.
    fn decisions(&self) -> Vec<DecisionRecord> {
        let records = self.rig.records();
        let all = records.iter().map(records::AuditRecord::view);
        let decisions = all.filter(|v| v.kind == AuditKind::Decision && !v.detail.is_empty());
        decisions
            .map(|v| DecisionRecord::from_json(v.detail.as_bytes()).unwrap())
            .collect()
    }

    fn granted(&self) -> usize {
        self.rig.count(AuditKind::Decision, AuditOutcome::Granted)
    }

    fn refused(&self) -> usize {
        self.rig.count(AuditKind::Decision, AuditOutcome::Refused)
    }
}

/// Header and claims of a token.
fn parts(mint: &Mint) -> (Value, Value) {
    use base64::Engine as _;
    let token = &mint.token.as_ref().expect("a token").token;
    let part = |n: usize| {
        let text = token.split('.').nth(n).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text);
        serde_json::from_slice(&bytes.unwrap()).unwrap()
    };
    (part(0), part(1))
}
