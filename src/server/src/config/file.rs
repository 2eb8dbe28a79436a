//! The configuration file's shape, as written; [`super::settings`] checks it.

use std::path::PathBuf;

use serde::Deserialize;

use super::{AttestorsSection, AuditSection, DiskSection, KeysSection, UpstreamSection};

/// The whole file. Only `trust_domain` has no default.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The trust domain's name, such as `example.org`.
    pub trust_domain: String,
    /// Where keys, store and journal live.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Address and port of the server API.
    #[serde(default = "default_listen")]
    pub listen: String,
    /// Address and port agents are told to use; by default `listen`.
    pub advertise: Option<String>,
    /// The admin socket.
    #[serde(default = "default_admin_socket")]
    pub admin_socket: PathBuf,
    /// Worker threads of the runtime.
    #[serde(default = "default_worker_threads")]
    pub worker_threads: u16,
    /// First byte of every serial: 1 to 127, different for each server of a domain.
    #[serde(default = "default_server_number")]
    pub server_number: u8,
    /// The store.
    #[serde(default)]
    pub store: StoreSection,
    /// X.509 authorities.
    #[serde(default)]
    pub ca: CaSection,
    /// The authority above this server.
    #[serde(default)]
    pub upstream: UpstreamSection,
    /// SVID lifetimes.
    #[serde(default)]
    pub svid: SvidSection,
    /// JWT authorities.
    #[serde(default)]
    pub jwt: JwtSection,
    /// Key storage.
    #[serde(default)]
    pub keys: KeysSection,
    /// Key rotation.
    #[serde(default)]
    pub rotation: RotationSection,
    /// The wall clock.
    #[serde(default)]
    pub clock: ClockSection,
    /// Node attestation.
    #[serde(default)]
    pub attestation: AttestationSection,
    /// Node attestors that need settings.
    #[serde(default)]
    pub attestors: AttestorsSection,
    /// The decision log.
    #[serde(default)]
    pub audit: AuditSection,
    /// What is stopped when the disk runs full.
    #[serde(default)]
    pub disk: DiskSection,
    /// Bounds an admin may tune.
    #[serde(default)]
    pub limits: LimitsSection,
    /// The operations listener.
    #[serde(default)]
    pub ops: OpsSection,
    /// Discovery and keys over HTTPS.
    #[serde(default)]
    pub public: PublicSection,
    /// Logging.
    #[serde(default)]
    pub log: LogSection,
}

impl Config {
    /// A configuration with every default, for one trust domain in one folder:
    /// what `bulla dev` and tests start from.
    #[must_use]
    pub fn for_domain(trust_domain: &str, data_dir: PathBuf) -> Self {
        Self {
            trust_domain: trust_domain.into(),
            admin_socket: data_dir.join("admin.sock"),
            data_dir,
            listen: default_listen(),
            advertise: None,
            worker_threads: default_worker_threads(),
            server_number: default_server_number(),
            store: StoreSection::default(),
            ca: CaSection::default(),
            upstream: UpstreamSection::default(),
            svid: SvidSection::default(),
            jwt: JwtSection::default(),
            keys: KeysSection::default(),
            rotation: RotationSection::default(),
            clock: ClockSection::default(),
            attestation: AttestationSection::default(),
            attestors: AttestorsSection::default(),
            audit: AuditSection::default(),
            disk: DiskSection::default(),
            limits: LimitsSection::default(),
            ops: OpsSection::default(),
            public: PublicSection::default(),
            log: LogSection::default(),
        }
    }
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/bulla/server")
}

fn default_listen() -> String {
    "127.0.0.1:8081".into()
}

fn default_admin_socket() -> PathBuf {
    PathBuf::from("/run/bulla/server/admin.sock")
}

const fn default_worker_threads() -> u16 {
    2
}

const fn default_server_number() -> u8 {
    1
}

/// Which engine keeps the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreEngine {
    /// On disk, for one server.
    Sled,
    /// In memory: everything is lost at exit.
    Memory,
}

/// `[store]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSection {
    /// The engine.
    pub engine: StoreEngine,
    /// The engine's page cache, in MiB.
    pub cache_mib: u16,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            engine: StoreEngine::Sled,
            cache_mib: 16,
        }
    }
}

