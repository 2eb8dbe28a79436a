//! The active policy set for agents: its digest, by which they drop tokens that
//! another set decided, and its catalogue, by which they map endpoints.

use std::collections::VecDeque;

use api::sync::{CatalogueFile, Hello, PolicySet};

use crate::tokens::Tokens;

/// The feature that asks for it.
const FEATURE: &str = "policy";
/// Bytes of catalogue in one message.
const PAGE_BYTES: usize = 1 << 20;

/// What one agent is told of policy sets.
pub(super) struct Feed {
    wanted: bool,
    /// The digest the agent holds, or will when it has taken all pages.
    held: String,
    pages: VecDeque<PolicySet>,
}

impl Feed {
    pub(super) fn new(hello: &Hello) -> Self {
        Self {
            wanted: hello.features.iter().any(|feature| feature == FEATURE),
            held: hello.policy_set.clone(),
            pages: VecDeque::new(),
        }
    }

    /// Looks at the set that decides now. Pages of an older one are dropped: the
    /// agent applies a set only when it is whole.
    pub(super) fn look(&mut self, tokens: &Tokens) {
        if !self.wanted {
            return;
        }
        let active = tokens.active();
        let digest = active.as_ref().map_or("", |a| a.activation.digest.as_str());
        if digest == self.held {
            return;
        }
        self.held = digest.to_owned();
        self.pages.clear();
        let mut page = PolicySet {
            digest: digest.to_owned(),
            issuer: tokens.issuer().to_owned(),
            ..Default::default()
        };
        let Some(active) = active else {
            self.pages.push_back(page);
            return;
        };
        page.catalogue_digest
            .clone_from(&active.activation.catalogue);
        let first = page.clone();
        let mut bytes = 0;
        for file in &active.sources.catalogue {
            bytes += file.name.len() + file.text.len();
            if bytes > PAGE_BYTES && !page.catalogue.is_empty() {
                page.more = true;
                self.pages
                    .push_back(std::mem::replace(&mut page, first.clone()));
                bytes = file.text.len();
            }
            page.catalogue.push(CatalogueFile {
                name: file.name.clone(),
                text: file.text.clone(),
            });
        }
        self.pages.push_back(page);
    }

    /// The next message.
    pub(super) fn next(&mut self) -> Option<PolicySet> {
        self.pages.pop_front()
    }
}
