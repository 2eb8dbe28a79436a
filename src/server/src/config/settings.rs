//! Checked settings: what the rest of the server may rely on without looking again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use identity::{Seconds, TrustDomain};
use keys::KeyType;

use super::value::{
    absolute, address, advertise, issuer, key_type, log_level, range, refuse, schedule,
    socket_path, span, trust_domain,
};
use super::{Config, ConfigError, KeysAt, LogFormat, StoreEngine, SvidSection, UpstreamSettings};
use super::{attestors, key_place, storage, upstream};
use crate::audit::{Retention, Shares, Watermarks};
use crate::validate::collide;

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
    /// Levels of downstream servers below this one.
    pub downstream_levels: u8,
    /// The authority above this server.
    pub upstream: Option<UpstreamSettings>,
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
    /// Where signing keys are kept.
    pub keys: KeysAt,
    /// How long one signature may take when the key is kept elsewhere.
    pub signing_timeout: Duration,
    /// Cron schedule of rotation ticks.
    pub rotation_schedule: String,
    /// How long a new authority is public before it signs.
    pub propagation: Seconds,
    /// How long agents that do not acknowledge a new authority are waited for.
    pub patience: Seconds,
    /// Whether a clock behind the newest record is believed at this start.
    pub accept_clock: bool,
    /// Default lifetime of join tokens.
    pub join_token_ttl: Seconds,
    /// Longest lifetime of join tokens.
    pub max_join_token_ttl: Seconds,
    /// Attestations at one time.
    pub attest_concurrency: usize,
    /// The CA certificates for `x509pop`, when it is on.
    pub x509_pop_cas: Option<PathBuf>,
    /// Size of one journal segment, in bytes.
    pub journal_segment_bytes: u64,
    /// How many bytes of records each caller may cause.
    pub(crate) journal_shares: Shares,
    /// What is stopped when the disk runs full.
    pub(crate) watermarks: Watermarks,
    /// How long records are kept.
    pub(crate) retention: Retention,
    /// Connections at one time.
    pub max_connections: usize,
    /// Connections without a certificate from one address.
    pub connections_per_address: usize,
    /// Connections with certificates of one SPIFFE ID.
    pub connections_per_identity: usize,
    /// Handshakes computed at one time.
    pub max_handshakes: usize,
    /// Streams on one connection.
    pub max_streams: u32,
    /// Age at which a connection is asked to reconnect.
    pub connection_age: Duration,
    /// The operations listener's address.
    pub ops_listen: Option<SocketAddr>,
    /// The public listener.
    pub public: Option<PublicSettings>,
    /// Log level.
    pub log_level: String,
    /// Log format.
    pub log_format: LogFormat,
}

impl Settings {
    /// What access tokens name in `iss`: the issuer's URL, or without one the trust
    /// domain's own name.
    #[must_use]
    pub fn issuer(&self) -> String {
        let url = self.jwt_issuer.clone();
        url.unwrap_or_else(|| format!("spiffe://{}", self.trust_domain))
    }
}

const DAY: u32 = 86_400;
const YEAR: u32 = 365 * DAY;

pub(super) fn check(config: &Config) -> Result<Settings, ConfigError> {
    let [x509_ttl, max_x509_ttl, jwt_ttl, max_jwt_ttl, agent_ttl] = svid_lifetimes(&config.svid)?;
    let tokens = &config.attestation;
    let limits = &config.limits;
    let ops = config.ops.listen.as_deref();
    let settings = Settings {
        trust_domain: trust_domain(&config.trust_domain)?,
        data_dir: absolute("data_dir", &config.data_dir)?,
        listen: address("listen", &config.listen)?,
        advertise: config.advertise.as_deref().map(advertise).transpose()?,
        admin_socket: socket_path("admin_socket", &config.admin_socket)?,
        worker_threads: number("worker_threads", config.worker_threads, 1, 1024)?,
        server_number: range("server_number", config.server_number, 1, 127)?,
        store: config.store.engine,
        store_cache_bytes: mebibytes("store.cache_mib", config.store.cache_mib, 4)?,
        ca_key: key_type("ca.key_type", &config.ca.key_type)?,
        ca_ttl: span("ca.ttl", &config.ca.ttl, 10, 10 * YEAR)?,
        downstream_levels: range("ca.downstream_levels", config.ca.downstream_levels, 0, 4)?,
        upstream: upstream::check(&config.upstream)?,
        x509_ttl,
        max_x509_ttl,
        jwt_ttl,
        max_jwt_ttl,
        agent_ttl,
        jwt_key: key_type("jwt.key_type", &config.jwt.key_type)?,
        jwt_key_ttl: span("jwt.ttl", &config.jwt.ttl, 10, 10 * YEAR)?,
        jwt_issuer: config.jwt.issuer.as_deref().map(issuer).transpose()?,
        signing_timeout: key_place::timeout(&config.keys)?,
        keys: key_place::check(&config.keys, config.store.engine)?,
        rotation_schedule: schedule(&config.rotation.schedule)?,
        propagation: propagation(&config.rotation.propagation)?,
        patience: span("rotation.patience", &config.rotation.patience, 0, 7 * DAY)?,
        accept_clock: config.clock.accept,
        join_token_ttl: token_span("attestation.join_token_ttl", &tokens.join_token_ttl)?,
        max_join_token_ttl: token_span(
            "attestation.max_join_token_ttl",
            &tokens.max_join_token_ttl,
        )?,
        attest_concurrency: number("attestation.concurrency", tokens.concurrency, 1, 4096)?,
        x509_pop_cas: attestors::x509_pop(&config.attestors)?,
        journal_segment_bytes: mebibytes("audit.segment_mib", config.audit.segment_mib, 1)?,
        journal_shares: storage::shares(&config.audit)?,
        watermarks: storage::watermarks(&config.disk)?,
        retention: storage::retention(&config.audit)?,
        max_connections: connections(limits.connections)?,
        connections_per_address: number(
            "limits.connections_per_address",
            limits.connections_per_address,
            1,
            2048,
        )?,
        connections_per_identity: number(
            "limits.connections_per_identity",
            limits.connections_per_identity,
            2,
            u16::MAX,
        )?,
        max_handshakes: number("limits.handshakes", limits.handshakes, 1, 4096)?,
        max_streams: streams(limits.streams_per_connection)?,
        connection_age: connection_age(&limits.connection_age)?,
        ops_listen: ops.map(|text| address("ops.listen", text)).transpose()?,
        public: public(config)?,
        log_level: log_level(&config.log.level)?,
        log_format: config.log.format,
    };
    orders(config, &settings)?;
    listeners(&settings)?;
    Ok(settings)
}

