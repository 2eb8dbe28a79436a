//! What this server must do by itself, by when, and what its lateness means.
//!
//! The loops report here. One supervisor ([`Supervisor`]) reads it: it feeds systemd's
//! watchdog and answers gRPC health, and ends the process when a duty is beyond mending
//! in it, so that whoever runs the server starts it again.

use std::time::Duration;

use ::duty::{Duties as All, Duty, Standing, Weight};
use identity::Seconds;

use crate::limits;

/// The duties of a server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Duties {
    all: All,
    /// A look at every key rotation.
    pub(crate) rotation: Duty,
    /// Appending to the journal.
    pub(crate) journal: Duty,
    /// Following the store's change log.
    pub(crate) following: Duty,
    /// Signing the list of what is revoked.
    pub(crate) revocation_list: Duty,
    /// Signing the X.509 authorities' revocation lists.
    pub(crate) crls: Duty,
    /// Renewing the server's own SVID.
    pub(crate) own_svid: Duty,
    /// Removing what has expired.
    pub(crate) pruning: Duty,
    /// Looking at the authority above; at rest where there is none.
    pub(crate) upstream: Duty,
    /// Reading the web certificate again; at rest where there is none.
    pub(crate) web_certificate: Duty,
}

impl Duties {
    /// All duties, due from `now` on. `authority` is the shortest lifetime of a signing
    /// authority: a rotation that fails must be known well before one ends.
    pub(crate) fn new(authority: Seconds, now: Duration) -> Self {
        let all = All::default();
        let rotation = rotation_within(authority);
        let add = |name, within, weight| all.add(name, within, weight, now);
        let duties = Self {
            rotation: add("rotation", rotation, Weight::Vital),
            journal: add("journal", limits::JOURNAL_WITHIN, Weight::Vital),
            following: add("following", limits::FOLLOWING_WITHIN, Weight::Vital),
            revocation_list: add("revocation_list", limits::LIST_WITHIN, Weight::Vital),
            crls: add("crls", limits::LIST_WITHIN, Weight::Background),
            own_svid: add("own_svid", rotation, Weight::Needed),
            pruning: add("pruning", limits::PRUNING_WITHIN, Weight::Background),
            upstream: add("upstream", rotation, Weight::Background),
            web_certificate: add("web_certificate", limits::WEB_WITHIN, Weight::Background),
            all: all.clone(),
        };
        duties.upstream.rest();
        duties.web_certificate.rest();
        duties
    }

    /// How each duty stands.
    pub(crate) fn standings(&self, now: Duration) -> Vec<Standing> {
        self.all.standings(now)
    }

    /// A duty that only a new process can do again.
    pub(crate) fn asks_for_restart(&self, now: Duration) -> Option<Standing> {
        self.all.asks_for_restart(now)
    }
}

/// Within how long a rotation must have gone well: an eighth of the shortest life of an
/// authority, and never longer than a few looks take.
pub(crate) fn rotation_within(authority: Seconds) -> Duration {
    let eighth = Duration::from_secs(u64::from(authority.0 / 8));
    eighth.clamp(limits::ROTATION_WITHIN_LEAST, limits::ROTATION_WITHIN_MOST)
}

/// What the supervisor found at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The watchdog may be fed.
    Feed,
    /// A duty asks for a new start; the watchdog is not fed.
    Starve(Standing),
    /// It has asked for one for so long that the process is to end.
    End(Standing),
}

/// Looks at the duties in short intervals.
pub(crate) struct Supervisor {
    duties: Duties,
    looked: Duration,
    asked_since: Option<Duration>,
}

impl Supervisor {
    /// A supervisor that begins at `now`.
    pub(crate) const fn new(duties: Duties, now: Duration) -> Self {
        Self {
            duties,
            looked: now,
            asked_since: None,
        }
    }

    /// One look.
    pub(crate) fn look(&mut self, now: Duration) -> Verdict {
        let gap = now.saturating_sub(self.looked);
        self.looked = now;
        if gap > limits::SUPERVISOR_GAP {
            // The machine slept, or nobody got to run: no loop could try meanwhile.
            self.duties.all.excuse(now);
        }
        let Some(standing) = self.duties.asks_for_restart(now) else {
            self.asked_since = None;
            return Verdict::Feed;
        };
        let since = *self.asked_since.get_or_insert(now);
        if now.saturating_sub(since) >= limits::RESTART_AFTER {
            Verdict::End(standing)
        } else {
            Verdict::Starve(standing)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Every duty but `left_out` is reported at each second of a span.
    fn pass(duties: &Duties, left_out: &str, span: std::ops::Range<u64>) {
        let Duties {
            rotation,
            journal,
            following,
            revocation_list,
            own_svid,
            ..
        } = duties;
        for now in span {
            for duty in [rotation, journal, following, revocation_list, own_svid] {
                if duty.name() != left_out {
                    duty.done(s(now));
                }
            }
        }
    }

    #[test]
    fn rotation_is_late_well_before_an_authority_ends() {
        assert_eq!(
            rotation_within(Seconds(86_400)),
            limits::ROTATION_WITHIN_MOST
        );
        for life in [10, 60, 600, 3_600, 86_400] {
            let within = rotation_within(Seconds(life));
            assert!(within <= s(u64::from(life) / 2), "{life}: {within:?}");
        }
    }

    #[test]
    fn s13_c7_a_hanging_loop_starves_the_watchdog_and_then_ends_the_process() {
        for vital in ["rotation", "journal", "following", "revocation_list"] {
            let duties = Duties::new(Seconds(86_400), s(0));
            let mut supervisor = Supervisor::new(duties.clone(), s(0));
            let mut fed = 0;
            let ended = (1..1_000).find(|now| {
                pass(&duties, vital, *now..*now + 1);
                match supervisor.look(s(*now)) {
                    Verdict::Feed => fed = *now,
                    Verdict::Starve(late) => assert_eq!(late.name, vital),
                    Verdict::End(late) => {
                        assert_eq!(late.name, vital);
                        return true;
                    }
                }
                false
            });
            let ended = ended.expect("it ends");
            assert_eq!(ended - fed, 1 + limits::RESTART_AFTER.as_secs(), "{vital}");
        }
    }

    #[test]
    fn a_machine_that_slept_is_no_reason_to_end() {
        let duties = Duties::new(Seconds(86_400), s(0));
        let mut supervisor = Supervisor::new(duties.clone(), s(0));
        assert_eq!(supervisor.look(s(1)), Verdict::Feed);
        assert_eq!(supervisor.look(s(9_000)), Verdict::Feed, "nobody could try");
        let late = duties.standings(s(9_000));
        assert!(
            late.iter().any(Standing::is_in_the_way),
            "and yet it is late"
        );
        pass(&duties, "", 9_001..9_002);
        assert_eq!(supervisor.look(s(9_001)), Verdict::Feed);
    }

    #[test]
    fn what_fails_and_is_tried_does_not_end_the_process() {
        let duties = Duties::new(Seconds(86_400), s(0));
        let mut supervisor = Supervisor::new(duties.clone(), s(0));
        for now in 1..2_000 {
            pass(&duties, "rotation", now..now + 1);
            duties.rotation.failed(s(now), "the key storage is away");
            assert_eq!(supervisor.look(s(now)), Verdict::Feed);
        }
        let standings = duties.standings(s(2_000));
        assert!(standings.iter().any(Standing::is_in_the_way));
    }
}
