//! What happens by itself: rotation, the server's own SVID, removal of what has
//! expired. A cron schedule and a fallback both only say "look"; one task looks,
//! so nothing overlaps, and a scheduler that falls silent stops nothing.

use std::sync::Arc;
use std::time::Duration;

use identity::EntryId;
use records::AuditKind;
use tokio::sync::Notify;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::caller::Caller;
use crate::failure::Failure;
use crate::issue::ServerSvid;
use crate::limits;
use crate::server::Server;

/// The cron jobs; dropping it ends them.
pub(crate) struct Schedule {
    scheduler: JobScheduler,
    rotate: Arc<Notify>,
    sweep: Arc<Notify>,
}

impl Schedule {
    /// Starts the cron jobs. They carry nothing but a wake-up: the crate's jobs may
    /// overlap, and fall silent when the wall clock is set back.
    pub(crate) async fn start(rotation: &str) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let rotate = Arc::new(Notify::new());
        let sweep = Arc::new(Notify::new());
        scheduler.add(waker(rotation, &rotate)?).await?;
        scheduler
            .add(waker(limits::SWEEP_SCHEDULE, &sweep)?)
            .await?;
        scheduler.start().await?;
        Ok(Self {
            scheduler,
            rotate,
            sweep,
        })
    }

    /// Ends the cron jobs.
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::warn!(%error, "cron jobs did not end in order");
        }
    }
}

/// Whether a text is a cron schedule with seconds.
pub(crate) fn is_schedule(text: &str) -> bool {
    Job::new(text, |_, _| {}).is_ok()
}

fn waker(schedule: &str, wake: &Arc<Notify>) -> Result<Job, JobSchedulerError> {
    let wake = Arc::clone(wake);
    Job::new(schedule, move |_, _| wake.notify_one())
}

/// Looks when woken, until the server stops.
pub(crate) async fn run(server: Arc<Server>, first: ServerSvid, schedule: Schedule) {
    let stopped = server.stopped();
    tokio::pin!(stopped);
    let mut svid = first;
    let mut revocations = server.state.revocations_changed();
    loop {
        let wait = next_look(&server, &svid);
        tokio::select! {
            () = &mut stopped => break,
            () = schedule.rotate.notified() => svid = rotate(&server, svid).await,
            // It may be the server's own SVID. The sender lives in the state.
            _changed = revocations.changed() => svid = rotate(&server, svid).await,
            () = server.authorities.changed() => svid = rotate(&server, svid).await,
            () = tokio::time::sleep(wait) => svid = rotate(&server, svid).await,
            () = schedule.sweep.notified() => sweep(&server).await,
        }
    }
    schedule.stop().await;
}

/// Until the server's SVID is due, a minute at most; a second while a tainted key signs.
fn next_look(server: &Server, svid: &ServerSvid) -> Duration {
    if server.authorities.tainted_key_signs() {
        return limits::TAINTED_LOOK;
    }
    let due = svid.renew_at.since(server.clock.now()).0;
    Duration::from_secs(u64::from(due.clamp(1, limits::LONGEST_LOOK_SECONDS)))
}

/// One look at the rotation and the server's own SVID.
pub(crate) async fn rotate(server: &Server, svid: ServerSvid) -> ServerSvid {
    if let Err(failure) = server.authorities.tick().await {
        tracing::error!(%failure, "key rotation could not go on");
    }
    let active = server.authorities.x509();
    let same = active.is_some_and(|active| active.id() == svid.authority_id);
    let revoked = server.state.revoked();
    let id = server.authorities.server_id();
    let stands = id.is_none_or(|id| {
        let checked = revoked.check_certificate(&id, &svid.serial, svid.not_before);
        checked.is_ok()
    });
    if same && stands && server.clock.now() < svid.renew_at {
        return svid;
    }
    match server.issuer.renew_server_svid(&server.identity).await {
        Ok(renewed) => renewed,
        Err(failure) => {
            tracing::error!(%failure, "the server's own SVID could not be renewed");
            svid
        }
    }
}

/// Removes what has expired.
pub(crate) async fn sweep(server: &Server) {
    match server.attestation.sweep_tokens().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "expired join tokens removed"),
        Err(failure) => tracing::warn!(%failure, "expired join tokens could not be removed"),
    }
    if !server.audit.is_writable() {
        probe_journal(server).await;
    }
    if let Err(failure) = server.authorities.prune_expired().await {
        tracing::warn!(%failure, "expired keys of others could not be removed");
    }
    match server.revocations.sweep().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "revocations of what has expired removed"),
        Err(failure) => tracing::warn!(%failure, "spent revocations could not be removed"),
    }
    if let Err(failure) = sweep_entries(server).await {
        tracing::warn!(%failure, "expired entries could not be removed");
    }
}

/// After a failure: tries whether records can be made again, or nobody would notice
/// on a server that is sent nothing because it is not ready.
async fn probe_journal(server: &Server) {
    let mut record = server.audit.record(AuditKind::Startup, &Caller::Server);
    record.detail = "records can be made again";
    if let Ok(draft) = server.audit.draft(&record)
        && server.audit.append(vec![draft]).await.is_ok()
    {
        tracing::info!("records can be made again");
    }
}

async fn sweep_entries(server: &Server) -> Result<(), Failure> {
    let now = server.clock.now();
    let expired: Vec<EntryId> = server.state.registry().expired(now, limits::MAX_BATCH);
    if expired.is_empty() {
        return Ok(());
    }
    tracing::info!(count = expired.len(), "expired entries are removed");
    for outcome in server.state.delete_entries(&Caller::Server, expired).await {
        outcome?;
    }
    Ok(())
}
