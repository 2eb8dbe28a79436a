//! What an import would do, decided from both servers' states alone: the checks are
//! those that the server makes when the entry is created.

use std::collections::{HashMap, HashSet};

use api::convert::{EntryContext, bundle_from_wire, entry_from_wire};
use identity::{Entry, EntryId, Selectors, SpiffeId, Timestamp, TrustDomain};
use serde_json::{Value, json};

use super::fetch::State;
use crate::admin::id_text;
use crate::failure::Failure;
use crate::wire::types;

/// The selector type by which `token generate -spiffeID` names one agent.
const AGENT_SELECTOR: &str = "spiffe_id";

/// What is to be done with one bundle or entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Present,
    Refuse,
}

/// The bundle or entry itself, as SPIRE answered it.
#[derive(Debug)]
pub(super) enum Subject {
    Bundle(types::Bundle),
    Entry(types::Entry),
}

/// One line of the plan.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) action: Action,
    /// The reason, or something to know; may be empty.
    pub(super) why: String,
    pub(super) subject: Subject,
}

/// The whole plan: bundles first, since entries may rely on them.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) items: Vec<Item>,
}

type Registration = (SpiffeId, SpiffeId, Selectors);

/// What is here already, by what makes it the same.
struct Here {
    trust_domain: TrustDomain,
    bundles: HashSet<String>,
    by_id: HashSet<String>,
    by_registration: HashMap<Registration, types::Entry>,
    longest: (u32, u32),
}

impl Plan {
    /// Compares the two servers.
    ///
    /// # Errors
    /// This server answers a trust domain that is none.
    pub(super) fn of(there: &State, here: &State) -> Result<Self, Failure> {
        let trust_domain = TrustDomain::parse(&here.trust_domain)
            .map_err(|error| Failure::refused(format!("the server's trust domain: {error}")))?;
        let mut known = Here::new(trust_domain, here);
        let mut items = Vec::new();
        for bundle in &there.bundles {
            let (action, why) = known.judge_bundle(bundle);
            if action == Action::Create {
                known.bundles.insert(bundle.trust_domain.clone());
            }
            items.push(Item {
                action,
                why,
                subject: Subject::Bundle(bundle.clone()),
            });
        }
        for entry in &there.entries {
            let (action, why) = known.judge_entry(entry);
            items.push(Item {
                action,
                why,
                subject: Subject::Entry(entry.clone()),
            });
        }
        Ok(Self { items })
    }

    pub(super) fn count(&self, action: Action) -> usize {
        let items = self.items.iter();
        items.filter(|item| item.action == action).count()
    }
}

impl Here {
    fn new(trust_domain: TrustDomain, state: &State) -> Self {
        let mut known = Self {
            trust_domain,
            bundles: state
                .bundles
                .iter()
                .map(|b| b.trust_domain.clone())
                .collect(),
            by_id: state.entries.iter().map(|entry| entry.id.clone()).collect(),
            by_registration: HashMap::new(),
            longest: state.longest,
        };
        for wire in &state.entries {
            if let Ok(entry) = known.check(wire) {
                known
                    .by_registration
                    .insert(registration(&entry), wire.clone());
            }
        }
        known
    }

    /// Checks an entry as the server will.
    fn check(&self, wire: &types::Entry) -> Result<Entry, String> {
        let context = EntryContext {
            id: EntryId::parse(&wire.id).map_err(|error| error.to_string())?,
            created_at: Timestamp(wire.created_at),
        };
        let fields = entry_from_wire(wire, context).map_err(|error| error.to_string())?;
        Entry::new(fields, &self.trust_domain).map_err(|error| error.to_string())
    }

    fn judge_bundle(&self, bundle: &types::Bundle) -> (Action, String) {
        if self.bundles.contains(&bundle.trust_domain) {
            return (Action::Present, String::new());
        }
        match bundle_from_wire(bundle) {
            Ok(_) => (Action::Create, String::new()),
            Err(error) => (Action::Refuse, error.to_string()),
        }
    }

