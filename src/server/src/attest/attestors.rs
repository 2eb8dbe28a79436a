//! The one list of node attestors. A new one is a line here and a folder under
//! `attestors/`.

use contract::{HostError, Verify, VerifyHost};
use join_token::JoinTokenVerifier;

use crate::entropy::Entropy;

/// Every node attestor this server verifies.
pub(crate) fn all() -> Vec<Box<dyn Verify>> {
    vec![Box::new(JoinTokenVerifier)]
}

/// What verifiers may ask of this server.
pub(crate) struct Host<'a>(pub(crate) &'a Entropy);

impl VerifyHost for Host<'_> {
    fn random(&self, out: &mut [u8]) -> Result<(), HostError> {
        let filled = self.0.source().fill(out);
        filled.map_err(|ring::error::Unspecified| HostError {
            what: "make random bytes",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_named_once_and_can_be_part_of_an_id() {
        let mut kinds: Vec<_> = all().iter().map(|verifier| verifier.kind()).collect();
        let count = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), count);
        for kind in kinds {
            assert!(
                kind.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            );
        }
    }
}
