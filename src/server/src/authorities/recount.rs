//! After a start: what the keys signed in earlier runs is counted again from the
//! decision log, in the background. Only records young enough to matter are read.

use identity::{Seconds, Timestamp};
use records::AuthorityProfile;

use super::Authorities;
use crate::failure::Failure;

/// Records may be this much out of order by their times, in milliseconds.
const DISORDER_MS: i64 = 120_000;

impl Authorities {
    /// Starts counting. Whatever is signed from now on is noted as it is signed.
    pub(super) fn recount(&self) {
        let authorities = self.clone();
        let newest = self.0.parts.audit.head().seq;
        tokio::task::spawn_blocking(move || match authorities.count_until(newest) {
            Ok(()) => authorities.0.ledger.complete(),
            Err(failure) => tracing::error!(
                %failure,
                "what signing keys signed before this start could not be counted"
            ),
        });
    }

    fn count_until(&self, newest: u64) -> Result<(), Failure> {
        let parts = &self.0.parts;
        let x509 = parts.plan.longest_signed(AuthorityProfile::X509);
        let longest: Seconds = x509.max(parts.plan.longest_jwt);
        let since: Timestamp = parts.clock.now().minus(longest);
        let since_ms = since.0.saturating_mul(1_000).saturating_sub(DISORDER_MS);
        let first = parts.audit.first_since(since_ms, newest)?;
        for seen in parts.audit.records_from(first)? {
            let seen = seen?;
            if seen.seq > newest {
                break;
            }
            self.0.ledger.note_record(&seen.record);
        }
        Ok(())
    }
}
