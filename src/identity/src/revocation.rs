//! Revocations: what is void before it expires, and the list that says so.

use std::fmt;
use std::sync::Arc;

use crate::{CertificateSerial, SpiffeId, SpiffeIdError, Timestamp, TrustDomain};

/// The `typ` of a signed list: no JWT-SVID has it, so neither is taken for the other.
pub const REVOCATION_LIST_TYPE: &str = "bulla-revocations+jwt";

/// The longest `jti` that can be revoked, in bytes.
pub const MAX_JTI_BYTES: usize = 128;

/// The most bytes of a serial number (RFC 5280 section 4.1.2.2).
const MAX_SERIAL_BYTES: usize = 20;

/// What is revoked.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revoked {
    /// One certificate.
    Serial(CertificateSerial),
    /// One token.
    Jti(Arc<str>),
    /// Every SVID of an ID: those issued up to a moment, or all until it is lifted.
    Id(SpiffeId),
}

/// One revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub what: Revoked,
    /// When. Of an ID, everything issued at or before this is void and, unless it is
    /// revoked until lifted, what is issued later is good.
    pub at: Timestamp,
    /// From when on nothing that it revokes can be valid any more, clocks that differ
    /// included; `None` for an ID that is revoked until lifted.
    pub until: Option<Timestamp>,
    /// The authority that signed the certificate, when it is known; else empty.
    pub authority: Arc<str>,
    /// Why, for the administrators of the trust domain; relying parties are not told.
    pub reason: Arc<str>,
}

/// Everything that is revoked in a trust domain, as of one sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationList {
    /// Whose SVIDs.
    pub trust_domain: TrustDomain,
    /// Never decreases; no two lists share one.
    pub sequence: u64,
    /// When this list was made.
    pub issued_at: Timestamp,
    /// By when a newer list is there, if all goes well.
    pub next_update: Timestamp,
    /// In order of what they revoke, each once.
    pub entries: Vec<Arc<Revocation>>,
}

/// Why a text names nothing that can be revoked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokedError {
    /// Not serial, jti or id.
    #[error("{0:?} is neither serial, jti nor id")]
    Kind(String),
    /// Not a serial number.
    #[error(
        "a serial number is 1 to 20 bytes of hex and not zero, as `openssl x509 -serial` shows it"
    )]
    Serial,
    /// Not a `jti`.
    #[error("a jti is 1 to {MAX_JTI_BYTES} visible ASCII characters")]
    Jti,
    /// Not a SPIFFE ID.
    #[error("{0}")]
    Id(#[from] SpiffeIdError),
    /// A SPIFFE ID without a path, or of another trust domain.
    #[error("{0} is no ID of a workload of trust domain {1}; its own issuer revokes it")]
    Foreign(SpiffeId, TrustDomain),
}

impl Revoked {
    /// Reads a kind (`serial`, `jti` or `id`) and a value.
    ///
    /// # Errors
    /// The value is none of that kind, or an ID of another trust domain.
    pub fn parse(
        kind: &str,
        value: &str,
        trust_domain: &TrustDomain,
    ) -> Result<Self, RevokedError> {
        match kind {
            "serial" => serial(value).map(Self::Serial).ok_or(RevokedError::Serial),
            "jti" => {
                let fits = (1..=MAX_JTI_BYTES).contains(&value.len());
                if fits && value.bytes().all(|b| b.is_ascii_graphic()) {
                    Ok(Self::Jti(value.into()))
                } else {
                    Err(RevokedError::Jti)
                }
            }
            "id" => {
                let id = SpiffeId::parse(value)?;
                if id.is_member_of(trust_domain) && id.has_path() {
                    Ok(Self::Id(id))
                } else {
                    Err(RevokedError::Foreign(id, trust_domain.clone()))
                }
            }
            other => Err(RevokedError::Kind(other.chars().take(32).collect())),
        }
    }

    /// `serial`, `jti` or `id`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Serial(_) => "serial",
            Self::Jti(_) => "jti",
            Self::Id(_) => "id",
        }
    }

    /// The value, as [`Revoked::parse`] takes it.
    #[must_use]
    pub fn value(&self) -> String {
        match self {
            Self::Serial(serial) => serial.to_string(),
            Self::Jti(jti) => jti.to_string(),
            Self::Id(id) => id.to_string(),
        }
    }
}

/// Hex digits in either case, with or without colons between bytes.
fn serial(text: &str) -> Option<CertificateSerial> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b':')
        .map(|byte| char::from(byte).to_digit(16))
        .map(|digit| u8::try_from(digit?).ok())
        .collect::<Option<_>>()?;
    let odd = digits.len() % 2;
    let padded: Vec<u8> = std::iter::repeat_n(0, odd).chain(digits).collect();
    let bytes: Vec<u8> = padded
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    let serial = CertificateSerial::new(&bytes);
    (1..=MAX_SERIAL_BYTES)
        .contains(&serial.as_bytes().len())
        .then_some(serial)
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial {serial}"),
            Self::Jti(jti) => write!(f, "jti {jti}"),
            Self::Id(id) => write!(f, "{id}"),
        }
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revoked({self})")
    }
}

impl Revocation {
    /// Whether it is an ID's, in force until an administrator lifts it.
    #[must_use]
    pub const fn is_until_lifted(&self) -> bool {
        self.until.is_none()
    }

    /// Whether nothing that it revokes can be valid any more.
    #[must_use]
    pub fn is_spent(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}
