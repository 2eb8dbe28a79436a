//! The record of one decision: written durably before anything is signed, kept
//! in the journal as JSON, and read back by `bulla explain` and auditors.

use identity::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    BreakGlass, Decision, Digest, Granted, Limit, Obligations, Outcome, Principal, Refusal,
    Refused, RequestContext, TokenRequest, Wanted, Warning, weekday,
};

/// One decision, whatever its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// The decision's own id.
    pub id: String,
    /// When.
    #[serde(with = "crate::rfc3339")]
    pub time: Timestamp,
    /// The SPIFFE ID of the authority that decided.
    pub authority: String,
    /// The outcome.
    pub decision: Outcome,
    /// The SPIFFE ID that asked.
    pub principal: String,
    /// Its registration entry.
    pub entry: String,
    /// The agent's SPIFFE ID.
    pub node: String,
    /// The audience asked for.
    pub audience: String,
    /// The profile chosen, or asked for if none was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The permissions asked for; empty is "all of mine".
    pub asked: Vec<String>,
    /// What was granted and by which policies.
    pub granted: Vec<Granted>,
    /// What was refused, by which policies, and the nearest misses.
    pub refused: Vec<Refused>,
    /// Why the request as a whole was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Refusal>,
    /// The policy set that decided.
    pub policy_set: Digest,
    /// Its catalogue.
    pub catalogue: Digest,
    /// The circumstances.
    pub context: RecordedContext,
    /// Whether something was granted that would not be without break-glass, whose
    /// ticket and approver the circumstances name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub under_break_glass: bool,
    /// What the determining policies attach.
    pub obligations: Obligations,
    /// What callers and owners should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The token's id, when one is minted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// The token's end.
    #[serde(
        with = "crate::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub exp: Option<Timestamp>,
    /// What made it end then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<Limit>,
}

/// The circumstances as they entered the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedContext {
    /// When.
    #[serde(with = "crate::rfc3339")]
    pub now: Timestamp,
    /// 1 for Monday to 7.
    pub weekday: i64,
    /// The address the node's connection came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_ip: Option<String>,
    /// Whether the token proves possession.
    pub pop: bool,
    /// The lifetime the policies saw, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Tokens in the last five minutes.
    pub mints_5m: u32,
    /// An emergency on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
}

/// What is the same for every record of an authority's policy set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Deciding {
    policy_set: Digest,
    catalogue: Digest,
}

impl DecisionRecord {
    /// The record of a decision that policies made; `jti`, `exp` and `limited_by`
    /// are filled in when a token is minted ([`Self::minting`]).
    #[must_use]
    pub fn decided(
        id: String,
        authority: &str,
        request: &TokenRequest,
        principal: &Principal,
        context: &RequestContext,
        wanted: &Wanted,
        decision: &Decision,
    ) -> Self {
        let by = Deciding {
            policy_set: decision.policy_set,
            catalogue: decision.catalogue,
        };
        let mut record = Self::blank(id, authority, request, principal, context, &by);
        record.decision = decision.outcome();
        record.profile = Some(wanted.profile.as_str().into());
        record.granted.clone_from(&decision.granted);
        record.refused.clone_from(&decision.refused);
        record.obligations = decision.obligations;
        record.under_break_glass = decision.under_break_glass;
        record.warnings.clone_from(&decision.warnings);
        record.context.pop = wanted.pop;
        record.context.ttl = Some(wanted.ttl.0);
        record
    }

    /// The record of a request that was refused before any policy was asked.
    #[must_use]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing the record must say"
    )]
    pub fn refused(
        id: String,
        authority: &str,
        request: &TokenRequest,
        principal: &Principal,
        context: &RequestContext,
        policy_set: Digest,
        catalogue: Digest,
        error: Refusal,
    ) -> Self {
        let by = Deciding {
            policy_set,
            catalogue,
        };
        let mut record = Self::blank(id, authority, request, principal, context, &by);
        record.error = Some(error);
        record
    }

    fn blank(
        id: String,
        authority: &str,
        request: &TokenRequest,
        principal: &Principal,
        context: &RequestContext,
        by: &Deciding,
    ) -> Self {
        let short = |text: &String| {
            text.chars()
                .take(crate::limits::AUDIENCE_BYTES_MAX)
                .collect()
        };
        Self {
            id,
            time: context.now,
            authority: authority.into(),
            decision: Outcome::Refused,
            principal: principal.spiffe_id.as_str().into(),
            entry: principal.entry_id.as_str().into(),
            node: principal.node.spiffe_id.as_str().into(),
            audience: short(&request.audience),
            profile: request.profile.as_ref().map(short),
            asked: request
                .permissions
                .iter()
                .take(crate::limits::ASKED_MAX)
                .map(short)
                .collect(),
            granted: Vec::new(),
            refused: Vec::new(),
            error: None,
            policy_set: by.policy_set,
            catalogue: by.catalogue,
            context: RecordedContext {
                now: context.now,
                weekday: weekday(context.now),
                source_ip: context.source_ip.map(|ip| ip.to_string()),
                pop: false,
                ttl: request.ttl,
                mints_5m: context.mints_5m,
                break_glass: context.break_glass.clone(),
            },
            under_break_glass: false,
            obligations: Obligations::default(),
            warnings: Vec::new(),
            jti: None,
            exp: None,
            limited_by: None,
        }
    }

    /// The same record, now that a token will be minted.
    #[must_use]
    pub fn minting(mut self, jti: String, exp: Timestamp, limited_by: Limit) -> Self {
        self.jti = Some(jti);
        self.exp = Some(exp);
        self.limited_by = Some(limited_by);
        self
    }

    /// The same record, when no token is minted after all: nothing granted, a rate
    /// exceeded, or not everything granted to who wants all or nothing.
    #[must_use]
    pub fn failed(mut self, error: Refusal) -> Self {
        self.decision = Outcome::Refused;
        self.error = Some(error);
        self
    }

    /// The life of the minted token, seconds.
    #[must_use]
    pub fn life(&self) -> Option<Seconds> {
        self.exp.map(|end| end.since(self.time))
    }

    /// One line of JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A value of these types always serializes: no maps with odd keys, no floats.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads a record back.
    ///
    /// # Errors
    /// The bytes are no decision record.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
