//! Single values of the configuration, each with the refusal that says what to write
//! instead.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use identity::{Seconds, TrustDomain};
use keys::{KeyType, KeyTypeError};

use super::{ConfigError, duration};

pub(super) fn refuse(
    key: &'static str,
    value: impl ToString,
    problem: impl Into<String>,
) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        problem: problem.into(),
    }
}

pub(super) fn trust_domain(text: &str) -> Result<TrustDomain, ConfigError> {
    TrustDomain::parse(text).map_err(|error| refuse("trust_domain", text, error.to_string()))
}

pub(super) fn absolute(key: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
    if path.is_absolute() {
        Ok(path.to_path_buf())
    } else {
        Err(refuse(
            key,
            path.display(),
            "it is not an absolute path; write it from /",
        ))
    }
}

/// A Unix socket's path fits `sockaddr_un`: 107 bytes.
pub(super) fn socket_path(key: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
    let path = absolute(key, path)?;
    if path.as_os_str().len() > 107 {
        return Err(refuse(
            key,
            path.display(),
            "a socket path has at most 107 bytes; choose a shorter one",
        ));
    }
    Ok(path)
}

pub(super) fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_not: std::net::AddrParseError| {
        refuse(
            key,
            text,
            "it is not an IP address with a port; write 127.0.0.1:8081 or [::]:8081",
        )
    })
}

/// An OIDC issuer: an https URL without query or fragment (OIDC Discovery 1.0, section 3).
pub(super) fn issuer(text: &str) -> Result<String, ConfigError> {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let plain = host.len() <= 512
        && host
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"?#\"\\<>@".contains(&b));
    if plain && !host.is_empty() && !host.starts_with('/') {
        Ok(text.into())
    } else {
        Err(refuse(
            "jwt.issuer",
            text,
            "it is not an https URL without query and fragment; write https://oidc.example.org",
        ))
    }
}

pub(super) fn schedule(text: &str) -> Result<String, ConfigError> {
    if crate::housekeeping::is_schedule(text) {
        Ok(text.into())
    } else {
        let problem = "it is no cron schedule with seconds; write one such as */10 * * * * *";
        Err(refuse("rotation.schedule", text, problem))
    }
}

/// What agents dial: a host name or address, and a port.
pub(super) fn advertise(text: &str) -> Result<String, ConfigError> {
    host_port("advertise", text, "what agents can reach")
}

/// A host and a port, to be resolved when it is dialled.
pub(super) fn host_port(key: &'static str, text: &str, what: &str) -> Result<String, ConfigError> {
    let ok = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && host.len() <= 255
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b))
            && port.parse::<u16>().is_ok_and(|p| p != 0)
    });
    if ok {
        Ok(text.into())
    } else {
        Err(refuse(
            key,
            text,
            format!("it is not host:port; write {what}, such as bulla.example.org:8081"),
        ))
    }
}

pub(super) fn range<N: PartialOrd + ToString + Copy>(
    key: &'static str,
    value: N,
    least: N,
    most: N,
) -> Result<N, ConfigError> {
    if value < least || value > most {
        let problem = format!(
            "it must be between {} and {}",
            least.to_string(),
            most.to_string()
        );
        return Err(refuse(key, value.to_string(), problem));
    }
    Ok(value)
}

pub(super) fn span(
    key: &'static str,
    text: &str,
    least: u32,
    most: u32,
) -> Result<Seconds, ConfigError> {
    let parsed = duration::parse(text).ok_or_else(|| {
        refuse(
            key,
            text,
            "it is not a span of time; write a whole number and s, m, h or d, such as 1h",
        )
    })?;
    if parsed.0 < least || parsed.0 > most {
        return Err(refuse(
            key,
            text,
            format!("it must be between {least}s and {most}s"),
        ));
    }
    Ok(parsed)
}

pub(super) fn key_type(key: &'static str, text: &str) -> Result<KeyType, ConfigError> {
    KeyType::from_str(text).map_err(|_not: KeyTypeError| {
        refuse(
            key,
            text,
            "it is no key type; write ec-p256, ec-p384, rsa-2048 or rsa-4096",
        )
    })
}

pub(super) fn log_level(text: &str) -> Result<String, ConfigError> {
    if ["error", "warn", "info", "debug", "trace"].contains(&text) {
        Ok(text.into())
    } else {
        Err(refuse(
            "log.level",
            text,
            "it is no level; write error, warn, info, debug or trace",
        ))
    }
}
