//! One attestation, from the first message to the agent's first SVID.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use authority::{LeafSubject, SubjectKey};
use contract::{Exchange, Facts, OneTime, Verdict, advance};
use identity::{Node, Selectors, SpiffeId, Timestamp, X509Svid};
use records::{AuditKind, key};
use store::{Condition, Key, Write};
use tokio::sync::OwnedSemaphorePermit;

use super::attestors::Host;
use super::retry::Answered;
use super::{Attestation, Claim};
use crate::audit::Refusal;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::limits;
use crate::metrics;
use crate::state::{CommitFailure, stored};

/// One attestation under way; it holds one of the slots.
pub(crate) struct Session {
    attestation: Attestation,
    caller: Caller,
    /// Which attestor, by its place in the list.
    attestor: usize,
    kind: &'static str,
    key: SubjectKey,
    exchange: Exchange,
    _slot: OwnedSemaphorePermit,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Step {
    /// The node must answer these bytes.
    Challenge(Vec<u8>),
    /// The node is attested.
    Done(Attested),
}

/// An attested node's first (or new) SVID.
#[derive(Debug)]
pub(crate) struct Attested {
    /// The agent's SVID.
    pub svid: X509Svid,
    /// Whether it may attest again by itself.
    pub can_reattest: bool,
}

impl Attestation {
    /// Begins an attestation: waits for a slot, finds the attestor, checks the CSR.
    /// Nothing is used up by any of it.
    ///
    /// # Errors
    /// [`Kind::Precondition`] for an unknown attestor, [`Kind::Invalid`] for a bad
    /// CSR, [`Kind::Exhausted`] when too many wait. Each is recorded.
    pub(crate) async fn begin(
        &self,
        caller: &Caller,
        attestor: &str,
        csr: &[u8],
    ) -> Result<Session, Failure> {
        let begun = self.try_begin(caller, attestor, csr).await;
        if let Err(failure) = &begun {
            self.refuse(caller, AuditKind::Attest, None, failure).await;
        }
        begun
    }

    async fn try_begin(
        &self,
        caller: &Caller,
        attestor: &str,
        csr: &[u8],
    ) -> Result<Session, Failure> {
        let found = self
            .0
            .attestors
            .iter()
            .position(|verifier| verifier.kind() == attestor);
        let verifier = found.and_then(|n| Some((n, self.0.attestors.get(n)?.kind())));
        let Some((attestor, kind)) = verifier else {
            let known = self.attestors().join(", ");
            return Err(Failure::new(
                Kind::Precondition,
                format!("node attestor is unknown to this server; it has: {known}"),
            ));
        };
        let slot = self.slot().await?;
        let key = SubjectKey::from_csr(csr).map_err(Failure::invalid)?;
        Ok(Session {
            attestation: self.clone(),
            caller: caller.clone(),
            attestor,
            kind,
            key,
            exchange: Exchange::new(),
            _slot: slot,
        })
    }

    /// A slot, or a refusal when too many wait or the wait is too long.
    async fn slot(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let busy = || {
            Failure::new(
                Kind::Exhausted,
                "too many attestations at one time; try again in some seconds",
            )
        };
        if let Ok(permit) = Arc::clone(&self.0.slots).try_acquire_owned() {
            return Ok(permit);
        }
        let _waiting = Waiting::enter(&self.0).ok_or_else(busy)?;
        let acquired = Arc::clone(&self.0.slots).acquire_owned();
        match tokio::time::timeout(limits::ATTEST_QUEUE_WAIT, acquired).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(Failure::unavailable("this server is shutting down")),
            Err(_elapsed) => Err(busy()),
        }
    }

    pub(super) async fn refuse(
        &self,
        caller: &Caller,
        kind: AuditKind,
        agent: Option<&SpiffeId>,
        failure: &Failure,
    ) {
        let refusal = Refusal {
            kind,
            caller,
            for_whom: agent.map_or("", SpiffeId::as_str),
            entry_id: "",
            reason: failure.message(),
        };
        self.0.audit.refuse(refusal).await;
    }
}

