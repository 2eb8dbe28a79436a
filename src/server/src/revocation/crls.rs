//! The revocation list of each X.509 authority, each made on its own: one whose key is
//! away keeps the list it has, is tried again, and stands in nobody's way.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use authority::{CrlTerms, X509Authority};
use bytes::Bytes;
use futures_util::future::join_all;
use identity::{CertificateSerial, Revocation, Revoked, Seconds, Timestamp};

use super::Revocations;
use crate::failure::Failure;
use crate::issue::FarAway;
use crate::limits;

/// One authority's revocation list. Streams of workloads carry these, so one that
/// says the same is kept until it is half through its validity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Crl {
    revoked: Vec<(CertificateSerial, Timestamp)>,
    made_at: Timestamp,
    der: Bytes,
}

/// A list that is to be made.
struct Due {
    authority: X509Authority,
    revoked: Vec<(CertificateSerial, Timestamp)>,
    number: u64,
    now: Timestamp,
}

impl Crl {
    fn is_young(&self, now: Timestamp) -> bool {
        now.since(self.made_at).0 < limits::CRL_LIFETIME.0 / 2
    }
}

impl Due {
    fn sign(&self) -> Result<Crl, authority::IssueError> {
        let terms = CrlTerms {
            number: self.number,
            // A reader whose clock is behind takes it all the same.
            this_update: self.now.minus(Seconds(60)).max(self.authority.not_before()),
            next_update: self.now.plus(limits::CRL_LIFETIME),
            revoked: &self.revoked,
        };
        Ok(Crl {
            der: self.authority.sign_crl(&terms)?.into(),
            revoked: self.revoked.clone(),
            made_at: self.now,
        })
    }
}

impl Revocations {
    /// The newest list of each authority.
    pub(super) fn crls(&self) -> Vec<Bytes> {
        let held = self.held_crls();
        held.values().map(|crl| crl.der.clone()).collect()
    }

    /// Signs the lists that are due of authorities whose keys are here. `number` is
    /// that of the JWS that will carry them.
    ///
    /// # Errors
    /// One could not be signed; the others are.
    pub(super) async fn renew_crls(&self, number: u64) -> Result<(), Failure> {
        self.sign_crls(&self.0.far, number, |authority| !authority.is_remote())
            .await
    }

    /// As [`Revocations::renew_crls`], of authorities whose keys are kept elsewhere:
    /// nothing else waits for them.
    ///
    /// # Errors
    /// One could not be signed; the others are.
    pub(super) async fn renew_far_crls(&self) -> Result<(), Failure> {
        let number = self.next_number();
        self.sign_crls(&self.0.far_crls, number, X509Authority::is_remote)
            .await
    }

    async fn sign_crls(
        &self,
        threads: &FarAway,
        number: u64,
        whose: impl Fn(&X509Authority) -> bool,
    ) -> Result<(), Failure> {
        let now = self.0.clock.now();
        let all = self.0.authorities.x509_in_bundle();
        self.held_crls()
            .retain(|id, _| all.iter().any(|one| one.id() == id));
        let entries = self.0.state.revocation_list(now).entries;
        let due = all.into_iter().filter(whose).filter_map(|authority| {
            let revoked = of_authority(&entries, authority.id());
            let held = self.held_crls();
            let is_good = held
                .get(authority.id())
                .is_some_and(|held| held.revoked == revoked && held.is_young(now));
            (!is_good).then_some(Due {
                authority,
                revoked,
                number,
                now,
            })
        });
        let signed = join_all(due.map(|due| async move {
            let id = due.authority.id().to_owned();
            let signed = threads.sign(move || due.sign()).await;
            match signed {
                Ok(crl) => {
                    self.held_crls().insert(id, crl);
                    Ok(())
                }
                Err(why) => Err(Failure::unavailable(format!(
                    "the revocation list of X.509 authority {id}: {why}"
                ))),
            }
        }));
        signed.await.into_iter().collect()
    }

    fn held_crls(&self) -> MutexGuard<'_, BTreeMap<String, Crl>> {
        self.0.crls.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
