//! The server's configuration: TOML in, checked settings out. Unknown keys are
//! errors, every key has a line in `deploy/server.toml`, and a refusal names the
//! key, what it holds and what to do.

mod attestors;
mod aws_kms;
mod duration;
mod file;
mod key_place;
mod settings;
mod storage;
mod upstream;
mod value;

pub use attestors::{AttestorsSection, X509PopSection};
pub use aws_kms::{AwsKmsSection, KmsCredentials, KmsSettings};
pub use file::{
    AttestationSection, CaSection, ClockSection, Config, JwtSection, LimitsSection, LogFormat,
    LogSection, OpsSection, PublicSection, RotationSection, StoreEngine, StoreSection, SvidSection,
};
pub use key_place::{KeyPlace, KeysAt, KeysSection, Pkcs11Section, SecretAt, TokenSettings};
pub use settings::{PublicSettings, Settings};
pub use storage::{AuditSection, DiskSection};
pub use upstream::{
    DiskUpstreamSection, UpstreamSection, UpstreamSettings, WorkloadApiUpstreamSection,
};

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is not TOML, or has a key that does not exist.
    #[error("configuration cannot be read: {0}")]
    Syntax(String),
    /// The file could not be read.
    #[error("configuration file {path} cannot be read: {why}; check the path and its owner")]
    File {
        /// The path given.
        path: String,
        /// What the system said.
        why: String,
    },
    /// One key holds something that will not do.
    #[error("{key} = {value:?}: {problem}")]
    Value {
        /// The key, with its section: `ca.ttl`.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
}

impl Config {
    /// Parses TOML.
    ///
    /// # Errors
    /// The text is not TOML, or a key is unknown or of the wrong type.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Syntax(error.to_string()))
    }

    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// The file cannot be read, or as [`Config::parse`].
    pub fn load(path: &std::path::Path) -> Result<Self, ConfigError> {
        let refuse = |why: String| ConfigError::File {
            path: path.display().to_string(),
            why,
        };
        let size = std::fs::metadata(path)
            .map_err(|e| refuse(e.to_string()))?
            .len();
        if size > crate::limits::MAX_CONFIG_BYTES {
            return Err(refuse(format!("it has {size} bytes, more than 1 MiB")));
        }
        let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
        Self::parse(&text)
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first key that will not do, with what to write instead.
    pub fn check(&self) -> Result<Settings, ConfigError> {
        settings::check(self)
    }
}

#[cfg(test)]
mod tests;
