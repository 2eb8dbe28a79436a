//! The agent's configuration: TOML in, checked values out.
//!
//! Unknown keys are errors, so a misspelt limit never silently falls back to a
//! default. The sample `deploy/agent.toml` documents every key and a test
//! parses it.

mod attestors;
mod check;
mod delegated;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use identity::{SpiffeId, TrustDomain};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::limits::Limits;
use crate::sds::Config as SdsConfig;
pub use attestors::{
    AttestorsConfig, EngineConfig, ExternalConfig, SystemdConfig, UnixConfig, X509PopConfig,
};
use check::{check_address, check_seal_key, parse_key_type, parse_mode, parse_pins, value};
pub use delegated::DelegatedIdentityConfig;

/// Where the workload socket is unless configured otherwise.
pub const DEFAULT_WORKLOAD_SOCKET: &str = "/run/bulla/agent/workload.sock";
/// Where the admin socket is unless configured otherwise.
pub const DEFAULT_ADMIN_SOCKET: &str = "/run/bulla/agent/admin.sock";
/// Where the agent keeps its state unless configured otherwise.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/bulla/agent";

/// What an agent needs to know. Fields are public so that the command line can
/// put its flags over what a file says; [`Config::check`] has the last word.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain this node belongs to, such as `example.org`.
    pub trust_domain: String,
    /// State that survives a restart: the agent's key, SVIDs and bundle.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// The Unix socket that workloads call.
    #[serde(default = "default_workload_socket")]
    pub workload_socket: PathBuf,
    /// The Unix socket for the node's operator, mode 0600.
    #[serde(default = "default_admin_socket")]
    pub admin_socket: PathBuf,
    /// A file that holds a join token, for the first start only.
    #[serde(default)]
    pub join_token_file: Option<PathBuf>,
    /// A file the agent writes once its sockets are open: JSON with their
    /// actual addresses.
    #[serde(default)]
    pub ready_file: Option<PathBuf>,
    /// How to reach the server.
    pub server: ServerConfig,
    /// What the first contact with the server is trusted by.
    #[serde(default)]
    pub trust: TrustConfig,
    /// How workloads are served.
    #[serde(default)]
    pub workload_api: WorkloadApiConfig,
    /// Who may act for other workloads.
    #[serde(default)]
    pub delegated_identity: DelegatedIdentityConfig,
    /// How Envoys are served.
    #[serde(default)]
    pub sds: SdsConfig,
    /// What workload attestors look at.
    #[serde(default)]
    pub attestors: AttestorsConfig,
    /// What is kept on disk, and how.
    #[serde(default)]
    pub storage: StorageConfig,
    /// Health and metrics over HTTP.
    #[serde(default)]
    pub ops: OpsConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// The join token itself, handed in by `main` from `BULLA_JOIN_TOKEN`. It
    /// cannot be written in the file.
    #[serde(skip)]
    pub join_token: Option<JoinToken>,
}

/// Section `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// `host:port` of the server.
    pub address: String,
}

/// Section `[trust]`: a pin or a file is needed until the agent has a bundle of its own in
/// its data folder, and counts no longer while an authority in that has not expired.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustConfig {
    /// SHA-256 of an X.509 authority of the server, hexadecimal; any of them may match.
    pub bundle_sha256: Vec<String>,
    /// The trust bundle itself: PEM certificates or a SPIFFE bundle document.
    pub bundle_file: Option<PathBuf>,
    /// Whether these count although the agent holds a bundle that its server gave it: to
    /// be set for one start, after the server lost its authorities.
    pub replace_stored_bundle: bool,
}

/// Section `[workload_api]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadApiConfig {
    /// Whether callers without any identity may read the own trust domain's
    /// bundles and validate JWT-SVIDs.
    pub allow_unauthenticated_verifiers: bool,
    /// Whether callers are refused where the kernel (before 6.5) can only
    /// attest them weakly.
    pub refuse_weak: bool,
    /// Mode of the workload socket, octal.
    pub socket_mode: String,
    /// Key type of workload X.509-SVIDs: `ec-p256` or `ec-p384`.
    pub x509_key_type: String,
}

impl Default for WorkloadApiConfig {
    fn default() -> Self {
        Self {
            allow_unauthenticated_verifiers: false,
            refuse_weak: false,
            socket_mode: "0666".to_owned(),
            x509_key_type: "ec-p256".to_owned(),
        }
    }
}

/// Section `[storage]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Whether workload SVIDs and their keys are kept on disk, so that an agent
    /// that restarts without its server still serves them.
    pub keep_workload_svids: bool,
    /// Whether tokens and certificates are found valid although the stored list of what is
    /// revoked is missing or damaged and the server has not been heard since.
    pub accept_lost_revocations: bool,
    /// A file whose bytes seal what is kept (a systemd credential, say). It
    /// must not lie in `data_dir`.
    pub seal_key_file: Option<PathBuf>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            keep_workload_svids: true,
            accept_lost_revocations: false,
            seal_key_file: None,
        }
    }
}

