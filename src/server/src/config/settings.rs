//! Checked settings: what the rest of the server may rely on without looking again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use identity::{Seconds, TrustDomain};
use keys::KeyType;

use super::{Config, ConfigError, LogFormat, StoreEngine, duration};

/// The server's settings, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The trust domain served.
    pub trust_domain: TrustDomain,
    /// Where keys, store and journal live.
    pub data_dir: PathBuf,
    /// The server API's address.
    pub listen: SocketAddr,
    /// What agents are told; `None` is the address actually bound.
    pub advertise: Option<String>,
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// Worker threads of the runtime.
    pub worker_threads: usize,
    /// First byte of every serial.
    pub server_number: u8,
    /// The store's engine.
    pub store: StoreEngine,
    /// The engine's cache, in bytes.
    pub store_cache_bytes: u64,
    /// Key type of X.509 authorities.
    pub ca_key: KeyType,
    /// Lifetime of X.509 authorities.
    pub ca_ttl: Seconds,
    /// Default lifetime of X.509-SVIDs.
    pub x509_ttl: Seconds,
    /// Longest lifetime of X.509-SVIDs.
    pub max_x509_ttl: Seconds,
    /// Default lifetime of JWT-SVIDs.
    pub jwt_ttl: Seconds,
    /// Longest lifetime of JWT-SVIDs.
    pub max_jwt_ttl: Seconds,
    /// Lifetime of agents' SVIDs.
    pub agent_ttl: Seconds,
    /// Key type of JWT authorities.
    pub jwt_key: KeyType,
    /// Lifetime of JWT authorities.
    pub jwt_key_ttl: Seconds,
    /// `iss` of JWT-SVIDs.
    pub jwt_issuer: Option<String>,
    /// Where the passphrase that seals keys is read from.
    pub passphrase_file: Option<PathBuf>,
    /// Cron schedule of rotation ticks.
    pub rotation_schedule: String,
    /// How long a new authority is public before it signs.
    pub propagation: Seconds,
    /// Default lifetime of join tokens.
    pub join_token_ttl: Seconds,
    /// Longest lifetime of join tokens.
    pub max_join_token_ttl: Seconds,
    /// Attestations at one time.
    pub attest_concurrency: usize,
    /// Size of one journal segment, in bytes.
    pub journal_segment_bytes: u64,
    /// Connections at one time.
    pub max_connections: usize,
    /// Handshakes at one time.
    pub max_handshakes: usize,
    /// Streams on one connection.
    pub max_streams: u32,
    /// Age at which a connection is asked to reconnect.
    pub connection_age: Duration,
    /// The operations listener's address.
    pub ops_listen: Option<SocketAddr>,
    /// Log level.
    pub log_level: String,
    /// Log format.
    pub log_format: LogFormat,
}

pub(super) fn check(config: &Config) -> Result<Settings, ConfigError> {
    let svid = &config.svid;
    let settings = Settings {
        trust_domain: trust_domain(&config.trust_domain)?,
        data_dir: absolute("data_dir", &config.data_dir)?,
        listen: address("listen", &config.listen)?,
        advertise: config.advertise.as_deref().map(advertise).transpose()?,
        admin_socket: socket_path("admin_socket", &config.admin_socket)?,
        worker_threads: usize::from(range("worker_threads", config.worker_threads, 1, 1024)?),
        server_number: range("server_number", config.server_number, 1, 127)?,
        store: config.store.engine,
        store_cache_bytes: u64::from(range("store.cache_mib", config.store.cache_mib, 4, 4096)?)
            << 20,
        ca_key: ca_key(&config.ca.key_type)?,
        ca_ttl: span("ca.ttl", &config.ca.ttl, 600, 10 * 365 * 86_400)?,
        x509_ttl: span("svid.x509_ttl", &svid.x509_ttl, 10, 7 * 86_400)?,
        max_x509_ttl: span("svid.max_x509_ttl", &svid.max_x509_ttl, 10, 30 * 86_400)?,
        jwt_ttl: span("svid.jwt_ttl", &svid.jwt_ttl, 10, 86_400)?,
        max_jwt_ttl: span("svid.max_jwt_ttl", &svid.max_jwt_ttl, 10, 7 * 86_400)?,
        agent_ttl: span("svid.agent_ttl", &svid.agent_ttl, 10, 7 * 86_400)?,
        jwt_key: key_type("jwt.key_type", &config.jwt.key_type)?,
        jwt_key_ttl: span("jwt.ttl", &config.jwt.ttl, 600, 10 * 365 * 86_400)?,
        jwt_issuer: config.jwt.issuer.as_deref().map(issuer).transpose()?,
        passphrase_file: config.keys.passphrase_file.clone(),
        rotation_schedule: config.rotation.schedule.clone(),
        propagation: span(
            "rotation.propagation",
            &config.rotation.propagation,
            0,
            7 * 86_400,
        )?,
        join_token_ttl: span(
            "attestation.join_token_ttl",
            &config.attestation.join_token_ttl,
            1,
            7 * 86_400,
        )?,
        max_join_token_ttl: span(
            "attestation.max_join_token_ttl",
            &config.attestation.max_join_token_ttl,
            1,
            30 * 86_400,
        )?,
        attest_concurrency: usize::from(range(
            "attestation.concurrency",
            config.attestation.concurrency,
            1,
            4096,
        )?),
        journal_segment_bytes: u64::from(range(
            "audit.segment_mib",
            config.audit.segment_mib,
            1,
            4096,
        )?) << 20,
        max_connections: count(
            "limits.connections",
            config.limits.connections,
            1,
            1_000_000,
        )?,
        max_handshakes: usize::from(range(
            "limits.handshakes",
            config.limits.handshakes,
            1,
            4096,
        )?),
        max_streams: u32::from(range(
            "limits.streams_per_connection",
            config.limits.streams_per_connection,
            1,
            4096,
        )?),
        connection_age: Duration::from_secs(u64::from(
            span(
                "limits.connection_age",
                &config.limits.connection_age,
                1,
                86_400,
            )?
            .0,
        )),
        ops_listen: config
            .ops
            .listen
            .as_deref()
            .map(|a| address("ops.listen", a))
            .transpose()?,
        log_level: log_level(&config.log.level)?,
        log_format: config.log.format,
    };
    orders(config, &settings)?;
    Ok(settings)
}

