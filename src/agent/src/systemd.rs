//! Telling systemd how the agent is. Without systemd all of this does nothing. The
//! watchdog is fed where the duties are looked at.

use sd_notify::NotifyState;

/// Tells systemd of one change.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
