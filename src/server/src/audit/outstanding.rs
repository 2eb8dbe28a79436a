//! What was issued and has not expired: found by serial, `jti` or SPIFFE ID without
//! reading the decision log, so that a revocation never waits for it. Filled as records
//! are appended, and from the log after a start.
//!
//! Its memory is bounded. Where it had to leave something out it says so, and whoever
//! asks must not take "not found" for "not issued".

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use identity::{CertificateSerial, Revoked, Timestamp};
use records::{AuditKind, AuditOutcome, AuditRecord};

use crate::limits;

/// One credential that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issued {
    /// Its serial, or the bytes of its `jti`.
    credential: Credential,
    pub(crate) spiffe_id: Arc<str>,
    pub(crate) entry_id: Arc<str>,
    /// Who was given it.
    pub(crate) holder: Arc<str>,
    pub(crate) authority_id: Arc<str>,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// What names one credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Credential {
    Serial(CertificateSerial),
    Jti(Arc<str>),
}

impl Issued {
    /// What a record says was issued; `None` for every other record.
    pub(super) fn of(record: &AuditRecord) -> Option<Self> {
        let view = record.view();
        let issues = matches!(
            view.kind,
            AuditKind::IssueX509
                | AuditKind::MintX509
                | AuditKind::DownstreamCa
                | AuditKind::ServerX509
                | AuditKind::Attest
                | AuditKind::Renew
                | AuditKind::IssueJwt
                | AuditKind::MintJwt
                | AuditKind::Decision
        );
        // What only says that a renewed SVID is in use has no end.
        if !issues || view.outcome != AuditOutcome::Granted || view.not_after == 0 {
            return None;
        }
        let credential = if view.serial.is_empty() {
            Credential::Jti(view.jti.into())
        } else {
            Credential::Serial(CertificateSerial::new(view.serial))
        };
        Some(Self {
            credential,
            spiffe_id: view.for_whom.into(),
            entry_id: view.entry_id.into(),
            holder: view.caller.to_string().into(),
            authority_id: view.authority_id.into(),
            issued_at: Timestamp(view.at_ms.div_euclid(1_000)),
            expires_at: Timestamp(view.not_after),
        })
    }

    /// The serial in hex, or the `jti`.
    pub(crate) fn credential_id(&self) -> String {
        match &self.credential {
            Credential::Serial(serial) => serial.to_string(),
            Credential::Jti(jti) => jti.to_string(),
        }
    }
}

/// What was found of one revocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// The unexpired ones, the newest first, at most as many as were asked for.
    pub(crate) newest: Vec<Arc<Issued>>,
    /// How many unexpired ones are known.
    pub(crate) count: u64,
    /// Whether it was issued here, and has expired.
    pub(crate) has_expired: bool,
    /// Whether there is certainly nothing else.
    pub(crate) is_complete: bool,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    of: HashMap<Credential, Arc<Issued>>,
    /// By SPIFFE ID, oldest first.
    by_id: HashMap<Arc<str>, VecDeque<Arc<Issued>>>,
    /// Credentials in the order in which they are to be forgotten.
    ends: BTreeSet<(Timestamp, Credential)>,
    /// Texts that many have in common are kept once.
    texts: HashSet<Arc<str>>,
    /// Until then something may be valid that is not here.
    left_out_until: Option<Timestamp>,
    /// Whether the log was read after the start.
    is_filled: bool,
}

impl Outstanding {
    /// Notes what was issued.
    pub(super) fn note(&mut self, issued: Issued, now: Timestamp) {
        if issued.expires_at.plus(limits::REVOCATION_SKEW) <= now
            || self.of.contains_key(&issued.credential)
        {
            return;
        }
        self.forget_expired(now);
        if self.of.len() >= limits::MAX_OUTSTANDING {
            self.leave_out(issued.expires_at);
            return;
        }
        let issued = Arc::new(Issued {
            spiffe_id: self.text(&issued.spiffe_id),
            entry_id: self.text(&issued.entry_id),
            holder: self.text(&issued.holder),
            authority_id: self.text(&issued.authority_id),
            ..issued
        });
        let of_id = self.by_id.entry(Arc::clone(&issued.spiffe_id)).or_default();
        of_id.push_back(Arc::clone(&issued));
        // One workload must not push everybody else's out.
        if of_id.len() > limits::MAX_OUTSTANDING_OF_ID
            && let Some(oldest) = of_id.pop_front()
        {
            self.of.remove(&oldest.credential);
            let end = (oldest.expires_at, oldest.credential.clone());
            self.ends.remove(&end);
            self.leave_out(oldest.expires_at);
        }
        let end = (issued.expires_at, issued.credential.clone());
        self.ends.insert(end);
        self.of.insert(issued.credential.clone(), issued);
    }

    /// The log was read as far back as `oldest`; what was issued before is unknown.
    pub(super) fn filled(&mut self, may_miss_until: Option<Timestamp>) {
        self.is_filled = true;
        if let Some(until) = may_miss_until {
            self.leave_out(until);
        }
    }

    fn leave_out(&mut self, until: Timestamp) {
        self.left_out_until = self.left_out_until.max(Some(until));
    }

    /// What a revocation hits.
    pub(super) fn find(&mut self, what: &Revoked, now: Timestamp, most: usize) -> Found {
        self.forget_expired(now);
        let is_complete = self.is_filled && self.left_out_until.is_none_or(|until| until <= now);
        let mut found = Found {
            is_complete,
            ..Found::default()
        };
        let mut note = |issued: &Arc<Issued>| {
            if issued.expires_at <= now {
                found.has_expired = true;
                return;
            }
            found.count = found.count.saturating_add(1);
            if found.newest.len() < most {
                found.newest.push(Arc::clone(issued));
            }
        };
        match what {
            Revoked::Serial(serial) => {
                let of = self.of.get(&Credential::Serial(serial.clone()));
                of.into_iter().for_each(&mut note);
            }
            Revoked::Jti(jti) => {
                let of = self.of.get(&Credential::Jti(jti.as_ref().into()));
                of.into_iter().for_each(&mut note);
            }
            Revoked::Id(id) => {
                let of = self.by_id.get(id.as_str());
                of.into_iter().flatten().rev().for_each(&mut note);
            }
        }
        found
    }

    /// Forgets what expired some time ago: for a while it is still told apart from what
    /// was never issued.
    fn forget_expired(&mut self, now: Timestamp) {
        let mut forgot = false;
        while let Some((end, _)) = self.ends.first()
            && end.plus(limits::REVOCATION_SKEW) <= now
            && let Some((_, credential)) = self.ends.pop_first()
        {
            let Some(issued) = self.of.remove(&credential) else {
                continue;
            };
            forgot = true;
            if let Some(of_id) = self.by_id.get_mut(&issued.spiffe_id) {
                of_id.retain(|one| one.credential != credential);
                if of_id.is_empty() {
                    self.by_id.remove(&issued.spiffe_id);
                }
            }
        }
        if forgot && self.texts.len() > self.of.len() {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
    }

    fn text(&mut self, text: &Arc<str>) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        self.texts.insert(Arc::clone(text));
        Arc::clone(text)
    }
}

#[cfg(test)]
#[path = "outstanding_tests.rs"]
mod tests;
