//! `[keys]`: where signing keys are kept, and where the secrets that open that place
//! are read from. Secrets themselves are never in the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::aws_kms::{self, AwsKmsSection, KmsSettings};
use super::value::{absolute, range, refuse, span};
use super::{ConfigError, StoreEngine};

/// Where signing keys are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyPlace {
    /// In memory: gone at exit. Only with `store.engine = "memory"`.
    Memory,
    /// In files under the data directory.
    #[default]
    File,
    /// In a PKCS#11 token.
    Pkcs11,
    /// In AWS KMS.
    AwsKms,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysSection {
    /// Where.
    pub storage: KeyPlace,
    /// File with the passphrase that seals key files; none leaves them unsealed.
    pub passphrase_file: Option<PathBuf>,
    /// systemd credential with the secret that seals key files.
    pub credential: Option<String>,
    /// How long one signature may take when the key is kept elsewhere.
    pub timeout: String,
    /// The token.
    pub pkcs11: Option<Pkcs11Section>,
    /// The account and region.
    pub aws_kms: Option<AwsKmsSection>,
}

impl Default for KeysSection {
    fn default() -> Self {
        Self {
            storage: KeyPlace::default(),
            passphrase_file: None,
            credential: None,
            timeout: "5s".into(),
            pkcs11: None,
            aws_kms: None,
        }
    }
}

/// `[keys.pkcs11]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11Section {
    /// The token's PKCS#11 library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// File with the user PIN.
    pub pin_file: Option<PathBuf>,
    /// systemd credential with the user PIN.
    pub pin_credential: Option<String>,
    /// Sessions at one time.
    #[serde(default = "sessions")]
    pub sessions: u16,
}

const fn sessions() -> u16 {
    8
}

/// Where a secret is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretAt {
    /// A file that nobody else may read.
    File(PathBuf),
    /// A credential that systemd hands to the service, by its name.
    Credential(String),
}

/// Where signing keys are kept, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysAt {
    /// In memory.
    Memory,
    /// In files, unsealed.
    Files,
    /// In files, sealed with a passphrase.
    FilesUnderPassphrase(SecretAt),
    /// In files, sealed with a random secret.
    FilesUnderSecret(SecretAt),
    /// In a PKCS#11 token.
    Token(TokenSettings),
    /// In AWS KMS.
    Kms(KmsSettings),
}

/// `[keys.pkcs11]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSettings {
    /// The library.
    pub module: PathBuf,
    /// The label.
    pub token: String,
    /// Where the PIN is.
    pub pin: SecretAt,
    /// Sessions at one time.
    pub sessions: u16,
}

pub(super) fn timeout(section: &KeysSection) -> Result<Duration, ConfigError> {
    let given = span("keys.timeout", &section.timeout, 1, 60)?;
    Ok(Duration::from_secs(u64::from(given.0)))
}

pub(super) fn check(section: &KeysSection, store: StoreEngine) -> Result<KeysAt, ConfigError> {
    if store == StoreEngine::Memory {
        return memory(section);
    }
    let unused = |key, what| refuse(key, "", format!("it is for storage = {what:?} only"));
    if section.pkcs11.is_some() && section.storage != KeyPlace::Pkcs11 {
        return Err(unused("keys.pkcs11", "pkcs11"));
    }
    if section.aws_kms.is_some() && section.storage != KeyPlace::AwsKms {
        return Err(unused("keys.aws_kms", "aws_kms"));
    }
    if section.storage != KeyPlace::File {
        if section.passphrase_file.is_some() {
            return Err(unused("keys.passphrase_file", "file"));
        }
        if section.credential.is_some() {
            return Err(unused("keys.credential", "file"));
        }
    }
    match section.storage {
        KeyPlace::Memory => Err(refuse(
            "keys.storage",
            "memory",
            "the store would outlive the keys; use it with store.engine = \"memory\"",
        )),
        KeyPlace::File => files(section),
        KeyPlace::Pkcs11 => token(section.pkcs11.as_ref()),
        KeyPlace::AwsKms => aws_kms::check(section.aws_kms.as_ref()).map(KeysAt::Kms),
    }
}

/// The rows that say what a key is for are gone at exit; so must be the key.
fn memory(section: &KeysSection) -> Result<KeysAt, ConfigError> {
    match section.storage {
        KeyPlace::Memory | KeyPlace::File => Ok(KeysAt::Memory),
        KeyPlace::Pkcs11 | KeyPlace::AwsKms => Err(refuse(
            "keys.storage",
            "pkcs11 or aws_kms",
            "a store in memory forgets which keys there are; use it with store.engine = \"sled\"",
        )),
    }
}

fn files(section: &KeysSection) -> Result<KeysAt, ConfigError> {
    match (&section.passphrase_file, &section.credential) {
        (None, None) => Ok(KeysAt::Files),
        (Some(path), None) => Ok(KeysAt::FilesUnderPassphrase(SecretAt::File(path.clone()))),
        (None, Some(name)) => {
            let name = credential("keys.credential", name)?;
            Ok(KeysAt::FilesUnderSecret(SecretAt::Credential(name)))
        }
        (Some(_), Some(name)) => Err(refuse(
            "keys.credential",
            name,
            "keys.passphrase_file is set, too; keys are sealed with one of them",
        )),
    }
}

fn token(section: Option<&Pkcs11Section>) -> Result<KeysAt, ConfigError> {
    let Some(section) = section else {
        return Err(refuse(
            "keys.storage",
            "pkcs11",
            "section [keys.pkcs11] is missing; it says which token",
        ));
    };
    // A token's label is a field of 32 bytes (PKCS#11 v3.0, CK_TOKEN_INFO).
    if section.token.is_empty() || section.token.len() > 32 {
        let problem = "a token's label has 1 to 32 bytes; see: pkcs11-tool --list-slots";
        return Err(refuse("keys.pkcs11.token", &section.token, problem));
    }
    let pin = match (&section.pin_file, &section.pin_credential) {
        (Some(path), None) => SecretAt::File(absolute("keys.pkcs11.pin_file", path)?),
        (None, Some(name)) => SecretAt::Credential(credential("keys.pkcs11.pin_credential", name)?),
        _ => {
            let problem = "write either pin_file or pin_credential; the PIN itself is never here";
            return Err(refuse("keys.pkcs11", &section.token, problem));
        }
    };
    Ok(KeysAt::Token(TokenSettings {
        module: absolute("keys.pkcs11.module", &section.module)?,
        token: section.token.clone(),
        pin,
        sessions: range("keys.pkcs11.sessions", section.sessions, 1, 256)?,
    }))
}

/// A credential's name is a file name.
fn credential(key: &'static str, name: &str) -> Result<String, ConfigError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(name.to_owned());
    }
    let problem = "a credential's name is what LoadCredential= calls it, such as bulla-keys";
    Err(refuse(key, name, problem))
}
