//! Sections `[attestors.…]`: what is looked at of a workload, and what the node
//! proves itself with.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::check::value;

/// The most environment variables that may be stated.
const MAX_ENV: usize = 32;
const MAX_EXTERNAL: usize = 16;
const MAX_NAME_BYTES: usize = 32;
const MAX_CONFIG_BYTES: usize = 64 * 1024;
/// Kinds of selectors that are stated by the agent itself.
const OWN_NAMES: [&str; 5] = ["unix", "systemd", "docker", "podman", "spiffe_id"];

/// Section `[attestors]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestorsConfig {
    /// The node's certificate, when it proves itself with one.
    pub x509_pop: Option<X509PopConfig>,
    /// Users, groups and binaries.
    pub unix: UnixConfig,
    /// Units of systemd.
    pub systemd: SystemdConfig,
    /// Containers of Docker.
    pub docker: EngineConfig,
    /// Containers of Podman, as root.
    pub podman: EngineConfig,
    /// Programs outside this tree that speak SPIRE's plug-in protocol.
    pub external: Vec<ExternalConfig>,
}

impl AttestorsConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let engines = [
            ("attestors.docker", &self.docker),
            ("attestors.podman", &self.podman),
        ];
        for (key, engine) in engines {
            if engine.socket.as_ref().is_some_and(|s| !s.is_absolute()) {
                let why = "socket is not an absolute path".to_owned();
                return Err(value(key, why));
            }
            if engine.env.len() > MAX_ENV || engine.env.iter().any(|name| !is_variable(name)) {
                let why = format!(
                    "env names at most {MAX_ENV} variables, each without '=' and control characters"
                );
                return Err(value(key, why));
            }
        }
        self.check_external()
    }

    fn check_external(&self) -> Result<(), ConfigError> {
        let refused = |why: String| Err(value("attestors.external", why));
        if self.external.len() > MAX_EXTERNAL {
            return refused(format!("at most {MAX_EXTERNAL} are allowed"));
        }
        let mut names = BTreeSet::from(OWN_NAMES);
        for external in &self.external {
            let name = external.name.as_str();
            let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
            if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(allowed) {
                return refused(format!(
                    "name {name:?} is not 1 to {MAX_NAME_BYTES} of a-z, 0-9 and _"
                ));
            }
            if !names.insert(name) {
                return refused(format!("the name {name} is taken"));
            }
            if !external.path.is_absolute() {
                return refused(format!("the path of {name} is not absolute"));
            }
            if external.config.len() > MAX_CONFIG_BYTES {
                return refused(format!(
                    "the config of {name} has over {MAX_CONFIG_BYTES} bytes"
                ));
            }
            external.digest()?;
        }
        Ok(())
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_control())
}

/// Section `[attestors.x509_pop]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct X509PopConfig {
    /// The node's certificate and the intermediates after it, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM: P-256 or RSA.
    pub key_file: PathBuf,
}

/// Section `[attestors.unix]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnixConfig {
    /// Whether the caller's executable path is a selector.
    pub path: bool,
    /// Whether the SHA-256 of the caller's executable is a selector.
    pub sha256: bool,
    /// The largest executable that is hashed, in bytes. A larger one has no
    /// `sha256` selector.
    pub sha256_max_bytes: u64,
}

impl Default for UnixConfig {
    fn default() -> Self {
        Self {
            path: true,
            sha256: false,
            sha256_max_bytes: 256 * 1024 * 1024,
        }
    }
}

/// Section `[attestors.systemd]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SystemdConfig {
    /// Whether units are stated at all.
    pub enabled: bool,
    /// Whether callers are served without these selectors when they cannot be
    /// found out, instead of being refused.
    pub optional: bool,
}

/// Sections `[attestors.docker]` and `[attestors.podman]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Whether containers are stated at all.
    pub enabled: bool,
    /// The engine's Unix socket; the engine's usual one when absent.
    pub socket: Option<PathBuf>,
    /// Names of environment variables that are stated with their values.
    pub env: Vec<String>,
    /// Whether callers whose default identity may depend on these selectors are
    /// served what is left when the engine does not answer, instead of being refused.
    pub optional: bool,
}

/// One section `[[attestors.external]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// The attestor's name, and the kind of its selectors.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// Its SHA-256, hexadecimal. A program with another one is not started.
    pub sha256: String,
    /// What the plug-in is configured with, in HCL.
    #[serde(default)]
    pub config: String,
    /// Whether callers whose default identity may depend on its selectors are served
    /// what is left when it fails, instead of being refused.
    #[serde(default)]
    pub optional: bool,
}

impl ExternalConfig {
    pub(crate) fn digest(&self) -> Result<[u8; 32], ConfigError> {
        let mut digest = [0; 32];
        match hex::decode_to_slice(self.sha256.trim(), &mut digest) {
            Ok(()) => Ok(digest),
            Err(_) => {
                let why = format!(
                    "the sha256 of {} is not a SHA-256 in 64 hexadecimal digits; `sha256sum {}` prints it",
                    self.name,
                    self.path.display()
                );
                Err(value("attestors.external", why))
            }
        }
    }
}