/// Lifetimes that must not exceed one another.
fn orders(config: &Config, s: &Settings) -> Result<(), ConfigError> {
    let pairs = [
        (
            "svid.x509_ttl",
            &config.svid.x509_ttl,
            s.x509_ttl,
            "svid.max_x509_ttl",
            s.max_x509_ttl,
        ),
        (
            "svid.jwt_ttl",
            &config.svid.jwt_ttl,
            s.jwt_ttl,
            "svid.max_jwt_ttl",
            s.max_jwt_ttl,
        ),
        (
            "svid.x509_ttl",
            &config.svid.x509_ttl,
            s.x509_ttl,
            "ca.ttl",
            s.ca_ttl,
        ),
        (
            "svid.agent_ttl",
            &config.svid.agent_ttl,
            s.agent_ttl,
            "ca.ttl",
            s.ca_ttl,
        ),
        (
            "svid.jwt_ttl",
            &config.svid.jwt_ttl,
            s.jwt_ttl,
            "jwt.ttl",
            s.jwt_key_ttl,
        ),
        (
            "attestation.join_token_ttl",
            &config.attestation.join_token_ttl,
            s.join_token_ttl,
            "attestation.max_join_token_ttl",
            s.max_join_token_ttl,
        ),
    ];
    for (key, value, small, other, big) in pairs {
        if small > big {
            return Err(refuse(
                key,
                value,
                format!("it is longer than {other}; make it shorter or {other} longer"),
            ));
        }
    }
    Ok(())
}

fn refuse(key: &'static str, value: impl ToString, problem: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        problem: problem.into(),
    }
}

fn trust_domain(text: &str) -> Result<TrustDomain, ConfigError> {
    TrustDomain::parse(text).map_err(|error| refuse("trust_domain", text, error.to_string()))
}

fn absolute(key: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
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
fn socket_path(key: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
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

fn address(key: &'static str, text: &str) -> Result<SocketAddr, ConfigError> {
    text.parse().map_err(|_: std::net::AddrParseError| {
        refuse(
            key,
            text,
            "it is not an IP address with a port; write 127.0.0.1:8081 or [::]:8081",
        )
    })
}

/// An OIDC issuer: an https URL without query or fragment (OIDC Discovery 1.0, section 3).
fn issuer(text: &str) -> Result<String, ConfigError> {
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

/// What agents dial: a host name or address, and a port.
fn advertise(text: &str) -> Result<String, ConfigError> {
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
            "advertise",
            text,
            "it is not host:port; write what agents can reach, such as bulla.example.org:8081",
        ))
    }
}

fn range<N: PartialOrd + ToString + Copy>(
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

fn count(key: &'static str, value: u32, least: u32, most: u32) -> Result<usize, ConfigError> {
    let value = range(key, value, least, most)?;
    Ok(usize::try_from(value).unwrap_or(usize::MAX))
}

fn span(key: &'static str, text: &str, least: u32, most: u32) -> Result<Seconds, ConfigError> {
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

fn key_type(key: &'static str, text: &str) -> Result<KeyType, ConfigError> {
    KeyType::from_str(text).map_err(|_| {
        refuse(
            key,
            text,
            "it is no key type; write ec-p256, ec-p384, rsa-2048 or rsa-4096",
        )
    })
}

/// X.509 authorities sign with ECDSA: the certificate template knows no RSA signer.
fn ca_key(text: &str) -> Result<KeyType, ConfigError> {
    key_type("ca.key_type", text)
}

fn log_level(text: &str) -> Result<String, ConfigError> {
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
