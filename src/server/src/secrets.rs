//! Reading the secrets that open a key storage: from a file that nobody else may
//! read, or from a credential that systemd hands to the service. Never from the
//! command line or the configuration, and never shown.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::SecretAt;
use crate::limits;

/// A secret cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {place}: {problem}")]
pub struct SecretFailure {
    /// The key of the configuration that names it.
    pub key: &'static str,
    /// The file.
    pub place: String,
    /// What is wrong, and what to do.
    pub problem: String,
}

/// The bytes, without trailing newlines when it is a text.
pub(crate) fn read(
    key: &'static str,
    at: &SecretAt,
    is_text: bool,
) -> Result<Zeroizing<Vec<u8>>, SecretFailure> {
    match at {
        SecretAt::File(path) => {
            let remedy = format!("run: chmod 0600 {}", path.display());
            read_file(key, path, (0o077, &remedy), is_text)
        }
        SecretAt::Credential(name) => {
            let folder = credentials().ok_or_else(|| SecretFailure {
                key,
                place: name.clone(),
                problem: "there are no credentials: run the server as a systemd service with \
                     LoadCredentialEncrypted="
                    .into(),
            })?;
            // systemd may grant a service access through its group class alone.
            let remedy = "systemd makes it so; who changed it?";
            read_file(key, &folder.join(name), (0o007, remedy), is_text)
        }
    }
}

/// Where systemd put the service's credentials.
#[expect(
    clippy::disallowed_methods,
    reason = "systemd says in the environment where credentials are, and nowhere else"
)]
fn credentials() -> Option<PathBuf> {
    let folder = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    folder.is_absolute().then_some(folder)
}

fn read_file(
    key: &'static str,
    path: &Path,
    (forbidden, remedy): (u32, &str),
    is_text: bool,
) -> Result<Zeroizing<Vec<u8>>, SecretFailure> {
    let refuse = |problem: String| SecretFailure {
        key,
        place: path.display().to_string(),
        problem,
    };
    let found = std::fs::metadata(path).map_err(|e| refuse(e.to_string()))?;
    if found.permissions().mode() & forbidden != 0 {
        return Err(refuse(format!("its mode lets others read it; {remedy}")));
    }
    if usize::try_from(found.len()).is_ok_and(|size| size > limits::MAX_SECRET_BYTES) {
        return Err(refuse(format!(
            "it has {} bytes; at most {} are read",
            found.len(),
            limits::MAX_SECRET_BYTES
        )));
    }
    let mut bytes = Zeroizing::new(std::fs::read(path).map_err(|e| refuse(e.to_string()))?);
    while is_text && bytes.last().is_some_and(|b| *b == b'\n' || *b == b'\r') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(refuse("it is empty".into()));
    }
    Ok(bytes)
}
