//! Which of the things that say whom to trust count now.

use std::sync::Arc;

use identity::{Bundle, Timestamp};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{EnrolError, Enroller, anchor};
use crate::disk::TrustedBundle;

/// How the server is recognised before the agent shows an identity.
#[derive(Debug)]
pub(super) enum Anchor {
    /// By the newest bundle that the server gave.
    Held(Arc<Bundle>),
    /// By `trust.bundle_file`.
    File(Arc<Bundle>),
    /// By `trust.bundle_sha256`.
    Pins,
}

impl Enroller<'_> {
    /// What may be tried, in this order. A bundle that the server gave stands alone as
    /// long as anything in it counts: whatever fails then (the bundle does not verify the
    /// server, above all) is no reason to go by something older.
    pub(super) fn anchors(&self) -> Result<Vec<Anchor>, EnrolError> {
        let trust = &self.settings.config.trust;
        if let Some(held) = self.newest()?
            && !has_expired(&held, self.clock.now())
        {
            return Ok(vec![Anchor::Held(held)]);
        }
        let mut anchors = Vec::new();
        if let Some(path) = &trust.bundle_file {
            let bundle = anchor::read_bundle_file(path, &self.settings.trust_domain)?;
            anchors.push(Anchor::File(Arc::new(bundle)));
        }
        if !self.settings.pins.is_empty() {
            anchors.push(Anchor::Pins);
        }
        if anchors.is_empty() {
            return Err(EnrolError::NoAnchor);
        }
        Ok(anchors)
    }

    /// The newest bundle that the server gave. Where the stored one is to be replaced,
    /// none counts before this run has one of its own.
    fn newest(&self) -> Result<Option<Arc<Bundle>>, EnrolError> {
        match &self.held {
            Some(held) => Ok(Some(Arc::clone(held))),
            None if self.settings.config.trust.replace_stored_bundle => Ok(None),
            None => Ok(TrustedBundle::load(
                self.folder,
                &self.settings.trust_domain,
            )?),
        }
    }
}

/// Whether no authority of a bundle counts any more by its age. One that cannot be read
/// verifies nothing and so counts as expired.
pub(crate) fn has_expired(bundle: &Bundle, now: Timestamp) -> bool {
    let lasts = |der: &[u8]| {
        let read = X509Certificate::from_der(der);
        read.is_ok_and(|(_, found)| found.validity().not_after.timestamp() > now.0)
    };
    !bundle
        .x509_authorities
        .iter()
        .any(|found| lasts(&found.der))
}
