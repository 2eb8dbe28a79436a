//! From what the files ask for and what the server has to the changes between
//! them. Decides everything, changes nothing.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::document::{Wanted, key};
use super::limit;
use crate::admin::{entry_value, id_text, selector_texts};
use crate::failure::Failure;
use crate::wire::entries_v1::TokenLimits;
use crate::wire::types;

/// The type of the selector of a node alias, an entry that joining makes.
const ALIAS: &str = "spiffe_id";

/// An entry that changes: as it is, as it shall be, and in what.
pub(super) struct Update {
    pub(super) old: types::Entry,
    pub(super) new: types::Entry,
    /// Its tokens' limits, where they change.
    pub(super) limits: Option<TokenLimits>,
    fields: Vec<(&'static str, String, String)>,
}

/// All changes.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) create: Vec<Wanted>,
    pub(super) update: Vec<Update>,
    pub(super) delete: Vec<types::Entry>,
    /// Entries that are as the files say.
    pub(super) unchanged: usize,
    /// Entries that no file names and that stay.
    pub(super) unlisted: usize,
}

/// Whether an entry belongs to the server: the name of a node, made by joining.
pub(super) fn is_alias(entry: &types::Entry) -> bool {
    entry
        .selectors
        .iter()
        .any(|selector| selector.r#type == ALIAS)
}

impl Plan {
    /// Compares with what is `present`, and with the `limits` of entries that have
    /// some. Without `prune`, what no file names stays.
    ///
    /// # Errors
    /// Two files ask for the same entry in different ways.
    pub(super) fn of(
        wanted: &[Wanted],
        present: &[types::Entry],
        limits: &HashMap<String, TokenLimits>,
        prune: bool,
    ) -> Result<Self, Failure> {
        let by_id: HashMap<&str, &types::Entry> = present
            .iter()
            .map(|entry| (entry.id.as_str(), entry))
            .collect();
        let by_key: HashMap<_, &types::Entry> =
            present.iter().map(|entry| (key(entry), entry)).collect();
        let mut plan = Self::default();
        let mut named: HashMap<&str, &str> = HashMap::new();
        for one in wanted {
            let Wanted { entry, place, .. } = one;
            let there = match entry.id.as_str() {
                "" => by_key.get(&key(entry)),
                id => by_id.get(id),
            };
            let Some(there) = there else {
                plan.create.push(one.clone());
                continue;
            };
            if let Some(earlier) = named.insert(&there.id, place) {
                let text = format!("{place}: the same entry {} as at {earlier}", there.id);
                return Err(Failure::usage(text));
            }
            match changed(there, one, limits.get(&there.id)) {
                Some(update) => plan.update.push(update),
                None => plan.unchanged += 1,
            }
        }
        let listed: HashSet<&str> = named.keys().copied().collect();
        let unlisted = present
            .iter()
            .filter(|entry| !listed.contains(entry.id.as_str()) && !is_alias(entry));
        if prune {
            plan.delete = unlisted.cloned().collect();
        } else {
            plan.unlisted = unlisted.count();
        }
        Ok(plan)
    }

    pub(super) fn changes(&self) -> usize {
        self.create.len() + self.update.len() + self.delete.len()
    }

    /// For people: one line for each change, then a sum.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let create = self.create.iter().flat_map(|one| {
            let limits = one.limits.as_ref().map(limit::text);
            let limits = limits.map(|text| format!("    token_limits: {text}"));
            std::iter::once(format!("+ create {}", described(&one.entry))).chain(limits)
        });
        let update = self.update.iter().flat_map(|update| {
            let head = format!("~ update {} ({})", described(&update.new), update.old.id);
            let fields = update.fields.iter();
            let fields = fields.map(|(name, old, new)| format!("    {name}: {old} -> {new}"));
            std::iter::once(head).chain(fields)
        });
        let delete = self.delete.iter();
        let delete = delete.map(|entry| format!("- delete {} ({})", described(entry), entry.id));
        create.chain(update).chain(delete)
    }

    pub(super) fn sum(&self) -> String {
        format!(
            "{} to create, {} to update, {} to delete, {} unchanged, {} not in the files",
            self.create.len(),
            self.update.len(),
            self.delete.len(),
            self.unchanged,
            self.unlisted
        )
    }

    /// For scripts.
    pub(super) fn to_json(&self) -> Value {
        let update = self.update.iter().map(|update| {
            let fields = update.fields.iter();
            let fields = fields.map(|(name, old, new)| json!({"field": name, "old": old, "new": new}));
            json!({"id": update.old.id, "entry": entry_value(&update.new), "changes": fields.collect::<Vec<_>>()})
        });
        json!({
            "create": self.create.iter().map(created).collect::<Vec<_>>(),
            "update": update.collect::<Vec<_>>(),
            "delete": self.delete.iter().map(entry_value).collect::<Vec<_>>(),
            "unchanged": self.unchanged,
            "unlisted": self.unlisted,
        })
    }

    /// The entries as they will be, those of the files first.
    pub(super) fn outcome(&self, present: &[types::Entry]) -> Vec<types::Entry> {
        let gone: HashSet<&str> = (self.delete.iter().map(|entry| entry.id.as_str()))
            .chain(self.update.iter().map(|update| update.old.id.as_str()))
            .collect();
        let put = self
            .create
            .iter()
            .map(|one| &one.entry)
            .chain(self.update.iter().map(|update| &update.new));
        let stay = present
            .iter()
            .filter(|entry| !gone.contains(entry.id.as_str()));
        put.chain(stay).cloned().collect()
    }
}

