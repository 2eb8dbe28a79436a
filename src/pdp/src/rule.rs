//! One policy with what we read off it: who wrote it, what it attaches, what it
//! can apply to.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cedar_policy::{EntityUid, Policy};
use policy::{Obligations, PermissionName, PolicyRef};
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, conditions};

/// Whether a policy permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It permits.
    Permit,
    /// It forbids, whatever others permit.
    Forbid,
}

/// Whose policy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// A team's: permits, and forbids of its own.
    Team,
    /// Security's: only forbids.
    Guardrail,
    /// Ours, always there.
    Builtin,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(crate) about: PolicyRef,
    pub(crate) effect: Effect,
    pub(crate) layer: Layer,
    pub(crate) file: String,
    pub(crate) line: Option<u64>,
    pub(crate) obligations: Obligations,
    pub(crate) covers: Covers,
    pub(crate) principal: Whose,
    /// Whether its answer can change by time alone.
    pub(crate) timed: bool,
    pub(crate) policy: Policy,
    /// Made when they are first asked for.
    pub(crate) conditions: OnceLock<Vec<Condition>>,
}

/// The permissions a policy's scope reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Covers {
    /// All, of every service, those to come included.
    All,
    /// These.
    Only(BTreeSet<PermissionName>),
}

impl Covers {
    pub(crate) fn contains(&self, name: &PermissionName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// The workloads a policy's scope reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Every workload.
    Anyone,
    /// A workload, or those below a path or in a trust domain.
    Of(EntityUid),
}

impl Rule {
    /// Its conditions, one by one.
    pub(crate) fn conditions(&self) -> &[Condition] {
        self.conditions.get_or_init(|| conditions(&self.policy))
    }

    /// Its `@id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.about.id
    }

    /// Id, owner, rationale and ticket.
    #[must_use]
    pub const fn about(&self) -> &PolicyRef {
        &self.about
    }

    /// Whether it permits or forbids.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// Whose it is.
    #[must_use]
    pub const fn layer(&self) -> Layer {
        self.layer
    }

    /// Where it is written.
    #[must_use]
    pub fn place(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}", self.file),
            None => self.file.clone(),
        }
    }

    /// What it attaches to a grant.
    #[must_use]
    pub const fn obligations(&self) -> Obligations {
        self.obligations
    }

    /// Its text, as written.
    #[must_use]
    pub fn text(&self) -> String {
        self.policy.to_cedar().unwrap_or_default()
    }
}
