//! Which bundles an agent is sent: its own trust domain's and those its entries
//! federate with, again whenever one of them changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::convert::{bundle_to_wire, keys_to_wire};
use api::sync::Bundles;
use identity::{Bundle, Entry, TrustDomain};
use prost::Message;

use super::super::items::MAX_ANSWER_BYTES;
use crate::state::State;

/// The bundles an agent was last sent.
#[derive(Default)]
pub(super) struct Sent(Option<Vec<Arc<Bundle>>>);

impl Sent {
    /// What to send now; `None` when the agent has it all.
    pub(super) fn update(&mut self, state: &State, entries: &[Arc<Entry>]) -> Option<Bundles> {
        let needed = needed(state, entries)?;
        let same = |sent: &Vec<Arc<Bundle>>| {
            sent.len() == needed.len()
                && sent
                    .iter()
                    .zip(&needed)
                    .all(|(a, b)| Arc::ptr_eq(a, b) || a == b)
        };
        if self.0.as_ref().is_some_and(same) {
            return None;
        }
        let message = to_wire(&needed);
        self.0 = Some(needed);
        message
    }
}

/// The own bundle first; `None` while there is none.
fn needed(state: &State, entries: &[Arc<Entry>]) -> Option<Vec<Arc<Bundle>>> {
    let federated: BTreeSet<&TrustDomain> = entries
        .iter()
        .flat_map(|entry| &entry.federates_with)
        .collect();
    let registry = state.registry();
    let mut needed = vec![Arc::clone(registry.bundle(state.trust_domain())?)];
    needed.extend(
        federated
            .into_iter()
            .filter_map(|of| registry.bundle(of).cloned()),
    );
    Some(needed)
}

fn to_wire(needed: &[Arc<Bundle>]) -> Option<Bundles> {
    let (own, federated) = needed.split_first()?;
    let mut message = Bundles {
        own: Some(bundle_to_wire(own, None)),
        federated: Vec::with_capacity(federated.len()),
        access_keys: keys_to_wire(&own.access_keys),
    };
    let mut bytes = 0;
    for bundle in federated {
        let wire = bundle_to_wire(bundle, None);
        bytes += wire.encoded_len();
        if bytes > MAX_ANSWER_BYTES {
            tracing::error!(
                bundles = needed.len(),
                "an agent needs more federated bundles than one message holds; the rest is left out"
            );
            break;
        }
        message.federated.push(wire);
    }
    Some(message)
}