/// Counts those who wait for a slot.
struct Waiting(Arc<super::Parts>);

impl Waiting {
    fn enter(parts: &Arc<super::Parts>) -> Option<Self> {
        let before = parts.waiting.fetch_add(1, Ordering::AcqRel);
        let entered = Self(Arc::clone(parts));
        parts.meters.queue_depth.increment(1.0);
        (before < limits::MAX_ATTEST_QUEUE).then_some(entered)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
        self.0.meters.queue_depth.decrement(1.0);
    }
}

impl Session {
    /// Takes one message of evidence.
    ///
    /// # Errors
    /// The evidence proves nothing ([`Kind::Invalid`]), the node may not
    /// ([`Kind::Denied`]), or it cannot be done now. Each is recorded.
    pub(crate) async fn advance(&mut self, evidence: &[u8]) -> Result<Step, Failure> {
        let (agent, step) = self.step(evidence).await;
        let result = match &step {
            Ok(Step::Challenge(_)) => return step,
            Ok(Step::Done(_)) => "granted",
            Err(_) => "refused",
        };
        metrics::count_attestation(self.kind, result);
        if let Err(failure) = &step {
            self.attestation
                .refuse(&self.caller, AuditKind::Attest, agent.as_ref(), failure)
                .await;
        }
        step
    }

    async fn step(&mut self, evidence: &[u8]) -> (Option<SpiffeId>, Result<Step, Failure>) {
        let facts = match self.verify(evidence) {
            Ok(Verdict::Challenge(bytes)) => return (None, Ok(Step::Challenge(bytes))),
            Ok(Verdict::Facts(facts)) => facts,
            Err(failure) => return (None, Err(failure)),
        };
        let parts = &self.attestation.0;
        let id = match facts
            .node_key
            .agent_id(parts.state.trust_domain(), self.kind)
        {
            Ok(id) => id,
            Err(error) => return (None, Err(Failure::invalid(error))),
        };
        let done = self.admit(&id, facts).await;
        (Some(id), done.map(Step::Done))
    }

    fn verify(&mut self, evidence: &[u8]) -> Result<Verdict, Failure> {
        let parts = &self.attestation.0;
        let verifier = parts.attestors.get(self.attestor);
        let verifier = verifier.ok_or_else(|| Failure::internal("the attestor is gone"))?;
        let host = Host(&parts.entropy);
        let verdict = advance(
            verifier.as_ref(),
            evidence,
            &mut self.exchange,
            parts.clock.now(),
            &host,
        );
        verdict.map_err(|error| match error {
            contract::VerifyError::Unavailable(_) => Failure::unavailable(error),
            _ => Failure::invalid(error),
        })
    }

    /// Makes the node, uses up what works once, signs.
    async fn admit(&self, id: &SpiffeId, facts: Facts) -> Result<Attested, Failure> {
        let attestation = &self.attestation;
        let parts = &attestation.0;
        parts.state.check_fresh()?;
        let now = parts.clock.now();
        let existing = self.check_node(id, &facts)?;
        let consume = facts
            .consume
            .filter(|used| !(existing && self.is_asking_again(*used)));
        let _claim = match consume {
            Some(one_time) => Some(self.claim(one_time, now)?),
            None => None,
        };
        let authority = parts.issuer.x509_authority()?;
        let subject = LeafSubject {
            spiffe_id: id,
            dns_names: &[],
        };
        let plan =
            parts
                .issuer
                .prepare(&authority, &subject, &self.key, parts.terms.agent_ttl, now)?;
        let selectors = Selectors::new(facts.selectors).map_err(Failure::invalid)?;
        let node = Node {
            id: id.clone(),
            attestor: self.kind.into(),
            selectors,
            serial: plan.prepared.serial().to_certificate_serial(),
            expires_at: plan.prepared.not_after(),
            next: None,
            banned: false,
            can_reattest: facts.can_reattest,
            agent_version: String::new(),
            attested_at: now,
        };
        let node_was = match existing {
            true => attestation
                .stored_node(id)
                .await?
                .map(|(_, condition)| condition),
            false => None,
        };
        let draft = parts
            .issuer
            .grant_draft(AuditKind::Attest, &self.caller, &plan)?;
        let mut receipts = parts.audit.append(vec![draft]).await?;
        let receipt = receipts
            .pop()
            .ok_or_else(|| Failure::internal("the journal gave no receipt"))?;
        self.commit(&node, node_was, consume).await?;
        if let Some(one_time) = consume {
            self.answered()
                .note(one_time.key, *self.key.key_id(), parts.clock.since_boot());
        }
        let svid = parts
            .issuer
            .sign(plan, receipt)
            .await
            .map_err(Failure::from)?;
        tracing::info!(agent = %id, attestor = self.kind, "node attested");
        Ok(Attested {
            svid,
            can_reattest: facts.can_reattest,
        })
    }