/// A new entry for scripts, with its limits.
fn created(one: &Wanted) -> Value {
    let mut value = entry_value(&one.entry);
    if let (Some(members), Some(limits)) = (value.as_object_mut(), &one.limits) {
        members.insert("token_limits".into(), limit::described(limits));
    }
    value
}

pub(super) fn described(entry: &types::Entry) -> String {
    format!(
        "{} under {} [{}]",
        id_text(entry.spiffe_id.as_ref()),
        id_text(entry.parent_id.as_ref()),
        selector_texts(&entry.selectors).join(", ")
    )
}

/// The update from one to the other; what files cannot say stays as it is.
fn changed(old: &types::Entry, one: &Wanted, had: Option<&TokenLimits>) -> Option<Update> {
    let had = had.cloned().unwrap_or_default();
    let limits = one.limits.clone().filter(|limits| *limits != had);
    let wanted = &one.entry;
    let new = types::Entry {
        id: old.id.clone(),
        revision_number: old.revision_number,
        created_at: old.created_at,
        store_svid: old.store_svid,
        additional_attributes: old.additional_attributes,
        ..wanted.clone()
    };
    let (before, after) = (key(old), key(&new));
    let selectors = |entry| selector_texts(entry).join(", ");
    let fields = [
        ("spiffe_id", before.0, after.0),
        ("parent_id", before.1, after.1),
        (
            "selectors",
            sorted(selectors(&old.selectors)),
            sorted(selectors(&new.selectors)),
        ),
        (
            "x509_ttl",
            old.x509_svid_ttl.to_string(),
            new.x509_svid_ttl.to_string(),
        ),
        (
            "jwt_ttl",
            old.jwt_svid_ttl.to_string(),
            new.jwt_svid_ttl.to_string(),
        ),
        (
            "dns_names",
            old.dns_names.join(", "),
            new.dns_names.join(", "),
        ),
        (
            "federates_with",
            sorted(old.federates_with.join(", ")),
            sorted(new.federates_with.join(", ")),
        ),
        ("hint", old.hint.clone(), new.hint.clone()),
        ("admin", old.admin.to_string(), new.admin.to_string()),
        (
            "downstream",
            old.downstream.to_string(),
            new.downstream.to_string(),
        ),
        (
            "expires_at",
            old.expires_at.to_string(),
            new.expires_at.to_string(),
        ),
        (
            "token_limits",
            limit::text(&had),
            limit::text(limits.as_ref().unwrap_or(&had)),
        ),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .filter(|(_, old, new)| old != new)
        .collect();
    let old = old.clone();
    (!fields.is_empty()).then_some(Update {
        old,
        new,
        limits,
        fields,
    })
}

/// Lists whose order plays no part.
fn sorted(list: String) -> String {
    let mut parts: Vec<&str> = list.split(", ").collect();
    parts.sort_unstable();
    parts.dedup();
    parts.join(", ")
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
