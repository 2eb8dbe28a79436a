//! Section `[delegated_identity]`: who may act for other workloads of the node.

use std::collections::BTreeSet;

use identity::{SpiffeId, TrustDomain};
use serde::Deserialize;

use super::ConfigError;
use super::check::value;
use crate::limits;

const KEY: &str = "delegated_identity.authorized_delegates";

/// Section `[delegated_identity]`. Nobody may, by default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DelegatedIdentityConfig {
    /// SPIFFE IDs of this trust domain whose holders may be given the identities
    /// of every workload of this node.
    pub authorized_delegates: Vec<String>,
    /// Whether they may name workloads by process alone, which the agent attests,
    /// and not by selectors, where it takes their word.
    pub attested_only: bool,
}

impl Default for DelegatedIdentityConfig {
    fn default() -> Self {
        Self {
            authorized_delegates: Vec::new(),
            attested_only: true,
        }
    }
}

impl DelegatedIdentityConfig {
    pub(super) fn delegates(&self, of: &TrustDomain) -> Result<BTreeSet<SpiffeId>, ConfigError> {
        let ids = &self.authorized_delegates;
        if ids.len() > limits::DELEGATES {
            let why = format!("at most {} are allowed", limits::DELEGATES);
            return Err(value(KEY, why));
        }
        ids.iter().map(|text| delegate(text, of)).collect()
    }
}

fn delegate(text: &str, of: &TrustDomain) -> Result<SpiffeId, ConfigError> {
    let id = SpiffeId::parse(text).map_err(|error| value(KEY, format!("{text:?}: {error}")))?;
    if id.is_member_of(of) && !id.path().is_empty() {
        return Ok(id);
    }
    let why = format!("{text:?} is no workload of {of}");
    Err(value(KEY, why))
}

#[cfg(test)]
mod tests {
    use super::DelegatedIdentityConfig;

    #[test]
    fn a12_delegates_name_workloads_by_process_unless_an_admin_says_otherwise() {
        let one = r#"authorized_delegates = ["spiffe://example.org/proxy"]"#;
        let config: DelegatedIdentityConfig = toml::from_str(one).unwrap();
        assert!(config.attested_only);
        let said: DelegatedIdentityConfig = toml::from_str("attested_only = false").unwrap();
        assert!(!said.attested_only);
    }
}
