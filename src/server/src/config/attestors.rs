//! `[attestors.…]`: a section for each node attestor that needs settings. An attestor
//! whose section is not there is off, except join tokens.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::value::{absolute, refuse};

/// `[attestors]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestorsSection {
    /// Node attestation by X.509 certificates.
    pub x509_pop: Option<X509PopSection>,
}

/// `[attestors.x509_pop]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct X509PopSection {
    /// Whose certificates nodes have: `external_pki`, those of the operator's own CA.
    #[serde(default = "external_pki")]
    pub mode: String,
    /// The CA certificates that nodes' certificates must lead to, PEM.
    pub ca_bundle_file: PathBuf,
}

fn external_pki() -> String {
    "external_pki".to_owned()
}

/// Checked: where the CA certificates for `x509pop` are, when it is on.
pub(super) fn x509_pop(section: &AttestorsSection) -> Result<Option<PathBuf>, ConfigError> {
    let Some(section) = &section.x509_pop else {
        return Ok(None);
    };
    if section.mode != "external_pki" {
        return Err(refuse(
            "attestors.x509_pop.mode",
            &section.mode,
            "the only mode is external_pki: certificates of your own CA",
        ));
    }
    absolute("attestors.x509_pop.ca_bundle_file", &section.ca_bundle_file).map(Some)
}
