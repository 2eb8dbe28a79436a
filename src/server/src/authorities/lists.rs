//! Who signs revocation lists: every X.509 authority whose certificates are about,
//! not the active one alone.

use std::sync::Arc;

use authority::X509Authority;
use authority::rotation::Phase;
use identity::{Seconds, Timestamp};
use keys::Signer;
use records::AuthorityProfile;

use super::Authorities;
use super::rows::Rotor;

/// A key whose certificates verifiers know.
pub(super) struct Known {
    /// Its certificate, then those above it.
    chain: Vec<Vec<u8>>,
    signer: Arc<dyn Signer>,
}

impl Known {
    fn authority(&self, now: Timestamp) -> Option<X509Authority> {
        let (certificate, above) = self.chain.split_first()?;
        let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
        // One that has expired vouches for nothing that could be revoked.
        X509Authority::load(certificate, &above, Arc::clone(&self.signer), now).ok()
    }
}

/// The keys of a rotation that are in the bundle, oldest first.
pub(super) fn known(rotor: &Rotor) -> Vec<Known> {
    let keys = rotor.state.keys.iter();
    let keys = keys.filter(|key| !matches!(key.phase, Phase::Prepared));
    let known = keys.filter_map(|key| {
        Some(Known {
            chain: rotor.row(key.slot)?.chain.clone(),
            signer: Arc::clone(rotor.signers.get(&key.slot)?),
        })
    });
    known.collect()
}

impl Authorities {
    /// This server's X.509 authorities that verifiers know, oldest first, as of the
    /// last step of the rotation: a step that waits for somebody is not waited for.
    pub(crate) fn x509_in_bundle(&self) -> Vec<X509Authority> {
        let now = self.0.parts.clock.now();
        let known = self.0.known.load();
        known.iter().filter_map(|one| one.authority(now)).collect()
    }

    /// The longest lifetime of anything that can be revoked, authorities of downstream
    /// servers included.
    pub(crate) fn longest(&self) -> Seconds {
        let plan = &self.0.parts.plan;
        let [x509, jwt] = [AuthorityProfile::X509, AuthorityProfile::Jwt];
        plan.longest_signed(x509).max(plan.longest_signed(jwt))
    }
}

#[cfg(test)]
impl Authorities {
    /// Keeps every rotation from its next step.
    pub(crate) async fn step_under_way(&self) -> impl Drop + '_ {
        self.0.rotors.lock().await
    }
}