/// `[ca]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CaSection {
    /// Key type of X.509 authorities.
    pub key_type: String,
    /// Lifetime of an X.509 authority.
    pub ttl: String,
    /// Levels of downstream servers below this one.
    pub downstream_levels: u8,
}

impl Default for CaSection {
    fn default() -> Self {
        Self {
            key_type: "ec-p256".into(),
            ttl: "24h".into(),
            downstream_levels: 1,
        }
    }
}

/// `[svid]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SvidSection {
    /// Lifetime of workloads' X.509-SVIDs when the entry names none.
    pub x509_ttl: String,
    /// The longest an entry or an admin may ask for.
    pub max_x509_ttl: String,
    /// Lifetime of JWT-SVIDs when the entry names none.
    pub jwt_ttl: String,
    /// The longest an entry or an admin may ask for.
    pub max_jwt_ttl: String,
    /// Lifetime of agents' own SVIDs.
    pub agent_ttl: String,
}

impl Default for SvidSection {
    fn default() -> Self {
        Self {
            x509_ttl: "1h".into(),
            max_x509_ttl: "24h".into(),
            jwt_ttl: "5m".into(),
            max_jwt_ttl: "1h".into(),
            agent_ttl: "1h".into(),
        }
    }
}

/// `[jwt]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtSection {
    /// Key type of JWT authorities.
    pub key_type: String,
    /// Lifetime of a JWT authority.
    pub ttl: String,
    /// `iss` of JWT-SVIDs, for OIDC discovery; none leaves it out.
    pub issuer: Option<String>,
}

impl Default for JwtSection {
    fn default() -> Self {
        Self {
            key_type: "ec-p256".into(),
            ttl: "24h".into(),
            issuer: None,
        }
    }
}

/// `[rotation]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RotationSection {
    /// Cron schedule (UTC, with seconds) of the rotation's ticks.
    pub schedule: String,
    /// How long a new authority is published before it may sign.
    pub propagation: String,
    /// How long agents that do not acknowledge a new authority are waited for.
    pub patience: String,
}

impl Default for RotationSection {
    fn default() -> Self {
        Self {
            schedule: "*/10 * * * * *".into(),
            propagation: "30s".into(),
            patience: "10m".into(),
        }
    }
}

/// `[clock]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockSection {
    /// Whether a clock behind the newest decision record is believed at this start.
    pub accept: bool,
}

/// `[attestation]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestationSection {
    /// Lifetime of a join token when its creator names none.
    pub join_token_ttl: String,
    /// The longest lifetime of a join token.
    pub max_join_token_ttl: String,
    /// Attestations at one time.
    pub concurrency: u16,
}

impl Default for AttestationSection {
    fn default() -> Self {
        Self {
            join_token_ttl: "10m".into(),
            max_join_token_ttl: "24h".into(),
            concurrency: 64,
        }
    }
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// Connections to the server API at one time.
    pub connections: u32,
    /// Of those, without a client certificate from one IPv4 address or IPv6 /64 network.
    pub connections_per_address: u16,
    /// Of those, with certificates of one SPIFFE ID.
    pub connections_per_identity: u16,
    /// TLS handshakes computed at one time.
    pub handshakes: u16,
    /// Streams on one connection at one time.
    pub streams_per_connection: u16,
    /// How long one connection may live before it is asked to reconnect.
    pub connection_age: String,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 512,
            connections_per_identity: 256,
            handshakes: 64,
            streams_per_connection: 256,
            connection_age: "3m".into(),
        }
    }
}

/// `[public]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublicSection {
    /// Address and port of discovery and keys; none switches them off.
    pub listen: Option<String>,
    /// PEM file with the certificate chain, leaf first.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub key: Option<PathBuf>,
}

/// `[ops]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpsSection {
    /// Address and port of `/live`, `/ready`, `/metrics`; none switches them off.
    pub listen: Option<String>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The least severe level that is written: error, warn, info, debug or trace.
    pub level: String,
    /// The format.
    pub format: LogFormat,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}
