//! The one list of node attestors. A new one is a line here and a folder under
//! `attestors/`.

use contract::{HostError, Verify, VerifyHost};
use join_token::JoinTokenVerifier;
use x509_pop::{Roots, X509PopVerifier};

use crate::config::Settings;
use crate::entropy::Entropy;
use crate::failure::Failure;

/// Every node attestor this server verifies, by its settings.
///
/// # Errors
/// A file that an attestor needs cannot be used.
pub(crate) fn all(settings: &Settings) -> Result<Vec<Box<dyn Verify>>, Failure> {
    let mut all: Vec<Box<dyn Verify>> = vec![Box::new(JoinTokenVerifier)];
    if let Some(path) = &settings.x509_pop_cas {
        let unusable = |why: String| {
            let key = "attestors.x509_pop.ca_bundle_file";
            Failure::invalid(format!("{key} {}: {why}", path.display()))
        };
        let pem = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
        let roots = Roots::from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        let trust_domain = settings.trust_domain.clone();
        all.push(Box::new(X509PopVerifier::new(roots, trust_domain)));
    }
    Ok(all)
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

    const CA: &str = include_str!("../../../../attestors/x509_pop/testdata/ca.pem");

    fn settings(pem: &str) -> (tempfile::TempDir, Settings) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cas.pem");
        std::fs::write(&file, pem).unwrap();
        let data = folder.path().to_path_buf();
        let mut config = crate::config::Config::for_domain("example.org", data);
        config.attestors.x509_pop = Some(crate::config::X509PopSection {
            mode: "external_pki".to_owned(),
            ca_bundle_file: file,
        });
        let settings = config.check().unwrap();
        (folder, settings)
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_stops_the_start_and_is_named() {
        for pem in [
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let (_folder, settings) = settings(pem);
            let refused = all(&settings).err().unwrap();
            let message = refused.message();
            assert!(message.contains("ca_bundle_file") && message.contains("cas.pem"));
        }
    }

    #[test]
    fn each_kind_is_named_once_and_can_be_part_of_an_id() {
        let (_folder, settings) = settings(CA);
        let all = all(&settings).unwrap();
        let mut kinds: Vec<_> = all.iter().map(|verifier| verifier.kind()).collect();
        assert_eq!(kinds.len(), 2);
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