/// Section `[ops]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpsConfig {
    /// Address for `/live`, `/ready` and `/metrics`; none by default. Only
    /// loopback addresses are accepted.
    pub listen: Option<SocketAddr>,
}

/// A join token: wiped when dropped, never shown.
#[derive(Clone)]
pub struct JoinToken(Zeroizing<String>);

impl JoinToken {
    /// Takes a token, without the white space around it.
    ///
    /// # Errors
    /// The text cannot be a token.
    pub fn new(text: &str) -> Result<Self, ConfigError> {
        let token = text.trim();
        match join_token::JoinToken::parse(token) {
            Ok(_) => Ok(Self(Zeroizing::new(token.to_owned()))),
            Err(why) => Err(ConfigError::JoinToken(why)),
        }
    }

    pub(crate) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(..)")
    }
}

/// Why a configuration is refused; each says what to change.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, an unknown key, or a missing one.
    #[error("configuration is not valid: {0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// The file cannot be read.
    #[error("cannot read configuration {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The trust domain name is none.
    #[error("trust_domain: {0}")]
    TrustDomain(#[from] identity::TrustDomainError),
    /// A value that does not fit its key.
    #[error("{key}: {why}")]
    Value {
        /// The key, with its section.
        key: &'static str,
        /// What is wrong and what to write.
        why: String,
    },
    /// The join token cannot be one.
    #[error("the join token (BULLA_JOIN_TOKEN, or the file) cannot be one: {0}")]
    JoinToken(join_token::JoinTokenError),
}

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) server_address: String,
    pub(crate) pins: Vec<[u8; 32]>,
    pub(crate) socket_mode: u32,
    pub(crate) x509_key_type: keys::KeyType,
    pub(crate) delegates: BTreeSet<SpiffeId>,
    pub(crate) config: Config,
}

impl Config {
    /// A configuration with defaults for everything but what has none.
    #[must_use]
    pub fn new(trust_domain: &str, server_address: &str) -> Self {
        Self {
            trust_domain: trust_domain.to_owned(),
            data_dir: default_data_dir(),
            workload_socket: default_workload_socket(),
            admin_socket: default_admin_socket(),
            join_token_file: None,
            ready_file: None,
            server: ServerConfig {
                address: server_address.to_owned(),
            },
            trust: TrustConfig::default(),
            workload_api: WorkloadApiConfig::default(),
            delegated_identity: DelegatedIdentityConfig::default(),
            sds: SdsConfig::default(),
            attestors: AttestorsConfig::default(),
            storage: StorageConfig::default(),
            ops: OpsConfig::default(),
            limits: Limits::default(),
            join_token: None,
        }
    }

    /// Parses TOML. Values are looked at by [`Config::check`].
    ///
    /// # Errors
    /// Names the line and the key.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|e| ConfigError::Toml(Box::new(e)))
    }

    /// Reads and parses a TOML file.
    ///
    /// # Errors
    /// As [`Config::from_toml`], or the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_toml(&text)
    }

    /// Looks at every value, without touching the network: what
    /// `bulla agent validate` runs.
    ///
    /// # Errors
    /// Names the first key whose value does not fit.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.clone().settings().map(drop)
    }

    pub(crate) fn settings(self) -> Result<Settings, ConfigError> {
        let trust_domain = TrustDomain::from_human(&self.trust_domain)?;
        check_address(&self.server.address)?;
        if let Some(name) = self.limits.zero() {
            return Err(value(
                "limits",
                format!("{name} is zero, which refuses everything"),
            ));
        }
        if self.ops.listen.is_some_and(|at| !at.ip().is_loopback()) {
            let why = "only loopback addresses are served; put a proxy before it".to_owned();
            return Err(value("ops.listen", why));
        }
        check_seal_key(&self)?;
        self.attestors.check()?;
        self.sds.check()?;
        Ok(Settings {
            server_address: self.server.address.clone(),
            pins: parse_pins(&self.trust.bundle_sha256)?,
            socket_mode: parse_mode(&self.workload_api.socket_mode)?,
            x509_key_type: parse_key_type(&self.workload_api.x509_key_type)?,
            delegates: self.delegated_identity.delegates(&trust_domain)?,
            trust_domain,
            config: self,
        })
    }
}

fn default_data_dir() -> PathBuf {
    DEFAULT_DATA_DIR.into()
}
fn default_workload_socket() -> PathBuf {
    DEFAULT_WORKLOAD_SOCKET.into()
}
fn default_admin_socket() -> PathBuf {
    DEFAULT_ADMIN_SOCKET.into()
}
