//! What is asked and what comes of it; the small judgements of a mint.

use std::net::IpAddr;
use std::sync::Arc;

use authority::Confirmation;
use identity::{EntryId, Selectors, SpiffeId, Timestamp};
use policy::{
    Binding, Decision, DecisionRecord, Profile, Refusal, RefusalCode, RequestContext, TokenRequest,
    Wanted,
};

/// What an agent asks for in a workload's name.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The authenticated agent.
    pub(crate) agent: SpiffeId,
    /// Where its connection comes from.
    pub(crate) source_ip: Option<IpAddr>,
    /// The entry that the workload matches.
    pub(crate) entry: EntryId,
    /// The workload's own words.
    pub(crate) request: TokenRequest,
    /// What the token can be bound to.
    pub(crate) binding: Option<Binding>,
    /// When the workload's SVID ends.
    pub(crate) svid_not_after: Option<Timestamp>,
    /// What workload attestation found, and when.
    pub(crate) selectors: Selectors,
    pub(crate) attested_at: Timestamp,
}

/// What came of it: the decision on record and, if granted, the token.
#[derive(Debug, Clone)]
pub(crate) struct Mint {
    pub(crate) record: DecisionRecord,
    pub(crate) token: Option<MintedToken>,
    /// Of a rate exceeded: how many seconds to wait.
    pub(crate) retry_after: u32,
}

/// A signed token.
#[derive(Clone)]
pub(crate) struct MintedToken {
    pub(crate) token: Arc<str>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why there is no token although the request could be decided.
pub(super) fn nothing_granted(wanted: &Wanted, decision: &Decision) -> Option<Refusal> {
    let first = decision.refused.first();
    let all = decision.granted.is_empty();
    if !all && (!wanted.all_or_nothing || first.is_none()) {
        return None;
    }
    let code = first.map_or(RefusalCode::AccessDenied, |refused| refused.code);
    let reason = match first {
        Some(refused) => format!("{}: {}", refused.permission, refused.reason),
        None => "nothing that the audience offers is granted".to_owned(),
    };
    Some(Refusal::new(code, reason))
}

/// A token bound to a certificate whose end the agent does not say ends at once.
pub(super) fn bound_without_end(wanted: &Wanted, context: &RequestContext) -> Option<Timestamp> {
    let certificate = matches!(context.binding, Some(Binding::Certificate(_)));
    (certificate && wanted.profile == Profile::AccessToken).then_some(context.now)
}

pub(super) const fn confirmation(binding: Binding) -> Confirmation {
    match binding {
        Binding::Certificate(sha256) => Confirmation::Certificate(sha256),
        Binding::Key(sha256) => Confirmation::Key(sha256),
    }
}
