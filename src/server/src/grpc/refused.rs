//! Items of a batch that were refused: each gets its log line and its record, all
//! of a call in one group.

use records::AuditKind;

use crate::audit::{Audit, Refusal};
use crate::caller::Caller;
use crate::failure::{Failure, Kind};

/// The refused items of one call.
pub(super) struct Refused<'a> {
    kind: AuditKind,
    caller: &'a Caller,
    items: Vec<Item>,
}

struct Item {
    for_whom: String,
    entry_id: String,
    reason: String,
}

impl<'a> Refused<'a> {
    pub(super) const fn new(kind: AuditKind, caller: &'a Caller) -> Self {
        Self {
            kind,
            caller,
            items: Vec::new(),
        }
    }

    /// Adds an item that concerns an entry. What merely failed on our side is not
    /// a refusal.
    pub(super) fn add(&mut self, entry_id: &str, failure: &Failure) {
        self.push("", entry_id, failure);
    }

    /// Adds an item that concerns a SPIFFE ID.
    pub(super) fn add_for(&mut self, for_whom: &str, failure: &Failure) {
        self.push(for_whom, "", failure);
    }

    fn push(&mut self, for_whom: &str, entry_id: &str, failure: &Failure) {
        if matches!(
            failure.kind(),
            Kind::Unavailable | Kind::OutcomeUnknown | Kind::Internal
        ) {
            return;
        }
        self.items.push(Item {
            for_whom: clip(for_whom),
            entry_id: clip(entry_id),
            reason: failure.message().to_owned(),
        });
    }

    /// Records them.
    pub(super) async fn record(&self, audit: &Audit) {
        if self.items.is_empty() {
            return;
        }
        let refusals: Vec<Refusal<'_>> = self
            .items
            .iter()
            .map(|item| Refusal {
                kind: self.kind,
                caller: self.caller,
                for_whom: &item.for_whom,
                entry_id: &item.entry_id,
                reason: &item.reason,
            })
            .collect();
        audit.refuse_all(&refusals).await;
    }
}

/// What a caller sent goes into a record no longer than a valid value would be.
fn clip(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, _)| at)
        .nth(255)
        .unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_owned()
}
