//! Writing what is held for workloads to disk, a moment after it changed, so
//! that a burst of changes is one write.

use std::sync::Arc;
use std::time::Duration;

use crate::core::Core;
use crate::disk::{DiskError, HeldState};
use crate::health::Part;

/// How long changes are gathered before they are written.
const GATHER: Duration = Duration::from_secs(1);
/// How long until it is tried again what failed.
const RETRY: Duration = Duration::from_secs(10);

/// Writes after each change, for as long as the agent runs.
pub(crate) async fn keep_saved(core: Arc<Core>) {
    loop {
        core.hub.unsaved.notified().await;
        core.duties.saving.expect(core.clock.boottime());
        tokio::time::sleep(GATHER).await;
        while let Err(why) = save(&core).await {
            core.duties.saving.failed(core.clock.boottime(), why);
            tokio::time::sleep(RETRY).await;
        }
        core.duties.saving.done(core.clock.boottime());
        core.duties.saving.rest();
    }
}

/// Writes once, if there is anything to keep and the admin wants it kept.
///
/// # Errors
/// It could not be written; that is also noted as a problem.
pub(crate) async fn save(core: &Arc<Core>) -> Result<(), String> {
    if !core.settings.config.storage.keep_workload_svids {
        return Ok(());
    }
    let shared = Arc::clone(core);
    // Encoding some thousand SVIDs and syncing a disk both take their time.
    let written = tokio::task::spawn_blocking(move || {
        let held = shared.hub.held()?;
        let stored = held.store(&shared.folder);
        // The node may have been evicted since the look: nothing of it may stay.
        if shared.hub.is_dismissed() {
            return Some(HeldState::remove(&shared.folder));
        }
        Some(stored)
    });
    let why = match written.await {
        Ok(None) => return Ok(()),
        Ok(Some(Ok(()))) => {
            core.works(Part::Storage);
            return Ok(());
        }
        // Nothing is stored of a node that was banned, and nothing is to be.
        Ok(Some(Err(DiskError::Closed))) => return Ok(()),
        Ok(Some(Err(error))) => error.to_string(),
        Err(error) => error.to_string(),
    };
    core.problem(Part::Storage, why.clone());
    Err(why)
}
