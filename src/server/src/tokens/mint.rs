//! One mint: the entry is the agent's, the policy set decides, the decision is
//! durable, and only then the token is signed. Every decision leaves one record,
//! refusals too.

use std::sync::{Arc, PoisonError};

use authority::{DecisionMark, Jti, PreparedJwt, Scoped};
use identity::{Entry, EntryId, Timestamp};
use policy::{
    BreakGlass, Caps, Decision, DecisionRecord, Principal, Profile, Refusal, RefusalCode,
    RequestContext, Wanted, admit,
};
use records::BreakGlassRecord;

use super::ask::{Ask, Mint, bound_without_end, confirmation, nothing_granted};
use super::rates::{Asker, MayAsk};
use super::sign::{Planned, Signing};
use super::{Active, Tokens};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::issue::{IssueRefusal, not_revoked};
use crate::limits;

fn too_often() -> Failure {
    Failure::new(
        Kind::Exhausted,
        "too many requests for tokens of this entry in one second; keep tokens and use them again",
    )
}

/// What a request says of a token's end, and break-glass, when it depends on it.
struct Ends {
    /// Whether the caller named a lifetime.
    named: bool,
    svid: Option<Timestamp>,
    break_glass: Option<Timestamp>,
}

/// Break-glass as policies see it.
fn emergency(glass: &BreakGlassRecord) -> Option<BreakGlass> {
    Some(BreakGlass {
        ticket: glass.ticket.clone(),
        approver: glass.approver.clone()?,
    })
}

/// A decision without a token.
struct Refused {
    error: Refusal,
    retry_after: u32,
}

impl From<Refusal> for Refused {
    fn from(error: Refusal) -> Self {
        Self {
            error,
            retry_after: 0,
        }
    }
}

impl Tokens {
    /// Decides on a request and mints what is granted.
    ///
    /// # Errors
    /// Nothing was decided: the entry is not the agent's, it asks too often, there is
    /// no policy set, or no record could be made. What policies refuse is an answer.
    pub(crate) async fn mint(&self, caller: &Caller, ask: Ask) -> Result<Mint, IssueRefusal> {
        let minted = self.mint_one(caller, ask).await;
        match &minted {
            Ok(Mint { token: Some(_), .. }) => self.0.parts.meters.token_granted.increment(1),
            _ => self.0.parts.meters.token_refused.increment(1),
        }
        minted
    }

    async fn mint_one(&self, caller: &Caller, ask: Ask) -> Result<Mint, IssueRefusal> {
        let parts = &self.0.parts;
        parts.state.check_fresh()?;
        parts.audit.check_clock()?;
        let now = parts.clock.now();
        let entry = self.authorised(caller, &ask, now).await?;
        // Of an ID revoked up to a moment, what is issued now must begin after it.
        let now = not_revoked(&parts.state, &entry.spiffe_id)?.map_or(now, |after| now.max(after));
        let active = self.deciding()?;
        self.attested().note(&entry.id, &ask.selectors);
        let principal = self.principal(&entry, &ask, now)?;
        let glass = parts.state.glass_in_force(&entry.spiffe_id, now);
        let context = RequestContext {
            now,
            source_ip: ask.source_ip,
            binding: ask.binding,
            mints_5m: self.rates().mints_5m(&entry.id, &ask.request.audience, now),
            break_glass: glass.as_deref().and_then(emergency),
        };
        let id = self.decision_id()?;
        let engine = &active.engine;
        let wanted = match admit(&ask.request, engine.catalogue(), &principal, &context) {
            Ok(wanted) => wanted,
            Err(error) => {
                let record = DecisionRecord::refused(
                    id,
                    &self.0.authority,
                    &ask.request,
                    &principal,
                    &context,
                    engine.digest(),
                    engine.catalogue().digest(),
                    error,
                );
                return self.refused(caller, record, 0).await;
            }
        };
        let decision = engine.decide(&principal, &context, &wanted);
        let record = DecisionRecord::decided(
            id,
            &self.0.authority,
            &ask.request,
            &principal,
            &context,
            &wanted,
            &decision,
        );
        let what = (&principal, &wanted, &decision);
        let under = glass.filter(|_| decision.under_break_glass);
        let ends = Ends {
            named: ask.request.ttl.is_some(),
            svid: ask.svid_not_after,
            break_glass: under.as_ref().map(|glass| glass.ends_at),
        };
        match self.prepare(&active, what, &record, (&context, ends)) {
            Err(refusal) => {
                let whose = (&principal.entry_id, principal.spiffe_id.as_str());
                Err(self.on_record(caller, whose, refusal).await)
            }
            Ok(Ok(planned)) => {
                self.record_and_sign(caller, planned, record, under.as_deref())
                    .await
            }
            Ok(Err(refused)) => {
                let record = record.failed(refused.error);
                self.refused(caller, record, refused.retry_after).await
            }
        }
    }

