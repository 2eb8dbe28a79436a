//! Looking at the values that TOML cannot check.

use super::{Config, ConfigError};
use crate::limits;

pub(super) const fn value(key: &'static str, why: String) -> ConfigError {
    ConfigError::Value { key, why }
}

pub(super) fn check_address(address: &str) -> Result<(), ConfigError> {
    let ok = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0));
    if ok {
        return Ok(());
    }
    let why = format!("{address:?} is not host:port, such as bulla.example.org:8081");
    Err(value("server.address", why))
}

pub(super) fn check_seal_key(config: &Config) -> Result<(), ConfigError> {
    let beside = config
        .storage
        .seal_key_file
        .as_ref()
        .is_some_and(|file| file.starts_with(&config.data_dir));
    if beside {
        let why = "lies in data_dir, beside what it seals, and so protects nothing".to_owned();
        return Err(value("storage.seal_key_file", why));
    }
    Ok(())
}

pub(super) fn parse_pins(texts: &[String]) -> Result<Vec<[u8; 32]>, ConfigError> {
    if texts.len() > limits::PINS {
        let why = format!(
            "{} pins given; at most {} are allowed",
            texts.len(),
            limits::PINS
        );
        return Err(value("trust.bundle_sha256", why));
    }
    texts.iter().map(|text| parse_pin(text)).collect()
}

/// Takes the digest as `bulla token create` prints it, and as `openssl x509
/// -fingerprint -sha256` does.
pub(super) fn parse_pin(text: &str) -> Result<[u8; 32], ConfigError> {
    let bare = text.trim().to_ascii_lowercase();
    let bare = bare
        .strip_prefix("sha256:")
        .unwrap_or(&bare)
        .replace(':', "");
    let mut pin = [0; 32];
    match hex::decode_to_slice(&bare, &mut pin) {
        Ok(()) => Ok(pin),
        Err(_) => {
            let why = format!("{text:?} is not a SHA-256 in 64 hexadecimal digits");
            Err(value("trust.bundle_sha256", why))
        }
    }
}

pub(super) fn parse_mode(text: &str) -> Result<u32, ConfigError> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && mode & 0o600 == 0o600 => Ok(mode),
        _ => {
            let why = format!("{text:?} is not an octal mode such as \"0666\"");
            Err(value("workload_api.socket_mode", why))
        }
    }
}

pub(super) fn parse_key_type(text: &str) -> Result<keys::KeyType, ConfigError> {
    match text {
        "ec-p256" => Ok(keys::KeyType::EcP256),
        "ec-p384" => Ok(keys::KeyType::EcP384),
        _ => {
            let why = format!("{text:?} is not \"ec-p256\" or \"ec-p384\"");
            Err(value("workload_api.x509_key_type", why))
        }
    }
}
