//! One attestation, from the first message to the agent's first SVID.

use std::sync::{MutexGuard, PoisonError};

use authority::{LeafSubject, SubjectKey};
use contract::{Exchange, Facts, OneTime, Verdict, advance};
use identity::{Node, Selectors, SpiffeId, X509Svid};
use journal::Receipt;
use records::{AuditKind, key};
use store::{Key, Write};

use super::attestors::Host;
use super::challenges::Challenge;
use super::decisions::Proved;
use super::retry::Answered;
use super::slots::Slot;
use super::source::Source;
use super::{Attestation, decisions};
use crate::audit::Refusal;
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::issue::Planned;
use crate::limits;
use crate::metrics;
use crate::state::{Change, Decision, stored};

/// One attestation under way. It holds a slot while the server computes, and an open
/// challenge while the client owes an answer.
pub(crate) struct Session {
    attestation: Attestation,
    caller: Caller,
    /// Which attestor, by its place in the list.
    attestor: usize,
    kind: &'static str,
    key: SubjectKey,
    exchange: Exchange,
    source: Source,
    /// From the beginning, for the first message.
    slot: Option<Slot>,
    challenge: Option<Challenge>,
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
        let source = Source::of(caller);
        let slot = self.slot(&source).await?;
        let key = SubjectKey::from_csr(csr).map_err(Failure::invalid)?;
        Ok(Session {
            attestation: self.clone(),
            caller: caller.clone(),
            attestor,
            kind,
            key,
            exchange: Exchange::new(),
            source,
            slot: Some(slot),
            challenge: None,
        })
    }

    /// A slot for this source, when its turn has come.
    async fn slot(&self, source: &Source) -> Result<Slot, Failure> {
        let meters = &self.0.meters;
        meters.queue_depth.increment(1.0);
        let slot = self.0.slots.take(source).await;
        meters.queue_depth.decrement(1.0);
        slot
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

impl Session {
    /// Takes one message of evidence.
    ///
    /// # Errors
    /// The evidence proves nothing ([`Kind::Invalid`]), the node may not
    /// ([`Kind::Denied`]), or it cannot be done now. Each is recorded.
    pub(crate) async fn advance(&mut self, evidence: &[u8]) -> Result<Step, Failure> {
        if self.challenge.take().is_some_and(|open| open.is_void()) {
            return Err(self.displaced());
        }
        let slot = match self.slot.take() {
            Some(slot) => Ok(slot),
            None => self.attestation.slot(&self.source).await,
        };
        let (agent, step) = match slot {
            Ok(_held) => self.step(evidence).await,
            Err(failure) => (None, Err(failure)),
        };
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

    /// Waits until the open challenge has given way to another, and says so; never
    /// returns while there is none, or while it stands.
    pub(crate) async fn gave_way(&mut self) -> Failure {
        match &mut self.challenge {
            Some(challenge) => challenge.gave_way().await,
            None => std::future::pending().await,
        }
        self.challenge = None;
        self.displaced()
    }

    /// Not recorded: whoever opens challenges and does not answer them makes one of
    /// these with each.
    fn displaced(&self) -> Failure {
        metrics::count_attestation(self.kind, "displaced");
        Failure::new(
            Kind::Exhausted,
            "this node or its address has too many unanswered challenges; attest again",
        )
    }

    async fn step(&mut self, evidence: &[u8]) -> (Option<SpiffeId>, Result<Step, Failure>) {
        let facts = match self.verify(evidence) {
            Ok(Verdict::Challenge(bytes)) => return self.challenge(bytes),
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

    /// Sends a challenge, unless the node that the evidence names is banned.
    fn challenge(&mut self, bytes: Vec<u8>) -> (Option<SpiffeId>, Result<Step, Failure>) {
        let parts = &self.attestation.0;
        let claimed = self.exchange.claimed.as_ref();
        let id = claimed.and_then(|node| {
            let id = node.agent_id(parts.state.trust_domain(), self.kind);
            id.ok()
        });
        let registry = parts.state.registry();
        let node = id.as_ref().and_then(|id| registry.node(id));
        if node.is_some_and(|node| node.banned) {
            return (id, Err(decisions::banned()));
        }
        self.challenge = Some(parts.challenges.open(&self.source, claimed));
        (id, Ok(Step::Challenge(bytes)))
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
        let parts = &self.attestation.0;
        parts.state.check_fresh()?;
        self.check_room(id)?;
        let now = parts.clock.now();
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
        let receipt = self.commit(&node, facts.consume, &plan).await?;
        if let Some(one_time) = facts.consume {
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

    /// A new node needs room for it.
    fn check_room(&self, id: &SpiffeId) -> Result<(), Failure> {
        let registry = self.attestation.0.state.registry();
        let full = registry.counts().nodes >= limits::MAX_NODES
            || registry.nodes_of(self.kind) >= limits::MAX_NODES_OF_AN_ATTESTOR;
        if full && registry.node(id).is_none() {
            return Err(Failure::new(
                Kind::Exhausted,
                "this server has as many nodes of this attestor, or of all, as it can; evict some",
            ));
        }
        Ok(())
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

    /// Decides on the rows of the node and of the one-time thing, and puts the node.
    async fn commit(
        &self,
        node: &Node,
        consume: Option<OneTime>,
        plan: &Planned,
    ) -> Result<Receipt, Failure> {
        let parts = &self.attestation.0;
        let td = parts.state.trust_domain();
        let (node_key, put) = stored::put_node(td, node).map_err(Failure::invalid)?;
        let token_key: Option<Key> = consume.map(|used| key::token(td, &used.key).into());
        let keys = std::iter::once(node_key).chain(token_key.clone());
        let decided = parts.state.decide(&self.caller, keys.collect(), |rows| {
            let proved = Proved {
                by_token: consume.is_some(),
                asks_again: consume.is_some_and(|used| self.is_asking_again(used)),
            };
            let token = match consume {
                Some(used) => rows.token(&used.key)?,
                None => None,
            };
            let row = rows.node(&node.id)?;
            let uses_token =
                decisions::attest(row.as_ref(), token.as_ref(), proved, node.attested_at)?;
            let mut writes = vec![put.clone()];
            if let Some(key) = token_key.clone().filter(|_| uses_token) {
                writes.push(Write::Delete(key));
            }
            let issuer = &parts.issuer;
            let change = Change {
                drafts: vec![issuer.grant_draft(AuditKind::Attest, &self.caller, plan)?],
                writes,
                ..Change::default()
            };
            Ok::<_, Failure>(Decision::Change(change, ()))
        });
        let mut receipts = decided.await?.receipts;
        receipts
            .pop()
            .ok_or_else(|| Failure::internal("the journal gave no receipt"))
    }
}