    /// Whom a token would speak for, by its entry and by what its agent attested.
    fn principal(&self, entry: &Entry, ask: &Ask, now: Timestamp) -> Result<Principal, Failure> {
        Ok(Principal {
            spiffe_id: entry.spiffe_id.clone(),
            entry_id: entry.id.clone(),
            limits: self.limits_of(entry)?,
            selectors: ask.selectors.clone(),
            attested_at: ask.attested_at.min(now),
            node: self.node_facts(&ask.agent, Timestamp(0)),
        })
    }

    /// The entry, if it is the agent's and it does not ask too often. Who may ask comes
    /// first, so that nobody uses up another's turn. Floods are held back before anything
    /// is decided or signed, with one record for each second.
    async fn authorised(
        &self,
        caller: &Caller,
        ask: &Ask,
        now: Timestamp,
    ) -> Result<Arc<Entry>, IssueRefusal> {
        let state = &self.0.parts.state;
        let found = state.registry().is_authorised(&ask.agent, &ask.entry, now);
        let asker = match &found {
            Some(_) => Asker::Entry(ask.entry.clone()),
            None => Asker::Stranger(ask.agent.clone()),
        };
        let may_ask = self
            .rates()
            .may_ask(&asker, now, limits::MAX_MINTS_A_SECOND);
        let refusal = match (may_ask, found) {
            (MayAsk::Yes, Some(entry)) => match not_revoked(state, &entry.spiffe_id) {
                Ok(_after) => return Ok(entry),
                Err(refusal) => refusal,
            },
            (MayAsk::Yes, None) => IssueRefusal::NotAuthorised(ask.entry.clone()),
            (MayAsk::NoMore, _) => too_often().into(),
            (MayAsk::StillNoMore, _) => return Err(too_often().into()),
        };
        Err(self.on_record(caller, (&ask.entry, ""), refusal).await)
    }

    /// Puts a refusal on record that is not the policies'.
    async fn on_record(
        &self,
        caller: &Caller,
        (entry, for_whom): (&EntryId, &str),
        refusal: IssueRefusal,
    ) -> IssueRefusal {
        let reason = refusal.to_string();
        let record = crate::audit::Refusal {
            kind: records::AuditKind::Decision,
            caller,
            for_whom,
            entry_id: entry.as_str(),
            reason: &reason,
        };
        self.0.parts.audit.refuse(record).await;
        refusal
    }

    fn deciding(&self) -> Result<Arc<Active>, Failure> {
        self.active().ok_or_else(|| match self.fault() {
            Some(fault) => Failure::unavailable(format!(
                "the active policy set cannot be loaded, so nothing is decided: {fault}"
            )),
            None => Failure::new(
                Kind::Precondition,
                "no policy set is active; an administrator activates one with `bulla policy apply`",
            ),
        })
    }

    /// `dec_`, when in milliseconds, and 64 random bits: found again without an index.
    fn decision_id(&self) -> Result<String, Failure> {
        let random: [u8; 8] = self.0.parts.entropy.bytes()?;
        let at = self.0.parts.clock.now_ms().max(0);
        Ok(format!("dec_{at:012x}{}", hex::encode(random)))
    }

