//! Whether this server issued a certificate: what gives its holder a role that can
//! change the trust domain must be on record as issued, for that key. A stolen signing
//! key makes certificates that verify; it makes no records.
//!
//! What is issued is remembered; what is not remembered, after a restart say, is looked
//! up once in the decision log, among the records of the time at which the certificate
//! must have been issued.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use authority::BACKDATE;
use identity::{CertificateSerial, SpiffeId, Timestamp};
use records::{Audit as View, AuditKind, AuditOutcome};
use ring::digest::{SHA256, digest};
use tokio::sync::Semaphore;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Authorities;
use crate::audit::Audit;
use crate::failure::Failure;
use crate::limits;

/// Before the SHA-256 of the key, in the detail of records of issuance.
const KEY: &str = "key ";

/// How a record of issuance names the certified key.
pub(crate) fn key_detail(spki: &[u8]) -> String {
    format!("{KEY}{}", hex::encode(digest(&SHA256, spki)))
}

/// A certificate as it was shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shown {
    serial: CertificateSerial,
    spiffe_id: SpiffeId,
    not_before: Timestamp,
    not_after: Timestamp,
    /// As [`key_detail`].
    key: String,
}

impl Shown {
    /// What a leaf with that ID says; `None` when it cannot be read.
    pub(crate) fn of(leaf: &[u8], spiffe_id: &SpiffeId) -> Option<Self> {
        let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
        let validity = leaf.validity();
        Some(Self {
            serial: CertificateSerial::new(leaf.raw_serial()),
            spiffe_id: spiffe_id.clone(),
            not_before: Timestamp(validity.not_before.timestamp()),
            not_after: Timestamp(validity.not_after.timestamp()),
            key: key_detail(leaf.public_key().raw),
        })
    }

    /// Whether a record says that it was issued. Records of entries that gave no role
    /// when they were made do not name the key.
    fn is_in(&self, record: &View<'_>) -> bool {
        matches!(record.kind, AuditKind::IssueX509 | AuditKind::MintX509)
            && record.outcome == AuditOutcome::Granted
            && record.for_whom == self.spiffe_id.as_str()
            && record.not_after == self.not_after.0
            && CertificateSerial::new(record.serial) == self.serial
            && (record.detail == self.key || !record.detail.starts_with(KEY))
    }
}

/// Answers that were found, each with when the certificate ends.
pub(super) struct Issued {
    found: Mutex<HashMap<Shown, (bool, Timestamp)>>,
    /// So many look into the decision log at one time.
    looking: Semaphore,
}

impl Default for Issued {
    fn default() -> Self {
        Self {
            found: Mutex::default(),
            looking: Semaphore::new(limits::ISSUANCE_LOOKS),
        }
    }
}

impl Issued {
    fn lock(&self) -> MutexGuard<'_, HashMap<Shown, (bool, Timestamp)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, shown: Shown, is_issued: bool, now: Timestamp) {
        let mut found = self.lock();
        if found.len() >= limits::MAX_KNOWN_ISSUANCES {
            // What was refused is looked up again at no cost to anybody but its holder.
            found.retain(|_, (is_issued, not_after)| *is_issued && *not_after > now);
        }
        if found.len() < limits::MAX_KNOWN_ISSUANCES {
            let not_after = shown.not_after;
            found.insert(shown, (is_issued, not_after));
        }
    }
}

impl Authorities {
    /// Whether this server issued the certificate, as the decision log says.
    ///
    /// # Errors
    /// The log cannot be read, or too many are looking.
    pub(crate) async fn is_issued(&self, shown: Shown) -> Result<bool, Failure> {
        let issued = &self.0.issued;
        if let Some((is_issued, _)) = issued.lock().get(&shown) {
            return Ok(*is_issued);
        }
        let looking = issued.looking.acquire();
        let looking = tokio::time::timeout(limits::ISSUANCE_LOOK_WAIT, looking).await;
        let _place = looking.ok().and_then(Result::ok).ok_or_else(|| {
            Failure::unavailable("too many certificates are looked up; try again")
        })?;
        let audit = self.0.parts.audit.clone();
        let wanted = shown.clone();
        let look = tokio::task::spawn_blocking(move || find(&audit, &wanted));
        let is_issued = look.await.map_err(Failure::internal)??;
        issued.remember(shown, is_issued, self.0.parts.clock.now());
        Ok(is_issued)
    }
}

/// Looks through the records of the time at which it must have been issued.
fn find(audit: &Audit, shown: &Shown) -> Result<bool, Failure> {
    let slack = limits::ISSUANCE_SLACK;
    let since = shown.not_before.minus(slack).0.saturating_mul(1_000);
    let until = shown
        .not_before
        .plus(BACKDATE)
        .plus(slack)
        .0
        .saturating_mul(1_000);
    let first = audit.first_since(since, audit.newest())?;
    for seen in audit.records_from(first)? {
        let seen = seen?;
        let record = seen.record.view();
        if record.at_ms > until {
            return Ok(false);
        }
        if shown.is_in(&record) {
            return Ok(true);
        }
    }
    Ok(false)
}
