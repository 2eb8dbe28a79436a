//! The first line that a plug-in writes: where it listens, and how it speaks.
//!
//! `core version | application version | network | address | protocol | …`

use std::path::{Component, Path, PathBuf};

/// The longest first line, in bytes.
pub const MAX_HANDSHAKE_BYTES: usize = 4096;

/// A plug-in's word about where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Its Unix socket.
    pub socket: PathBuf,
}

/// Why a first line is no handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its first line is no handshake of a SPIRE plug-in: {0}")]
pub struct HandshakeError(&'static str);

impl Handshake {
    /// What a plug-in of SPIRE's agents must have in its environment to believe
    /// that it was started by a host, beside the folder for its socket.
    pub const ENVIRONMENT: [(&'static str, &'static str); 4] = [
        ("WorkloadAttestor", "WorkloadAttestor"),
        ("PLUGIN_PROTOCOL_VERSIONS", "1"),
        ("PLUGIN_MIN_PORT", "10000"),
        ("PLUGIN_MAX_PORT", "25000"),
    ];
    /// The variables that say in which folder a plug-in is to make its socket:
    /// the plug-in framework's own, and what its older versions go by.
    pub const FOLDER_VARIABLES: [&'static str; 2] = ["PLUGIN_UNIX_SOCKET_DIR", "TMPDIR"];

    /// Reads the line. The socket must lie directly in `folder`, which is the
    /// plug-in's own: nothing else is dialled on its word.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(line: &str, folder: &Path) -> Result<Self, HandshakeError> {
        let mut parts = line.trim_end().split('|');
        let mut next = || parts.next().unwrap_or_default();
        if next() != "1" {
            return Err(HandshakeError("another version of the core protocol"));
        }
        if next() != "1" {
            return Err(HandshakeError(
                "another version of the application protocol",
            ));
        }
        if next() != "unix" {
            return Err(HandshakeError("it does not listen on a Unix socket"));
        }
        let socket = PathBuf::from(next());
        if next() != "grpc" {
            return Err(HandshakeError("it does not speak gRPC"));
        }
        if !next().is_empty() {
            return Err(HandshakeError("it demands TLS, which nobody asked it for"));
        }
        let name = socket.strip_prefix(folder).ok().map(Path::components);
        let is_inside = name.is_some_and(|mut name| {
            matches!(name.next(), Some(Component::Normal(_))) && name.next().is_none()
        });
        if !is_inside {
            return Err(HandshakeError(
                "its socket is not in the folder it was given",
            ));
        }
        Ok(Self { socket })
    }
}
