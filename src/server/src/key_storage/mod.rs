//! Opening the place where this server's signing keys are kept, as configured.

mod aws;

use std::sync::Arc;

use keys::file::{FileKeys, Seal, seal_directory};
use keys::memory::MemoryKeys;
use keys::{KeyStorage, StorageError};
use pkcs11::{TokenKeys, TokenOptions};

use crate::clock::Clock;
use crate::config::{KeysAt, Settings, TokenSettings};
use crate::entropy::Entropy;
use crate::secrets::{self, SecretFailure};

/// Why the key storage did not open.
#[derive(Debug, thiserror::Error)]
pub enum KeysFailure {
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretFailure),
    /// The storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Opens it. Blocks: a token is logged in to, a passphrase stretched.
pub(crate) fn open(
    settings: &Settings,
    entropy: &Entropy,
    clock: &Clock,
) -> Result<Arc<dyn KeyStorage>, KeysFailure> {
    match &settings.keys {
        KeysAt::Memory => Ok(Arc::new(MemoryKeys::new())),
        KeysAt::Token(token) => open_token(settings, token),
        KeysAt::Kms(kms) => Ok(Arc::new(aws::open(settings, kms, clock)?)),
        files => {
            let seal = seal(files)?;
            if matches!(seal, Seal::None) {
                tracing::warn!(
                    "signing keys are unsealed: file modes alone protect them; set keys.passphrase_file or keys.credential"
                );
            }
            let folder = settings.data_dir.join("keys");
            Ok(Arc::new(FileKeys::open(&folder, &seal, entropy.source())?))
        }
    }
}

/// Seals the key files of a stopped server as its configuration now says, and says how
/// many there are. A system credential is read as the server reads it.
///
/// # Errors
/// The configuration names no seal, or the directory cannot be sealed.
pub fn seal_files(settings: &Settings) -> Result<usize, KeysFailure> {
    let seal = seal(&settings.keys)?;
    let folder = settings.data_dir.join("keys");
    let entropy = Entropy::system();
    Ok(seal_directory(&folder, &seal, entropy.source())?)
}

/// What seals the key files.
fn seal(keys: &KeysAt) -> Result<Seal, SecretFailure> {
    Ok(match keys {
        KeysAt::FilesUnderPassphrase(at) => {
            Seal::Passphrase(secrets::read("keys.passphrase_file", at, true)?)
        }
        KeysAt::FilesUnderSecret(at) => Seal::Secret(secrets::read("keys.credential", at, false)?),
        KeysAt::Memory | KeysAt::Files | KeysAt::Token(_) | KeysAt::Kms(_) => Seal::None,
    })
}

fn open_token(
    settings: &Settings,
    token: &TokenSettings,
) -> Result<Arc<dyn KeyStorage>, KeysFailure> {
    let options = TokenOptions {
        module: token.module.clone(),
        token: token.token.clone(),
        pin: secrets::read("keys.pkcs11.pin", &token.pin, true)?,
        label_prefix: format!("bulla/{}/", settings.trust_domain),
        sessions: Some(token.sessions),
    };
    Ok(Arc::new(TokenKeys::open(&options)?))
}
