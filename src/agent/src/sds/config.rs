//! Section `[sds]` of the agent's configuration.

use serde::Deserialize;

use crate::config::ConfigError;

/// Section `[sds]`: how Envoys are served.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SdsConfig {
    /// Whether secrets are also given to a caller that does not send the
    /// security header `workload.spiffe.io: true`, as Envoy does not unless
    /// `initial_metadata` is configured. It must speak gRPC over HTTP/2 then.
    /// Whatever else gives out identities demands the header always.
    pub without_header: bool,
    /// The name under which Envoy asks for the caller's default X.509-SVID.
    pub default_svid_name: String,
    /// The name under which Envoy asks for the own trust domain's authorities.
    pub default_bundle_name: String,
    /// The name under which Envoy asks for the authorities of all trust domains
    /// the caller may verify.
    pub default_all_bundles_name: String,
    /// Whether bundles are given as a plain `trusted_ca` to every Envoy. A node
    /// may choose for itself by its metadata `disable_spiffe_cert_validation`.
    pub disable_spiffe_cert_validation: bool,
}

impl Default for SdsConfig {
    fn default() -> Self {
        Self {
            without_header: true,
            default_svid_name: "default".to_owned(),
            default_bundle_name: "ROOTCA".to_owned(),
            default_all_bundles_name: "ALL".to_owned(),
            disable_spiffe_cert_validation: false,
        }
    }
}

impl SdsConfig {
    /// Refuses names that could not be told apart.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let names = [
            ("sds.default_svid_name", &self.default_svid_name),
            ("sds.default_bundle_name", &self.default_bundle_name),
            (
                "sds.default_all_bundles_name",
                &self.default_all_bundles_name,
            ),
        ];
        for (index, (key, name)) in names.iter().enumerate() {
            let why = if name.is_empty() {
                "is empty, which asks for everything; write a name".to_owned()
            } else if name.starts_with("spiffe://") {
                "is a SPIFFE ID, which names itself; write another name".to_owned()
            } else if names.iter().take(index).any(|(_, other)| other == name) {
                format!("{name:?} already names something else; write another name")
            } else {
                continue;
            };
            return Err(ConfigError::Value { key, why });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::SdsConfig;

    #[test]
    fn names_are_there_and_differ() {
        assert!(SdsConfig::default().check().is_ok());
        for bad in ["", "ROOTCA", "ALL", "spiffe://example.org"] {
            let config = SdsConfig {
                default_svid_name: bad.to_owned(),
                ..SdsConfig::default()
            };
            assert!(config.check().is_err(), "{bad:?}");
        }
    }
}
