//! What happens by itself: rotation, the server's own SVID, removal of what has
//! expired. A cron schedule and a fallback both only say "look"; one task looks,
//! so nothing overlaps, and a scheduler that falls silent stops nothing.

use std::sync::Arc;
use std::time::Duration;

use identity::EntryId;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::caller::Caller;
use crate::duties;
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
    // The cron jobs may fall silent; nothing that expired waits for them for ever.
    let mut longest = tokio::time::interval(limits::LONGEST_SWEEP);
    longest.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut revocations = server.state.revocations_changed();
    loop {
        let wait = next_look(&server, &svid);
        tokio::select! {
            () = &mut stopped => break,
            () = schedule.rotate.notified() => svid = rotate(&server, svid).await,
            // It may be the server's own SVID. The sender lives in the state.
            _changed = revocations.changed() => svid = rotate(&server, svid).await,
            () = server.authorities.changed() => svid = rotate(&server, svid).await,
            () = server.state.orphaned() => drop_orphans(&server).await,
            () = tokio::time::sleep(wait) => svid = rotate(&server, svid).await,
            () = schedule.sweep.notified() => {
                sweep(&server).await;
                longest.reset();
            }
            _ = longest.tick() => sweep(&server).await,
        }
    }
    schedule.stop().await;
}

/// Until the server's SVID is due, a minute at most, and often enough for the deadline; a
/// second while a tainted key signs.
fn next_look(server: &Server, svid: &ServerSvid) -> Duration {
    if server.authorities.tainted_key_signs() {
        return limits::TAINTED_LOOK;
    }
    let due = svid.renew_at.since(server.clock.now()).0;
    let due = Duration::from_secs(u64::from(due.clamp(1, limits::LONGEST_LOOK_SECONDS)));
    let shortest = server.settings.ca_ttl.min(server.settings.jwt_key_ttl);
    due.min(duties::rotation_within(shortest) / 3)
}

/// One look at the rotation and the server's own SVID.
pub(crate) async fn rotate(server: &Server, svid: ServerSvid) -> ServerSvid {
    let ticked = server.authorities.tick().await;
    let duties = &server.duties;
    duties.rotation.report(server.clock.since_boot(), &ticked);
    if let Err(failure) = ticked {
        tracing::error!(%failure, "key rotation could not go on");
    }
    if let Some((_, above)) = server.authorities.upstream() {
        let now = server.clock.since_boot();
        if above.problem.is_empty() {
            duties.upstream.done(now);
        } else {
            duties.upstream.failed(now, above.problem);
        }
    }
    let active = server.authorities.x509();
    let same = active.is_some_and(|active| active.id() == svid.authority_id);
    let revoked = server.state.revoked();
    let id = server.authorities.server_id();
    let stands = id.is_none_or(|id| {
        let checked = revoked.check_certificate(&id, &svid.serial, svid.not_before);
        checked.is_ok()
    });
    let now = server.clock.since_boot();
    if same && stands && server.clock.now() < svid.renew_at {
        duties.own_svid.done(now);
        return svid;
    }
    match server.issuer.renew_server_svid(&server.identity).await {
        Ok(renewed) => {
            duties.own_svid.done(server.clock.since_boot());
            renewed
        }
        Err(failure) => {
            tracing::error!(%failure, "the server's own SVID could not be renewed");
            let now = server.clock.since_boot();
            duties.own_svid.failed(now, failure.to_string());
            svid
        }
    }
}

/// Deletes the records of authorities whose owners are gone. The next sweep tries
/// again; they are shown to nobody meanwhile.
async fn drop_orphans(server: &Server) {
    if let Err(failure) = server.authorities.drop_orphans().await {
        tracing::warn!(%failure, "authorities whose owners are gone could not be deleted yet");
    }
}

/// Removes what has expired. One part that fails does not stop the others.
pub(crate) async fn sweep(server: &Server) {
    let tokens = server.attestation.sweep_tokens().await;
    let keys = server.authorities.prune_expired().await;
    let revocations = server.revocations.sweep().await;
    let entries = sweep_entries(server).await;
    let outcomes = [
        told("join tokens", tokens),
        told("keys of others", keys.map(|()| 0)),
        told("revocations", revocations),
        told("entries", entries),
    ];
    let outcome: Result<(), String> = outcomes.into_iter().collect();
    let now = server.clock.since_boot();
    server.duties.pruning.report(now, &outcome);
}

/// Tells how many of `what` were removed, or why they were not.
fn told(what: &'static str, removed: Result<usize, Failure>) -> Result<(), String> {
    match removed {
        Ok(0) => Ok(()),
        Ok(count) => {
            tracing::info!(what, count, "expired and removed");
            Ok(())
        }
        Err(failure) => {
            tracing::warn!(what, %failure, "what has expired could not be removed");
            Err(format!("expired {what} could not be removed: {failure}"))
        }
    }
}

async fn sweep_entries(server: &Server) -> Result<usize, Failure> {
    let now = server.clock.now();
    let expired: Vec<EntryId> = server.state.registry().expired(now, limits::MAX_BATCH);
    if expired.is_empty() {
        return Ok(0);
    }
    let count = expired.len();
    for outcome in server.state.delete_entries(&Caller::Server, expired).await {
        outcome?;
    }
    Ok(count)
}