/// The public listener, checked.
#[derive(Debug, Clone)]
pub struct PublicSettings {
    /// Its address.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
}

fn public(config: &Config) -> Result<Option<PublicSettings>, ConfigError> {
    let section = &config.public;
    let Some(listen) = section.listen.as_deref() else {
        return Ok(None);
    };
    let given = |key: &'static str, path: &Option<PathBuf>| match path {
        Some(path) => absolute(key, path),
        None => Err(refuse(key, "", "it is required beside public.listen")),
    };
    if config.jwt.issuer.is_none() {
        let problem = "it is required beside public.listen: discovery is about an issuer";
        return Err(refuse("jwt.issuer", "", problem));
    }
    Ok(Some(PublicSettings {
        listen: address("public.listen", listen)?,
        certificate: given("public.certificate", &section.certificate)?,
        key: given("public.key", &section.key)?,
    }))
}

fn svid_lifetimes(svid: &SvidSection) -> Result<[Seconds; 5], ConfigError> {
    Ok([
        span("svid.x509_ttl", &svid.x509_ttl, 10, 7 * DAY)?,
        span("svid.max_x509_ttl", &svid.max_x509_ttl, 10, 30 * DAY)?,
        span("svid.jwt_ttl", &svid.jwt_ttl, 10, DAY)?,
        span("svid.max_jwt_ttl", &svid.max_jwt_ttl, 10, 7 * DAY)?,
        span("svid.agent_ttl", &svid.agent_ttl, 10, 7 * DAY)?,
    ])
}

fn propagation(text: &str) -> Result<Seconds, ConfigError> {
    span("rotation.propagation", text, 0, 7 * DAY)
}

fn token_span(key: &'static str, text: &str) -> Result<Seconds, ConfigError> {
    span(key, text, 1, 30 * DAY)
}

fn connections(count: u32) -> Result<usize, ConfigError> {
    let count = range("limits.connections", count, 1, 1_000_000)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn streams(count: u16) -> Result<u32, ConfigError> {
    range("limits.streams_per_connection", count, 1, 4096).map(u32::from)
}

fn connection_age(text: &str) -> Result<Duration, ConfigError> {
    let age = span("limits.connection_age", text, 1, DAY)?;
    Ok(Duration::from_secs(u64::from(age.0)))
}

fn number(key: &'static str, value: u16, least: u16, most: u16) -> Result<usize, ConfigError> {
    range(key, value, least, most).map(usize::from)
}

pub(super) fn mebibytes(key: &'static str, value: u16, least: u16) -> Result<u64, ConfigError> {
    range(key, value, least, 4096).map(|count| u64::from(count) << 20)
}

/// No two listeners on one address and port: the second could not be bound.
fn listeners(settings: &Settings) -> Result<(), ConfigError> {
    let public = settings.public.as_ref().map(|public| public.listen);
    let all = [
        ("listen", Some(settings.listen)),
        ("ops.listen", settings.ops_listen),
        ("public.listen", public),
    ];
    for (at, (key, address)) in all.iter().enumerate() {
        let before = all.iter().take(at);
        let taken = before.filter_map(|(other, at)| Some((other, (*at)?)));
        let mut taken =
            taken.filter(|(_, at)| address.is_some_and(|address| collide(*at, address)));
        if let (Some(address), Some((other, _))) = (address, taken.next()) {
            let problem = format!("{other} has that port already; choose another");
            return Err(refuse(key, address, problem));
        }
    }
    Ok(())
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