    /// Whether there is such a node already, and may attest again.
    fn check_node(&self, id: &SpiffeId, facts: &Facts) -> Result<bool, Failure> {
        let registry = self.attestation.0.state.registry();
        let Some(node) = registry.node(id) else {
            if registry.counts().nodes >= limits::MAX_NODES {
                return Err(Failure::new(
                    Kind::Exhausted,
                    "this server has as many nodes as it can; evict some",
                ));
            }
            return Ok(false);
        };
        if node.banned {
            return Err(Failure::denied(
                "agent is banned; an admin must evict it before it may attest again",
            ));
        }
        if facts.consume.is_none() && !node.can_reattest {
            return Err(Failure::denied(
                "agent has attested already and may not do so again; an admin must evict it first",
            ));
        }
        Ok(true)
    }

    /// Whether this very key used it up a moment ago: the answer was lost, not the token.
    fn is_asking_again(&self, used: OneTime) -> bool {
        let now = self.attestation.0.clock.since_boot();
        self.answered().is_same(&used.key, self.key.key_id(), now)
    }

    fn answered(&self) -> MutexGuard<'_, Answered> {
        let answered = &self.attestation.0.answered;
        answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn claim(&self, one_time: OneTime, now: Timestamp) -> Result<Claim, Failure> {
        let parts = &self.attestation.0;
        let claim = Claim::take(parts, one_time.key).ok_or_else(no_such_token)?;
        // Looked at while the claim is held: the one before us may just have used it.
        let row = parts.state.token(&one_time.key).ok_or_else(no_such_token)?;
        if row.expires_at <= now {
            return Err(no_such_token());
        }
        Ok(claim)
    }

    async fn commit(
        &self,
        node: &Node,
        node_was: Option<Condition>,
        consume: Option<OneTime>,
    ) -> Result<(), Failure> {
        let state = &self.attestation.0.state;
        let (node_key, put) =
            stored::put_node(state.trust_domain(), node).map_err(Failure::invalid)?;
        let mut conditions = vec![node_was.unwrap_or(Condition::Absent(node_key))];
        let mut writes = vec![put];
        let token_key: Option<Key> =
            consume.map(|one_time| key::token(state.trust_domain(), &one_time.key).into());
        if let Some(key) = &token_key {
            conditions.push(Condition::Present(Arc::clone(key)));
            writes.push(Write::Delete(Arc::clone(key)));
        }
        match state.commit(conditions, writes).await {
            Ok(_) => Ok(()),
            Err(CommitFailure::Conflict(key)) if Some(&key) == token_key.as_ref() => {
                Err(no_such_token())
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

/// One answer for unknown, used and expired tokens: a guesser learns nothing.
fn no_such_token() -> Failure {
    Failure::new(
        Kind::Invalid,
        "join token is not valid: it does not exist, was used, or has expired; make a new one with `bulla token create`",
    )
}
