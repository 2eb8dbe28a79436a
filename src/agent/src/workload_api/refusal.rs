//! One log line for each refusal, within reason: a client that is refused tries
//! again for ever, and must not fill the disk.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use super::connection::Connection;

/// Lines a second at level info; what is beyond is logged at level debug.
const LINES_PER_SECOND: u32 = 10;

/// Counts the lines of the current second.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Mutex<(u64, u32)>);

impl RefusalLog {
    /// Logs and counts one refusal; `label` is the code's name in metrics.
    pub(crate) fn note(
        &self,
        connection: &Connection,
        label: &'static str,
        code: impl std::fmt::Debug,
        reason: &str,
    ) {
        let peer = connection.caller.peer();
        let (uid, pid) = (peer.uid(), peer.pid());
        metrics::counter!("bulla_agent_workload_refusals_total", "code" => label).increment(1);
        if self.may_tell(connection.api.core.clock.boottime()) {
            tracing::info!(uid, pid, ?code, reason, "refused a workload");
        } else {
            tracing::debug!(uid, pid, ?code, reason, "refused a workload");
        }
    }

    /// Whether one more line may be logged now.
    pub(crate) fn may_tell(&self, now: Duration) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0 != now.as_secs() {
            *window = (now.as_secs(), 0);
        }
        window.1 += 1;
        window.1 <= LINES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_refusals_is_told_of_ten_times_a_second() {
        let log = RefusalLog::default();
        let told = |at| {
            (0..100)
                .filter(|_| log.may_tell(Duration::from_secs(at)))
                .count()
        };
        assert_eq!(told(1), 10);
        assert_eq!(told(2), 10);
    }
}
