//! X.509-SVIDs: a batch is decided item by item, recorded in one group, signed.

use std::sync::{Arc, OnceLock};

use authority::{LeafSubject, PreparedX509, SubjectKey, X509Authority};
use futures_util::StreamExt as _;
use identity::{Entry, EntryId, Revoked, Seconds, SpiffeId, Timestamp, X509Svid};
use journal::{Draft, Receipt};
use records::AuditKind;

use super::far_away::refusal;
use super::{IssueRefusal, IssuedX509, Issuer, X509Request, X509Right, lifetime};
use crate::audit::Refusal;
use crate::authorities::key_detail;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;
use crate::state::State;

/// After so many local signatures the task lets others run.
const SIGNATURES_BETWEEN_YIELDS: usize = 32;

/// A certificate that waits for its record.
pub(crate) struct Planned {
    pub(crate) prepared: PreparedX509,
    pub(crate) entry: Option<Arc<Entry>>,
    pub(crate) authority: Arc<X509Authority>,
}

impl Issuer {
    /// Issues X.509-SVIDs, answering in the order of the requests. One group of
    /// records covers the whole batch, refusals included.
    pub(crate) async fn issue_x509(
        &self,
        caller: &Caller,
        requests: Vec<X509Request>,
    ) -> Vec<Result<IssuedX509, IssueRefusal>> {
        let count = u32::try_from(requests.len()).unwrap_or(u32::MAX);
        if let Err(failure) = self.0.shares.take(caller, count, self.0.clock.since_boot()) {
            return self.none_of(requests.len(), &failure);
        }
        let mut plans = self.plan_all(&requests);
        let mut drafts = Vec::with_capacity(requests.len());
        let mut refusals = Vec::new();
        for (request, plan) in requests.iter().zip(&mut plans) {
            let draft = plan.as_ref().map(|plan| {
                let kind = kind_of(&request.right);
                self.grant_draft(kind, caller, plan)
            });
            match draft {
                Ok(Ok(draft)) => drafts.push(draft),
                // What its caller has no share for is not signed, and has no record.
                Ok(Err(failure)) => *plan = Err(failure.into()),
                Err(refusal) => refusals.extend(self.refusal_draft(caller, request, refusal)),
            }
        }
        drafts.extend(refusals);
        let mut receipts = match self.0.audit.append(drafts).await {
            Ok(receipts) => receipts.into_iter(),
            Err(failure) => return self.none_of(requests.len(), &failure),
        };
        let is_far = plans
            .iter()
            .flatten()
            .any(|plan| plan.authority.is_remote());
        // Records of what is granted come first in the group, in the order of the batch.
        let planned = plans.into_iter().map(move |plan| {
            let receipt = plan.is_ok().then(|| receipts.next()).flatten();
            let missing = || Failure::internal("the journal gave no receipt");
            plan.and_then(|plan| Ok((plan, receipt.ok_or_else(missing)?)))
        });
        let issued = if is_far {
            self.sign_far_away(planned).await
        } else {
            self.sign_here(planned).await
        };
        self.count(&issued);
        issued
    }

    async fn sign_here(
        &self,
        planned: impl Iterator<Item = Result<(Planned, Receipt), IssueRefusal>>,
    ) -> Vec<Result<IssuedX509, IssueRefusal>> {
        let mut issued = Vec::with_capacity(planned.size_hint().0);
        for (n, planned) in planned.enumerate() {
            issued.push(match planned {
                Ok((plan, receipt)) => self.sign_planned(plan, receipt).await,
                Err(refusal) => Err(refusal),
            });
            if (n + 1) % SIGNATURES_BETWEEN_YIELDS == 0 {
                tokio::task::yield_now().await;
            }
        }
        issued
    }

    /// A few at one time, for each waits on somebody else. Once the signer does not
    /// answer, the rest of the batch does not wait for it, too.
    async fn sign_far_away(
        &self,
        planned: impl Iterator<Item = Result<(Planned, Receipt), IssueRefusal>>,
    ) -> Vec<Result<IssuedX509, IssueRefusal>> {
        let given_up = OnceLock::new();
        let signatures = planned.map(|planned| {
            let given_up = &given_up;
            async move {
                if let Some(why) = given_up.get() {
                    return Err(IssueRefusal::clone(why));
                }
                let (plan, receipt) = planned?;
                let issued = self.sign_planned(plan, receipt).await;
                if let Err(away @ IssueRefusal::Away(_)) = &issued {
                    let _already = given_up.set(away.clone());
                }
                issued
            }
        });
        let signatures = futures_util::stream::iter(signatures);
        signatures
            .buffered(limits::FAR_SIGNATURES_OF_A_BATCH)
            .collect()
            .await
    }

