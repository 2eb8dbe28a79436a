//! The authority above this server: files, or another server. These are thin
//! shells; what is acceptable is decided by `authority::upstream`.

mod disk;
mod files;
mod nested;
mod session;

use std::path::Path;
use std::sync::Arc;

use authority::SerialPrefix;
use authority::upstream::{Given, Granted, Holding};
use identity::{JwtAuthorityKey, Seconds, Timestamp, TrustDomain};
use keys::Signer;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::UpstreamSettings;
use crate::entropy::Entropy;

pub(crate) use disk::Disk;
pub(crate) use nested::Nested;

/// The authority above.
pub(crate) enum Upstream {
    /// A CA in files.
    Disk(Disk),
    /// Another server.
    Nested(Nested),
}

/// What an upstream needs of this server.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) serials: SerialPrefix,
    /// Levels of servers below this one.
    pub(crate) levels: u32,
}

/// What was seen of the authority above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// What it publishes.
    pub(crate) given: Given,
    /// The certificate that signs intermediates, when it is known beforehand.
    pub(crate) issuer: Option<Arc<[u8]>>,
    /// When that ends, or what is above it.
    pub(crate) ends: Option<Timestamp>,
}

impl Upstream {
    /// The one that the settings ask for.
    pub(crate) fn of(settings: &UpstreamSettings, parts: Parts) -> Self {
        match settings {
            UpstreamSettings::Disk {
                certificate,
                key,
                bundle,
            } => Self::Disk(Disk::new(certificate, key, bundle.as_deref(), parts)),
            UpstreamSettings::WorkloadApi {
                server,
                socket,
                spiffe_id,
            } => Self::Nested(Nested::new(server, socket, spiffe_id.clone(), parts)),
        }
    }

    /// Its name in the configuration.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Disk(_) => "disk",
            Self::Nested(_) => "workload_api",
        }
    }

    /// Who decides when a tainted root goes.
    pub(crate) const fn holding(&self) -> Holding {
        match self {
            Self::Disk(_) => Holding::UntilRevoked,
            Self::Nested(_) => Holding::UpstreamRevokes,
        }
    }

    /// Looks at it: what it publishes, and whether it could sign.
    ///
    /// # Errors
    /// It is away or cannot be used: what is wrong and what to do.
    pub(crate) async fn look(&self) -> Result<Look, String> {
        match self {
            Self::Disk(disk) => disk.look().await,
            Self::Nested(nested) => nested.look().await,
        }
    }

    /// Has an intermediate signed for a key of this server.
    ///
    /// # Errors
    /// It is away, refuses, or signed what cannot be used.
    pub(crate) async fn sign(
        &self,
        signer: &Arc<dyn Signer>,
        lifetime: Seconds,
    ) -> Result<Granted, String> {
        match self {
            Self::Disk(disk) => disk.sign(signer, lifetime).await,
            Self::Nested(nested) => nested.sign(signer, lifetime).await,
        }
    }

    /// Has a JWT key published where the whole trust domain sees it. There is nobody
    /// to tell above a CA in files.
    ///
    /// # Errors
    /// It is away or refuses.
    pub(crate) async fn publish(&self, key: &JwtAuthorityKey) -> Result<(), String> {
        match self {
            Self::Disk(_) => Ok(()),
            Self::Nested(nested) => nested.publish(key).await,
        }
    }

    /// Whether JWT keys are published above.
    pub(crate) const fn publishes(&self) -> bool {
        matches!(self, Self::Nested(_))
    }
}

/// Which of a CA's files cannot be used, by the keys that name them, and why.
pub(crate) fn unusable_files(
    certificate: &Path,
    key: &Path,
    bundle: Option<&Path>,
) -> Vec<(&'static str, String)> {
    const CERTIFICATE: &str = "upstream.disk.certificate_file";
    const KEY: &str = "upstream.disk.key_file";
    const BUNDLE: &str = "upstream.disk.bundle_file";
    let bundle = bundle.map(|path| (BUNDLE, files::certificates(BUNDLE, path).map(drop)));
    let all = [
        (
            CERTIFICATE,
            files::certificates(CERTIFICATE, certificate).map(drop),
        ),
        (KEY, files::signer(KEY, key).map(drop)),
    ];
    let all = all.into_iter().chain(bundle);
    all.filter_map(|(key, read)| Some((key, read.err()?)))
        .collect()
}
