//! `[upstream.…]`: the authority above this server, when there is one.

use std::path::PathBuf;

use identity::SpiffeId;
use serde::Deserialize;

use super::ConfigError;
use super::value::{absolute, host_port, refuse, socket_path};

/// `[upstream]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpstreamSection {
    /// A CA whose certificate and key are files.
    pub disk: Option<DiskUpstreamSection>,
    /// Another server, reached with an identity from an agent's Workload API.
    pub workload_api: Option<WorkloadApiUpstreamSection>,
}

/// `[upstream.disk]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskUpstreamSection {
    /// The CA's certificate, then those above it, PEM.
    pub certificate_file: PathBuf,
    /// The CA's private key, PKCS#8 PEM, mode 0600 or less.
    pub key_file: PathBuf,
    /// The roots to publish, PEM; by default the CA itself, when it is self-signed.
    pub bundle_file: Option<PathBuf>,
}

/// `[upstream.workload_api]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadApiUpstreamSection {
    /// The upstream server, host and port.
    pub server: String,
    /// The Workload API socket of an agent of the upstream server on this node.
    #[serde(default = "default_socket")]
    pub socket: PathBuf,
    /// Which of its identities to call with; by default the first.
    pub spiffe_id: Option<String>,
}

fn default_socket() -> PathBuf {
    PathBuf::from("/run/bulla/agent/workload.sock")
}

/// Where the authority above this server is, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamSettings {
    /// In files.
    Disk {
        /// The CA's certificate and those above it.
        certificate: PathBuf,
        /// The CA's private key.
        key: PathBuf,
        /// The roots; `None` is the CA itself.
        bundle: Option<PathBuf>,
    },
    /// In another server.
    WorkloadApi {
        /// Its address, host and port.
        server: String,
        /// The socket of an agent below it.
        socket: PathBuf,
        /// The identity to call with; `None` is the first.
        spiffe_id: Option<SpiffeId>,
    },
}

fn spiffe_id(text: &str) -> Result<SpiffeId, ConfigError> {
    SpiffeId::parse(text)
        .map_err(|error| refuse("upstream.workload_api.spiffe_id", text, error.to_string()))
}

pub(super) fn check(section: &UpstreamSection) -> Result<Option<UpstreamSettings>, ConfigError> {
    match (&section.disk, &section.workload_api) {
        (None, None) => Ok(None),
        (Some(disk), None) => {
            let bundle = disk.bundle_file.as_deref();
            Ok(Some(UpstreamSettings::Disk {
                certificate: absolute("upstream.disk.certificate_file", &disk.certificate_file)?,
                key: absolute("upstream.disk.key_file", &disk.key_file)?,
                bundle: bundle
                    .map(|path| absolute("upstream.disk.bundle_file", path))
                    .transpose()?,
            }))
        }
        (None, Some(nested)) => Ok(Some(UpstreamSettings::WorkloadApi {
            server: host_port(
                "upstream.workload_api.server",
                &nested.server,
                "where the upstream server listens",
            )?,
            socket: socket_path("upstream.workload_api.socket", &nested.socket)?,
            spiffe_id: nested.spiffe_id.as_deref().map(spiffe_id).transpose()?,
        })),
        (Some(_), Some(_)) => Err(refuse(
            "upstream",
            "disk and workload_api",
            "there is at most one authority above a server; keep one of the sections",
        )),
    }
}
