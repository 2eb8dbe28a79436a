//! One signed list, and what it takes to make the next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authority::{CrlTerms, IssueError, JwtAuthority, X509Authority};
use bytes::Bytes;
use identity::{CertificateSerial, Revocation, RevocationList, Revoked, Seconds, Timestamp};

use super::Revocations;
use crate::failure::Failure;
use crate::limits;

/// What relying parties are told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) sequence: u64,
    pub(crate) made_at: Timestamp,
    /// The compact JWS.
    pub(crate) list: String,
    /// One revocation list for each X.509 authority, DER.
    pub(crate) crls: Vec<Bytes>,
    /// The JWT key that signed the list.
    pub(super) key_id: Arc<str>,
    pub(super) by_authority: BTreeMap<String, Crl>,
}

/// One authority's revocation list. Streams of workloads carry these, so one that
/// says the same is kept until it is half through its validity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crl {
    revoked: Vec<(CertificateSerial, Timestamp)>,
    made_at: Timestamp,
    der: Bytes,
}

/// Who signs.
pub(super) struct Signers {
    pub(super) jwt: Arc<JwtAuthority>,
    pub(super) x509: Vec<X509Authority>,
}

impl Signers {
    /// Whether these would sign as those did who made `signed`.
    pub(super) fn are_of(&self, signed: &Signed) -> bool {
        *self.jwt.key_id() == signed.key_id
            && self.x509.len() == signed.by_authority.len()
            && self
                .x509
                .iter()
                .all(|one| signed.by_authority.contains_key(one.id()))
    }
}

impl Crl {
    fn is_young(&self, now: Timestamp) -> bool {
        now.since(self.made_at).0 < limits::CRL_LIFETIME.0 / 2
    }
}

impl Revocations {
    /// Those who sign now.
    pub(super) async fn signers(&self) -> Result<Signers, Failure> {
        let jwt = self.0.authorities.jwt();
        let jwt = jwt.ok_or_else(|| Failure::unavailable("there is no JWT key that may sign"))?;
        let x509 = self.0.authorities.x509_in_bundle().await;
        Ok(Signers { jwt, x509 })
    }

    /// Signs the list as it is now.
    pub(super) async fn sign(
        &self,
        signers: Signers,
        before: Option<Arc<Signed>>,
        patience: Duration,
    ) -> Result<Signed, Failure> {
        let now = self.0.clock.now();
        let list = self.0.state.revocation_list(now);
        let sign = move || sign(&signers, before.as_deref(), &list, now);
        let signed = tokio::time::timeout(patience, tokio::task::spawn_blocking(sign));
        match signed.await {
            Ok(Ok(signed)) => signed.map_err(Failure::unavailable),
            Ok(Err(ended)) => Err(Failure::internal(ended)),
            Err(_elapsed) => Err(Failure::unavailable("the signing key does not answer")),
        }
    }
}

fn sign(
    signers: &Signers,
    before: Option<&Signed>,
    list: &RevocationList,
    now: Timestamp,
) -> Result<Signed, IssueError> {
    let mut by_authority = BTreeMap::new();
    for authority in &signers.x509 {
        let revoked = of_authority(&list.entries, authority.id());
        let held = before.and_then(|before| before.by_authority.get(authority.id()));
        let crl = match held {
            Some(held) if held.revoked == revoked && held.is_young(now) => held.clone(),
            _ => {
                let terms = CrlTerms {
                    number: list.sequence,
                    // A reader whose clock is behind takes it all the same.
                    this_update: now.minus(Seconds(60)).max(authority.not_before()),
                    next_update: now.plus(limits::CRL_LIFETIME),
                    revoked: &revoked,
                };
                let der = authority.sign_crl(&terms)?.into();
                Crl {
                    revoked,
                    made_at: now,
                    der,
                }
            }
        };
        by_authority.insert(authority.id().to_owned(), crl);
    }
    let crls = by_authority.values().map(|crl| crl.der.clone()).collect();
    Ok(Signed {
        sequence: list.sequence,
        made_at: now,
        list: signers.jwt.sign_revocations(list)?,
        crls,
        key_id: Arc::clone(signers.jwt.key_id()),
        by_authority,
    })
}

/// The serials that one authority signed, and those of which that is not known.
fn of_authority(
    entries: &[Arc<Revocation>],
    authority: &str,
) -> Vec<(CertificateSerial, Timestamp)> {
    let serials = entries.iter().filter_map(|entry| match &entry.what {
        Revoked::Serial(serial) => Some((entry, serial)),
        Revoked::Jti(_) | Revoked::Id(_) => None,
    });
    let its =
        serials.filter(|(entry, _)| entry.authority.is_empty() || *entry.authority == *authority);
    its.map(|(entry, serial)| (serial.clone(), entry.at))
        .collect()
}
