//! Sections `[attestors.…]`: what is looked at of a workload.

use std::path::PathBuf;

use serde::Deserialize;

use super::ConfigError;
use super::check::value;

/// The most environment variables that may be stated.
const MAX_ENV: usize = 32;

/// Section `[attestors]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestorsConfig {
    /// Users, groups and binaries.
    pub unix: UnixConfig,
    /// Units of systemd.
    pub systemd: SystemdConfig,
    /// Containers of Docker.
    pub docker: EngineConfig,
    /// Containers of Podman, as root.
    pub podman: EngineConfig,
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
        Ok(())
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '=' || c.is_control())
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
    /// Whether callers are served without these selectors when the engine does
    /// not answer, instead of being refused.
    pub optional: bool,
}
