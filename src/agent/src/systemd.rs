//! Telling systemd how the agent is. Without systemd all of this does nothing.

use std::sync::Arc;

use sd_notify::NotifyState;

use crate::core::Core;

/// Tells systemd of one change.
pub(crate) fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not notified");
    }
}

/// Gives the signs of life that `WatchdogSec=` asks for, for as long as the
/// runtime turns and the cache can be locked.
pub(crate) async fn keep_alive(core: Arc<Core>) {
    let Some(interval) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        let _is_ready = core.hub.is_ready();
        notify(NotifyState::Watchdog);
        tokio::time::sleep(interval / 2).await;
    }
}
