//! Who signs revocation lists: every X.509 authority whose certificates are about,
//! not the active one alone.

use std::sync::Arc;

use authority::X509Authority;
use authority::rotation::Phase;
use identity::Seconds;

use super::Authorities;

impl Authorities {
    /// This server's X.509 authorities that verifiers know, oldest first.
    pub(crate) async fn x509_in_bundle(&self) -> Vec<X509Authority> {
        let now = self.0.parts.clock.now();
        let rotors = self.0.rotors.lock().await;
        let rotor = &rotors.x509;
        let known = rotor.state.keys.iter();
        let known = known.filter(|key| !matches!(key.phase, Phase::Prepared));
        let authorities = known.filter_map(|key| {
            let row = rotor.row(key.slot)?;
            let signer = rotor.signers.get(&key.slot)?;
            let (certificate, above) = row.chain.split_first()?;
            let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
            // One that has expired vouches for nothing that could be revoked.
            X509Authority::load(certificate, &above, Arc::clone(signer), now).ok()
        });
        authorities.collect()
    }

    /// The longest lifetime of an X.509-SVID and of a JWT-SVID.
    pub(crate) fn longest(&self) -> (Seconds, Seconds) {
        let plan = &self.0.parts.plan;
        (plan.longest_x509, plan.longest_jwt)
    }
}