    fn plan_all(&self, requests: &[X509Request]) -> Vec<Result<Planned, IssueRefusal>> {
        let now = self.0.clock.now();
        let ready = self
            .0
            .state
            .check_fresh()
            .and_then(|()| self.0.audit.check_clock());
        if let Err(failure) = ready {
            return requests
                .iter()
                .map(|_| Err(failure.clone().into()))
                .collect();
        }
        let Some(authority) = self.0.authorities.x509() else {
            return requests
                .iter()
                .map(|_| Err(IssueRefusal::NoAuthority("X.509")))
                .collect();
        };
        requests
            .iter()
            .map(|request| self.plan(&authority, request, now))
            .collect()
    }

    fn plan(
        &self,
        authority: &Arc<X509Authority>,
        request: &X509Request,
        now: Timestamp,
    ) -> Result<Planned, IssueRefusal> {
        match &request.right {
            X509Right::Entry { agent, entry } => {
                let entry = self.authorised(agent, entry, now)?;
                let subject = LeafSubject {
                    spiffe_id: &entry.spiffe_id,
                    dns_names: &entry.dns_names,
                };
                let ttl = lifetime(
                    entry.x509_ttl,
                    self.0.lifetimes.x509,
                    self.0.lifetimes.max_x509,
                );
                let mut planned = self.prepare(authority, &subject, &request.key, ttl, now)?;
                planned.entry = Some(entry);
                Ok(planned)
            }
            X509Right::Mint {
                spiffe_id,
                dns_names,
                ttl,
            } => {
                self.mintable(spiffe_id)?;
                let subject = LeafSubject {
                    spiffe_id,
                    dns_names,
                };
                let ttl = lifetime(*ttl, self.0.lifetimes.x509, self.0.lifetimes.max_x509);
                self.prepare(authority, &subject, &request.key, ttl, now)
            }
        }
    }

    /// Prepares a certificate of any subject; the caller has decided that it may be.
    pub(crate) fn prepare(
        &self,
        authority: &Arc<X509Authority>,
        subject: &LeafSubject<'_>,
        key: &SubjectKey,
        ttl: Seconds,
        now: Timestamp,
    ) -> Result<Planned, IssueRefusal> {
        let serial = self.serial()?;
        let after = self.not_revoked(subject.spiffe_id)?;
        let earliest = after.unwrap_or(Timestamp(0));
        let prepared = authority.prepare_after(subject, key, ttl, serial, now, earliest)?;
        Ok(Planned {
            prepared,
            entry: None,
            authority: Arc::clone(authority),
        })
    }

    /// Refuses an ID that is revoked until lifted. Of one that was revoked up to a
    /// moment, what is issued now must begin after it: that second's is still void.
    pub(super) fn not_revoked(&self, id: &SpiffeId) -> Result<Option<Timestamp>, IssueRefusal> {
        not_revoked(&self.0.state, id)
    }

    /// The active authority, if signing is in order now.
    pub(crate) fn x509_authority(&self) -> Result<Arc<X509Authority>, IssueRefusal> {
        self.0.audit.check_clock()?;
        self.0
            .authorities
            .x509()
            .ok_or(IssueRefusal::NoAuthority("X.509"))
    }

    pub(super) fn authorised(
        &self,
        agent: &SpiffeId,
        entry: &EntryId,
        now: Timestamp,
    ) -> Result<Arc<Entry>, IssueRefusal> {
        let found = self.0.state.registry().is_authorised(agent, entry, now);
        found.ok_or_else(|| IssueRefusal::NotAuthorised(entry.clone()))
    }

    /// An admin mints for workloads only: what is reserved is issued by attestation.
    pub(super) fn mintable(&self, id: &SpiffeId) -> Result<(), IssueRefusal> {
        if id.is_reserved() {
            return Err(IssueRefusal::NotMintable(format!(
                "{id} is reserved for servers and agents"
            )));
        }
        if !id.is_member_of(self.0.state.trust_domain()) {
            return Err(IssueRefusal::NotMintable(format!(
                "{id} is not of trust domain {}",
                self.0.state.trust_domain()
            )));
        }
        Ok(())
    }

