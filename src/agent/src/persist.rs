//! Writing what is held for workloads to disk, a moment after it changed, so
//! that a burst of changes is one write.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::health::Part;

/// How long changes are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);

/// Writes after each change, for as long as the agent runs.
pub(crate) async fn keep_saved(core: Arc<Core>) {
    loop {
        core.hub.unsaved.notified().await;
        tokio::time::sleep(GATHER).await;
        save(&core).await;
    }
}

/// Writes once, if there is anything to keep and the admin wants it kept.
pub(crate) async fn save(core: &Arc<Core>) {
    if !core.settings.config.storage.keep_workload_svids {
        return;
    }
    let shared = Arc::clone(core);
    // Encoding some thousand SVIDs and syncing a disk both take their time.
    let written = tokio::task::spawn_blocking(move || {
        shared.hub.held().map(|held| held.store(&shared.folder))
    });
    match written.await {
        Ok(Some(Err(error))) => core.problem(Part::Storage, error.to_string()),
        Ok(Some(Ok(()))) => core.works(Part::Storage),
        Ok(None) => {}
        Err(error) => core.problem(Part::Storage, error.to_string()),
    }
}
