//! SVIDs that an authority signed which the own bundle taints or no longer holds:
//! they are replaced at once, and the server is told when none is left.

use std::collections::BTreeSet;
use std::sync::Arc;

use identity::{Bundle, EntryId, Timestamp};
use tokio::sync::watch;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Hub, State};
use crate::limits;

/// The authorities of the own bundle that may be relied on, by subject key id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authorities {
    good: BTreeSet<Vec<u8>>,
    /// Whether every authority could be named; else nothing is told apart.
    is_complete: bool,
}

impl Authorities {
    fn of(bundle: &Bundle) -> Self {
        let untainted = bundle.x509_authorities.iter().filter(|a| !a.tainted);
        let named: Vec<Option<Vec<u8>>> = untainted.map(|a| subject_key_id(&a.der)).collect();
        Self {
            is_complete: named.iter().all(Option::is_some),
            good: named.into_iter().flatten().collect(),
        }
    }

    /// Whether a chain leads to one of them, as far as can be told.
    pub(super) fn vouch_for(&self, chain: &[Arc<[u8]>]) -> bool {
        if !self.is_complete {
            return true;
        }
        let top = chain.last().and_then(|der| authority_key_id(der));
        top.is_none_or(|signer| self.good.contains(&signer))
    }

    /// Whether one that could be relied on before cannot be now.
    fn lost_any_of(&self, before: &Self) -> bool {
        before.good.difference(&self.good).next().is_some()
    }
}

/// The subject key identifier of a certificate.
pub(crate) fn subject_key_id(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut extensions = certificate.extensions().iter();
    extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

/// The key identifier of what signed a certificate.
pub(crate) fn authority_key_id(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let mut extensions = certificate.extensions().iter();
    extensions.find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    })
}

impl Hub {
    /// Whether an authority that may be relied on vouches for a chain.
    pub(crate) fn stands(&self, chain: &[Arc<[u8]>]) -> bool {
        self.lock().authorities.vouch_for(chain)
    }

    /// Follows the sequence of the own bundle by which no SVID here is suspect.
    pub(crate) fn replaced(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// The own bundle is a new one: what it no longer vouches for is due.
    pub(super) fn rely_on_new_bundle(&self, state: &mut State, now: Timestamp) {
        let Some(own) = state.cache.own_bundle() else {
            return;
        };
        let authorities = Authorities::of(own);
        let lost = authorities.lost_any_of(&state.authorities);
        state.authorities = authorities;
        if !lost {
            return;
        }
        let authorities = &state.authorities;
        let suspect = |issued: &workload::Issued| !authorities.vouch_for(&issued.svid.chain);
        let (waiting, effects) = state.cache.renew_suspects(suspect, now);
        if !waiting.is_empty() {
            tracing::warn!(
                svids = waiting.len(),
                "an authority is tainted or gone; what it signed is replaced"
            );
        }
        state.suspects.extend(waiting);
        self.settle(state, &effects);
    }

    /// An SVID was stored: it counts as replaced, or is due again soon when its
    /// authority was tainted while it was under way.
    pub(super) fn look_at_stored(&self, state: &mut State, id: &EntryId, now: Timestamp) {
        let Some(issued) = state.cache.x509_of(id) else {
            return;
        };
        if state.relies_on(issued) {
            state.suspects.remove(id);
            return;
        }
        state.suspects.insert(id.clone());
        let effects = state.cache.renew_after(id, limits::SUSPECT_RETRY, now);
        self.settle(state, &effects);
    }

    /// Tells whoever follows when nothing is suspect any more.
    pub(super) fn note_replaced(&self, state: &mut State) {
        // Entries leave and SVIDs expire without being replaced.
        let mut suspects = std::mem::take(&mut state.suspects);
        suspects.retain(|id| {
            let issued = state.cache.x509_of(id);
            issued.is_some_and(|issued| !state.relies_on(issued))
        });
        state.suspects = suspects;
        if !state.suspects.is_empty() {
            return;
        }
        let sequence = state.cache.own_bundle().map_or(0, |own| own.sequence);
        self.replaced.send_if_modified(|shown| {
            let news = *shown != sequence;
            *shown = sequence;
            news
        });
    }
}
