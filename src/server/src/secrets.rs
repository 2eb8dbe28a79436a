//! Reading the server's secrets: passphrases, PINs and private keys, from files that
//! nobody else may read or from credentials that systemd hands to the service. Never
//! from the command line or the configuration, and never shown.

use std::path::{Path, PathBuf};

use keys::secret_file::{self, Readers, SecretFileError};
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
    let (path, readers) = match at {
        SecretAt::File(path) => (path.clone(), Readers::of(path)),
        SecretAt::Credential(name) => {
            let folder = credentials().ok_or_else(|| SecretFailure {
                key,
                place: name.clone(),
                problem: "there are no credentials: run the server as a systemd service with \
                     LoadCredentialEncrypted="
                    .into(),
            })?;
            // systemd may grant a service access through its group class alone.
            (folder.join(name), Readers::Group)
        }
    };
    let limit = u64::try_from(limits::MAX_SECRET_BYTES).unwrap_or(u64::MAX);
    let own = own_uid();
    let read = if is_text {
        secret_file::read_text(&path, limit, readers, own)
    } else {
        secret_file::read(&path, limit, readers, own)
    };
    read.map_err(|error| refused(key, &path, &error))
}

/// A private key in PEM, in a file that nobody else may read.
pub(crate) fn read_key(
    key: &'static str,
    path: &Path,
    limit: u64,
) -> Result<Zeroizing<Vec<u8>>, SecretFailure> {
    let read = secret_file::read(path, limit, Readers::of(path), own_uid());
    read.map_err(|error| refused(key, path, &error))
}

fn refused(key: &'static str, path: &Path, error: &SecretFileError) -> SecretFailure {
    SecretFailure {
        key,
        place: path.display().to_string(),
        problem: error.to_string(),
    }
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
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