    fn refusal_draft(
        &self,
        caller: &Caller,
        request: &X509Request,
        refusal: &IssueRefusal,
    ) -> Option<Draft> {
        let (for_whom, entry_id) = match &request.right {
            X509Right::Entry { entry, .. } => ("", entry.as_str()),
            X509Right::Mint { spiffe_id, .. } => (spiffe_id.as_str(), ""),
        };
        self.0.audit.refusal_draft(&Refusal {
            kind: kind_of(&request.right),
            caller,
            for_whom,
            entry_id,
            reason: &refusal.to_string(),
        })
    }

    /// The record of a certificate that is about to be signed.
    pub(crate) fn grant_draft(
        &self,
        kind: AuditKind,
        caller: &Caller,
        plan: &Planned,
    ) -> Result<Draft, Failure> {
        let prepared = &plan.prepared;
        let mut record = self.0.audit.record(kind, caller);
        record.for_whom = prepared.spiffe_id().as_str();
        record.entry_id = plan.entry.as_ref().map_or("", |entry| entry.id.as_str());
        let serial = prepared.serial();
        record.serial = serial.as_bytes();
        record.not_after = prepared.not_after().0;
        record.authority_id = plan.authority.id();
        let minted = kind == AuditKind::MintX509;
        // Whoever shows it to act as more than a workload is held to this very key.
        let gives_role = plan
            .entry
            .as_ref()
            .is_some_and(|entry| entry.admin || entry.downstream);
        let key = (minted || gives_role).then(|| key_detail(prepared.spki_der()));
        record.detail = key.as_deref().unwrap_or_default();
        let id = plan.authority.id();
        self.0
            .authorities
            .note_signed(id, prepared.not_after(), minted);
        self.0.audit.draft_bound(prepared.binding(), &record)
    }

    async fn sign_planned(
        &self,
        plan: Planned,
        receipt: Receipt,
    ) -> Result<IssuedX509, IssueRefusal> {
        let entry = plan.entry.clone();
        let svid = self.sign(plan, receipt).await?;
        Ok(IssuedX509 { svid, entry })
    }

    /// Turns a recorded plan into a certificate.
    pub(crate) async fn sign(
        &self,
        plan: Planned,
        receipt: Receipt,
    ) -> Result<X509Svid, IssueRefusal> {
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "signing failed after the record was made");
            IssueRefusal::Sign("the certificate could not be signed; try again".into())
        };
        let to_be_signed = plan.prepared.redeem(receipt).map_err(|e| failed(&e))?;
        let authority = plan.authority;
        if !authority.is_remote() {
            return authority.sign(to_be_signed).map_err(|e| refusal(&e));
        }
        let far = &self.0.far;
        far.sign(move || authority.sign(to_be_signed)).await
    }

    fn none_of(&self, count: usize, failure: &Failure) -> Vec<Result<IssuedX509, IssueRefusal>> {
        self.0
            .meters
            .x509_refused
            .increment(u64::try_from(count).unwrap_or(u64::MAX));
        (0..count).map(|_| Err(failure.clone().into())).collect()
    }

    fn count(&self, issued: &[Result<IssuedX509, IssueRefusal>]) {
        let granted = issued.iter().filter(|item| item.is_ok()).count();
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.0.meters.x509_granted.increment(count(granted));
        self.0
            .meters
            .x509_refused
            .increment(count(issued.len() - granted));
    }
}

const fn kind_of(right: &X509Right) -> AuditKind {
    match right {
        X509Right::Entry { .. } => AuditKind::IssueX509,
        X509Right::Mint { .. } => AuditKind::MintX509,
    }
}

/// Refuses an ID that is revoked until lifted; answers when, after a revocation up to
/// a moment, something good can begin.
pub(crate) fn not_revoked(state: &State, id: &SpiffeId) -> Result<Option<Timestamp>, IssueRefusal> {
    let registry = state.registry();
    match registry.revocation(&Revoked::Id(id.clone())) {
        None => Ok(None),
        Some(revoked) if revoked.is_until_lifted() => Err(IssueRefusal::Revoked(id.clone())),
        Some(revoked) => Ok(Some(revoked.at.plus(Seconds(1)))),
    }
}
