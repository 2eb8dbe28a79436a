//! What the agent must do by itself, each with a deadline, and what follows when it is
//! not even tried: the process ends, so that it is started again.
//!
//! A duty that is tried and fails (the server is away) is late, and shown; starting the
//! process again would not help, and workloads are served meanwhile.

use std::sync::Arc;
use std::time::Duration;

use duty::{Duties, Duty, Standing, Weight};
use sd_notify::NotifyState;

use crate::core::Core;
use crate::{limits, systemd};

/// The agent's duties.
pub(crate) struct AgentDuties {
    all: Duties,
    /// Hearing from the server.
    pub(crate) following: Duty,
    /// Keeping the agent's own SVID young.
    pub(crate) own_svid: Duty,
    /// Keeping the workloads' X.509-SVIDs young.
    pub(crate) workload_svids: Duty,
    /// Watching for streams that take nothing.
    pub(crate) streams: Duty,
    /// Writing what is held for workloads to disk.
    pub(crate) saving: Duty,
}

impl AgentDuties {
    /// All duties of an agent that begins `now`, of the boot clock.
    pub(crate) fn new(now: Duration) -> Self {
        let all = Duties::default();
        let vital = |name, within| all.add(name, within, Weight::Vital, now);
        let duties = Self {
            following: vital("following", limits::FOLLOWING_WITHIN),
            own_svid: vital("own_svid", limits::RENEWAL_WITHIN),
            workload_svids: vital("workload_svids", limits::RENEWAL_WITHIN),
            streams: vital("streams", limits::STREAMS_WITHIN),
            saving: all.add("saving", limits::SAVING_WITHIN, Weight::Background, now),
            all,
        };
        duties.saving.rest();
        duties.streams.rest();
        duties
    }

    /// How each duty stands.
    pub(crate) fn standings(&self, now: Duration) -> Vec<Standing> {
        self.all.standings(now)
    }

    /// A duty for which the process must be started again.
    pub(crate) fn asks_for_restart(&self, now: Duration) -> Option<Standing> {
        self.all.asks_for_restart(now)
    }
}

/// Looks at all duties as long as none asks for a restart, and gives systemd the signs of
/// life that `WatchdogSec=` asks for.
pub(crate) async fn watch(core: Arc<Core>) -> Standing {
    let watchdog = sd_notify::watchdog_enabled();
    let pause = watchdog.map_or(limits::DUTY_LOOK, |within| {
        (within / 3).min(limits::DUTY_LOOK)
    });
    let mut looked = core.clock.boottime();
    loop {
        tokio::time::sleep(pause).await;
        let now = core.clock.boottime();
        if now.saturating_sub(looked) > pause + limits::DUTY_GAP {
            // The machine slept, or nothing got to run: nobody could try.
            core.duties.all.excuse(now);
        }
        looked = now;
        if let Some(standing) = core.duties.asks_for_restart(now) {
            return standing;
        }
        if watchdog.is_some() {
            systemd::notify(NotifyState::Watchdog);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AgentDuties;
    use crate::limits;
    use std::time::Duration;

    #[test]
    fn a_duty_that_fails_asks_for_no_restart_and_one_that_hangs_does() {
        let start = Duration::from_secs(100);
        let duties = AgentDuties::new(start);
        let late = start + limits::FOLLOWING_WITHIN + Duration::from_secs(1);
        duties.following.failed(late, "the server is away");
        duties.own_svid.done(late);
        duties.workload_svids.done(late);
        assert_eq!(duties.asks_for_restart(late), None);
        let shown = duties.standings(late);
        let following = shown.iter().find(|duty| duty.name == "following").unwrap();
        assert!(following.condition.is_late());
        let later = late + limits::RENEWAL_WITHIN + Duration::from_secs(1);
        duties.following.done(later);
        let stuck = duties.asks_for_restart(later).unwrap();
        assert_eq!(stuck.name, "own_svid");
    }
}