    /// What is granted as a token that waits for its record, or why there is none.
    fn prepare(
        &self,
        active: &Active,
        (principal, wanted, decision): (&Principal, &Wanted, &Decision),
        record: &DecisionRecord,
        (context, ends): (&RequestContext, Ends),
    ) -> Result<Result<Planned, Refused>, IssueRefusal> {
        if let Some(error) = nothing_granted(wanted, decision) {
            return Ok(Err(error.into()));
        }
        let now = context.now;
        let catalogue = active.engine.catalogue();
        let Some(service) = catalogue.service(wanted.audience.as_str()) else {
            return Err(Failure::internal("the catalogue lost a service it admitted").into());
        };
        let caps = Caps {
            asked: wanted.ttl.min(self.0.parts.longest),
            named: ends.named,
            policy: decision.obligations.max_ttl,
            audience: service.max_ttl,
            entry: principal.limits.max_ttl,
            svid: ends.svid.or_else(|| bound_without_end(wanted, context)),
            window: decision.window_end,
            break_glass: ends.break_glass,
        };
        let (ends, limited_by) = caps.expiry(now);
        if ends <= now {
            let reason = "what is allowed ends now; ask again when the next window begins or the SVID is renewed";
            return Ok(Err(Refusal::new(RefusalCode::AccessDenied, reason).into()));
        }
        let taken = self.rates().take(
            &principal.entry_id,
            wanted.audience.as_str(),
            decision.obligations.rate,
            now,
        );
        if let Err(retry_after) = taken {
            let rate = decision
                .obligations
                .rate
                .map_or_else(String::new, String::from);
            let reason = format!(
                "the policies allow {rate} for {}; ask again in {retry_after} s and keep tokens until they end",
                wanted.audience
            );
            return Ok(Err(Refused {
                error: Refusal::new(RefusalCode::SlowDown, reason),
                retry_after,
            }));
        }
        let life = (now, ends);
        self.prepare_token((principal, wanted, decision), record, context, life)
            .map(|(signing, prepared)| {
                Ok(Planned {
                    signing,
                    prepared,
                    limited_by,
                })
            })
    }

    fn prepare_token(
        &self,
        (principal, wanted, decision): (&Principal, &Wanted, &Decision),
        record: &DecisionRecord,
        context: &RequestContext,
        life: (Timestamp, Timestamp),
    ) -> Result<(Signing, PreparedJwt), IssueRefusal> {
        let (scope, details) = (decision.scope(), decision.authorization_details());
        let policy_set = super::policies::short(&decision.policy_set);
        let mut scoped = Scoped {
            audience: wanted.audience.as_str(),
            scope: &scope,
            authorization_details: &details,
            confirmation: None,
            decision: DecisionMark {
                id: &record.id,
                policy_set: &policy_set,
                authority: &self.0.authority,
            },
        };
        let parts = &self.0.parts;
        let jti = Jti::new(parts.entropy.bytes().map_err(Failure::from)?);
        let subject = &principal.spiffe_id;
        match wanted.profile {
            Profile::JwtSvid => {
                let none = IssueRefusal::NoAuthority("JWT");
                let authority = parts.authorities.jwt().ok_or(none)?;
                let prepared = authority.prepare_scoped(subject, &scoped, life, jti)?;
                Ok((Signing::Jwt(authority), prepared))
            }
            Profile::AccessToken => {
                let none = IssueRefusal::NoAuthority("access");
                let authority = parts.authorities.access().ok_or(none)?;
                scoped.confirmation = context.binding.map(confirmation);
                let prepared = authority.prepare(subject, &scoped, life, jti)?;
                Ok((Signing::Access(authority), prepared))
            }
        }
    }

    async fn refused(
        &self,
        caller: &Caller,
        record: DecisionRecord,
        retry_after: u32,
    ) -> Result<Mint, IssueRefusal> {
        let reason = record.error.as_ref().map(ToString::to_string);
        tracing::info!(
            decision = record.id,
            subject = record.principal,
            entry = record.entry,
            reason,
            "token refused"
        );
        let draft = self.decision_draft(caller, record.clone(), None)?;
        self.0.parts.audit.append(vec![draft]).await?;
        Ok(Mint {
            record,
            token: None,
            retry_after,
        })
    }

    pub(super) fn attested(&self) -> std::sync::MutexGuard<'_, super::Attested> {
        let attested = self.0.attested.lock();
        attested.unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rates(&self) -> std::sync::MutexGuard<'_, super::Rates> {
        self.0.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