    fn judge_entry(&self, wire: &types::Entry) -> (Action, String) {
        let entry = match self.check(wire) {
            Ok(entry) => entry,
            Err(why) => return (Action::Refuse, why),
        };
        if let [selector] = entry.selectors.as_slice()
            && selector.kind() == AGENT_SELECTOR
            && entry.parent_id.is_agent()
        {
            let why = "it names an agent by its join token, and the agent gets another ID here; \
                       give the name with `bulla token create --spiffe-id`";
            return (Action::Refuse, why.to_owned());
        }
        if let Some(same) = self.by_registration.get(&registration(&entry)) {
            return (Action::Present, differences(wire, same));
        }
        if self.by_id.contains(&wire.id) {
            let why = "another entry here has this id; delete or rename one of them";
            return (Action::Refuse, why.to_owned());
        }
        let notes = [self.note(&entry), self.shortened(wire)];
        let notes: Vec<String> = notes.into_iter().filter(|note| !note.is_empty()).collect();
        (Action::Create, notes.join("; "))
    }

    /// What lives shorter here than the entry says.
    fn shortened(&self, wire: &types::Entry) -> String {
        let (x509, jwt) = self.longest;
        let kinds = [
            ("X.509-SVIDs", wire.x509_svid_ttl, x509, "svid.max_x509_ttl"),
            ("JWT-SVIDs", wire.jwt_svid_ttl, jwt, "svid.max_jwt_ttl"),
        ];
        let shortened = kinds.iter().filter(|(_, asked, longest, _)| {
            let asked = u32::try_from(*asked).unwrap_or_default();
            *longest > 0 && asked > *longest
        });
        let told = shortened.map(|(what, asked, longest, setting)| {
            format!("its {what} live {longest} s here, not {asked} s ({setting})")
        });
        told.collect::<Vec<_>>().join("; ")
    }

    /// What an administrator should know of an entry that can be created.
    fn note(&self, entry: &Entry) -> String {
        let parent = entry.parent_id.path();
        if parent.starts_with("/spire/agent/join_token/") {
            return "its parent is an agent that joined by token; that agent has another ID here"
                .to_owned();
        }
        let mut federated = entry.federates_with.iter();
        let missing = federated.find(|td| !self.bundles.contains(td.as_str()));
        missing.map_or_else(String::new, |missing| {
            format!("it federates with {missing}, whose bundle is not here yet")
        })
    }
}

fn registration(entry: &Entry) -> Registration {
    (
        entry.spiffe_id.clone(),
        entry.parent_id.clone(),
        entry.selectors.clone(),
    )
}

/// Which contents differ between the same registration there and here.
fn differences(there: &types::Entry, here: &types::Entry) -> String {
    let pairs = [
        ("x509_ttl", there.x509_svid_ttl != here.x509_svid_ttl),
        ("jwt_ttl", there.jwt_svid_ttl != here.jwt_svid_ttl),
        ("dns_names", there.dns_names != here.dns_names),
        (
            "federates_with",
            there.federates_with != here.federates_with,
        ),
        ("hint", there.hint != here.hint),
        ("admin", there.admin != here.admin),
        ("downstream", there.downstream != here.downstream),
        ("expires_at", there.expires_at != here.expires_at),
        ("store_svid", there.store_svid != here.store_svid),
    ];
    let names = pairs.iter().filter(|(_, differs)| *differs);
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(
        "as entry {}, which differs in {}",
        here.id,
        names.join(", ")
    )
}

impl Item {
    /// For people and scripts.
    pub(super) fn to_json(&self, done: bool) -> Value {
        let action = match (self.action, done) {
            (Action::Create, false) => "create",
            (Action::Create, true) => "created",
            (Action::Present, _) => "present",
            (Action::Refuse, false) => "refuse",
            (Action::Refuse, true) => "refused",
        };
        match &self.subject {
            Subject::Bundle(bundle) => json!({
                "action": action,
                "kind": "bundle",
                "id": bundle.trust_domain,
                "why": self.why,
            }),
            Subject::Entry(entry) => json!({
                "action": action,
                "kind": "entry",
                "id": entry.id,
                "spiffe_id": id_text(entry.spiffe_id.as_ref()),
                "parent_id": id_text(entry.parent_id.as_ref()),
                "why": self.why,
            }),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
