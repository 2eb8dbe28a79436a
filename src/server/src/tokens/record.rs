//! A decision as the journal keeps it: one JSON object in the record's detail,
//! never too large for a record.

use journal::{Binding, Draft};
use policy::DecisionRecord;
use records::{AuditKind, AuditOutcome};

use super::Tokens;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits::MAX_DECISION_BYTES;

impl Tokens {
    /// The record of a decision, ready to be appended. `signed` is the credential
    /// that follows: what it is bound to and the key that will sign it.
    pub(super) fn decision_draft(
        &self,
        caller: &Caller,
        decision: DecisionRecord,
        signed: Option<(Binding, &str)>,
    ) -> Result<Draft, Failure> {
        let reason = match &decision.error {
            Some(error) => error.to_string(),
            None => String::new(),
        };
        let (binding, key) = signed.unwrap_or_else(|| (Binding::of(decision.id.as_bytes()), ""));
        let text = json(&decision);
        let audit = &self.0.parts.audit;
        let mut record = audit.record(AuditKind::Decision, caller);
        if signed.is_none() {
            record.outcome = AuditOutcome::Refused;
        }
        record.for_whom = &decision.principal;
        record.entry_id = &decision.entry;
        record.jti = decision.jti.as_deref().unwrap_or_default();
        record.not_after = decision.exp.map_or(0, |at| at.0);
        record.authority_id = key;
        record.reason = crate::audit::clip(&reason, crate::limits::MAX_REASON_BYTES);
        record.detail = &text;
        audit.draft_bound(binding, &record)
    }
}

/// The decision's JSON. When it is too large, what the policy set says anyway goes
/// first: rationales, then near misses, then the words of refusals.
fn json(decision: &DecisionRecord) -> String {
    let text = decision.to_json();
    if text.len() <= MAX_DECISION_BYTES {
        return text;
    }
    let mut slim = decision.clone();
    let granted = slim.granted.iter_mut().flat_map(|g| &mut g.policies);
    let refused = slim.refused.iter_mut().flat_map(|r| &mut r.policies);
    for policy in granted.chain(refused) {
        policy.rationale.clear();
    }
    let smaller = slim.to_json();
    if smaller.len() <= MAX_DECISION_BYTES {
        return smaller;
    }
    for refused in &mut slim.refused {
        refused.nearest.clear();
        refused.reason.clear();
    }
    slim.warnings.clear();
    let smaller = slim.to_json();
    if smaller.len() <= MAX_DECISION_BYTES {
        return smaller;
    }
    let granted = slim.granted.iter_mut().map(|g| &mut g.policies);
    let refused = slim.refused.iter_mut().map(|r| &mut r.policies);
    for policies in granted.chain(refused) {
        policies.truncate(1);
        for policy in policies {
            policy.owner.clear();
            policy.ticket = None;
        }
    }
    for asked in &mut slim.asked {
        *asked = asked
            .chars()
            .take(policy::limits::PERMISSION_BYTES_MAX)
            .collect();
    }
    slim.to_json()
}
