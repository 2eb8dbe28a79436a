//! What was decided and why.

use identity::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Digest, PermissionName, RefusalCode, parse_duration};

/// The decision on one request: each permission granted or refused, with reasons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What the token may carry.
    pub granted: Vec<Granted>,
    /// What was asked for and is not granted.
    pub refused: Vec<Refused>,
    /// The strictest of what the determining policies attach.
    pub obligations: Obligations,
    /// The first second at which something that is granted would be refused, when
    /// that comes before the token's life is over otherwise: it must end by then.
    #[serde(
        with = "crate::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub window_end: Option<Timestamp>,
    /// Whether something that is granted would not be without break-glass: then the
    /// token ends with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub under_break_glass: bool,
    /// What callers and owners should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The policy set that decided.
    pub policy_set: Digest,
    /// Its catalogue.
    pub catalogue: Digest,
}

/// Whether everything, something or nothing was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that was asked for.
    Granted,
    /// Some of it.
    Partial,
    /// Nothing.
    Refused,
}

impl Decision {
    /// Whether everything, something or nothing was granted.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match (self.granted.is_empty(), self.refused.is_empty()) {
            (true, _) => Outcome::Refused,
            (false, true) => Outcome::Granted,
            (false, false) => Outcome::Partial,
        }
    }

    /// The granted permissions as a `scope` claim (RFC 8693 section 4.2).
    #[must_use]
    pub fn scope(&self) -> String {
        let names: Vec<&str> = self.granted.iter().map(|g| g.permission.as_str()).collect();
        names.join(" ")
    }

    /// The granted `authorization_details`.
    #[must_use]
    pub fn authorization_details(&self) -> Vec<Value> {
        self.granted
            .iter()
            .flat_map(|g| g.details.iter().cloned())
            .collect()
    }
}

/// A granted permission.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Granted {
    /// Which.
    pub permission: PermissionName,
    /// The policies that permit it.
    pub policies: Vec<PolicyRef>,
    /// Its `authorization_details`, as asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<Value>,
}

/// A refused permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Which, as asked for.
    pub permission: String,
    /// `access_denied`, or `invalid_scope` for one that does not exist.
    pub code: RefusalCode,
    /// Why and what to do, for a developer.
    pub reason: String,
    /// The policies that forbid it, or that failed to evaluate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyRef>,
    /// Policies that would have permitted it but for one condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<NearMiss>,
}

/// A policy, as people look for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Its `@id`; built-in guardrails begin with `builtin:`.
    pub id: String,
    /// Its `@owner`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Its `@rationale`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rationale: String,
    /// Its `@ticket`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// A policy that would have permitted, and the first condition that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearMiss {
    /// The policy's `@id`.
    pub policy: String,
    /// The condition, in Cedar.
    pub failed: String,
}

/// What determining policies attach to a grant; the strictest of several wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligations {
    /// The longest life, from `@max_ttl`; in JSON whole seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "seconds")]
    pub max_ttl: Option<Seconds>,
    /// How often per entry and audience, from `@rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl Obligations {
    /// Both together: the shorter life and the lower rate.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        let shorter = |a: Option<Seconds>, b: Option<Seconds>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let rarer = |a: Option<Rate>, b: Option<Rate>| match (a, b) {
            (Some(a), Some(b)) => Some(a.stricter(b)),
            (a, b) => a.or(b),
        };
        Self {
            max_ttl: shorter(self.max_ttl, other.max_ttl),
            rate: rarer(self.rate, other.rate),
        }
    }
}

/// At most so many in so long: `60/1m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In how long, at least a second.
    pub per: Seconds,
}

impl Rate {
    /// Reads `60/1m`.
    ///
    /// ```
    /// let rate = policy::Rate::parse("60/1m").unwrap();
    /// assert_eq!((rate.count, rate.per.0), (60, 60));
    /// assert!(policy::Rate::parse("0/1m").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (count, per) = text.split_once('/')?;
        let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        let rate = Self {
            count: digits.then(|| count.parse().ok()).flatten()?,
            per: parse_duration(per)?,
        };
        (rate.count > 0 && rate.per.0 > 0).then_some(rate)
    }

    /// The one that lets fewer through in the long run; of two equal ones that
    /// with the smaller burst.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let weight = |a: Self, b: Self| u64::from(a.count) * u64::from(b.per.0);
        let key = |a: Self, b: Self| (weight(a, b), a.count);
        if key(self, other) <= key(other, self) {
            self
        } else {
            other
        }
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        format!("{}/{}", rate.count, crate::duration_text(rate.per))
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no rate such as 60/1m"))
    }
}

/// What callers and owners should know although the permission is granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Which permission.
    pub permission: PermissionName,
    /// What, and what to do.
    pub text: String,
}

mod seconds {
    use identity::Seconds;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        span: &Option<Seconds>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => to.serialize_u32(span.0),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Seconds>, D::Error> {
        Ok(Option::<u32>::deserialize(from)?.map(Seconds))
    }
}
