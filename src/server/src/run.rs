//! From configuration to a running server and back to a clean stop.

use std::future::Future;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use records::AuditKind;
use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::audit;
use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Settings};
use crate::duties::{Supervisor, Verdict};
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::health;
use crate::housekeeping::{self, Schedule};
use crate::limits;
use crate::listeners::{ListenError, Listeners};
use crate::metrics;
use crate::open::{self, StorageFailure};
use crate::revocation;
use crate::server::{Ready, Server};

/// Why the server did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is on disk.
    #[error("storage did not open")]
    Storage(#[from] StorageFailure),
    /// State or signing authorities.
    #[error("server could not be built: {0}")]
    Build(Failure),
    /// A socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The decision log cannot be written, and did not heal.
    #[error(
        "decision log cannot be written: {0}; look at its disk and at the limit of open files, then start the server again"
    )]
    Journal(String),
    /// Something of the runtime.
    #[error("server failed: {0}")]
    Failed(String),
    /// What only a new process can do again; whoever runs the server is to start it anew.
    #[error("the server ends, to be started again: {0}")]
    Duty(Box<duty::Standing>),
}

/// Runs a server until `shutdown` completes, then drains within ten seconds.
///
/// # Errors
/// See [`RunError`]; each says what to do.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), RunError> {
    run_until(config, shutdown, |_| {}).await
}

/// As [`run`]; calls `on_ready` once every socket is bound and served.
///
/// # Errors
/// As [`run`].
pub async fn run_until(
    config: Config,
    shutdown: impl Future<Output = ()> + Send,
    on_ready: impl FnOnce(&Ready) + Send,
) -> Result<(), RunError> {
    let settings = config.check()?;
    run_with(settings, Clock::machine(), shutdown, on_ready).await
}

/// As [`run_until`], from checked settings and with the clock given: for tests that
/// move the time.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    settings: Settings,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send,
    on_ready: impl FnOnce(&Ready) + Send,
) -> Result<(), RunError> {
    crate::process::harden();
    let metrics = metrics::install();
    let entropy = Entropy::system();
    open::own_directory(&settings.data_dir)?;
    let listeners = Listeners::bind(&settings).await?;
    // On this thread, which has nothing else to do yet: what opening allocates goes
    // back to the system, which memory of a thread of its own would not.
    let opened = open::open(&settings, &entropy, &clock)?;
    let (journal, store) = (opened.journal.clone(), Arc::clone(&opened.store));
    let (stop, stopping) = watch::channel(false);
    let schedule = Schedule::start(&settings.rotation_schedule).await;
    let schedule = schedule.map_err(|error| RunError::Failed(error.to_string()))?;
    let server = Server::build(settings, opened, (clock, entropy), stopping).await;
    let (server, svid) = server.map_err(RunError::Build)?;
    let ready = listeners.ready(&server.settings);
    let housekeeping = tokio::spawn(housekeeping::run(Arc::clone(&server), svid, schedule));
    let publishing = tokio::spawn(revocation::publish(Arc::clone(&server)));
    let probing = tokio::spawn(probe_journal(Arc::clone(&server)));
    let mut keeping = tokio::spawn(audit::keep(server.audit.clone()));
    let supervising = supervise(Arc::clone(&server));
    tokio::pin!(supervising);
    announce(&server, &ready)?;
    let serving = listeners.serve(&server, metrics);
    tokio::pin!(serving);
    on_ready(&ready);
    let outcome = tokio::select! {
        served = &mut serving => served.map_err(RunError::from),
        // Nothing can be signed any more: ends, so that whoever watches starts it again.
        kept = &mut keeping => Err(journal_ended(kept)),
        () = shutdown => {
            tracing::info!("shutting down");
            tell_systemd(&[NotifyState::Stopping]);
            let _nobody_left = stop.send(true);
            serving.await.map_err(RunError::from)
        }
        standing = &mut supervising => {
            // What hangs must not keep the end from coming; see `abandon`.
            return Err(abandon(&stop, journal, standing));
        }
    };
    let _already = stop.send(true);
    keeping.abort();
    probing.abort();
    if let Err(RunError::Journal(_)) = outcome {
        return outcome;
    }
    // It waits for nothing but a signature.
    publishing.abort();
    if let Err(error) = housekeeping.await {
        tracing::warn!(%error, "housekeeping ended badly");
    }
    close(&server, journal, store).await;
    outcome
}

/// The end of a server that cannot do its duties. Nothing is waited for: what would be
/// closed in order may be what hangs, and everything acknowledged is durable.
fn abandon(
    stop: &watch::Sender<bool>,
    journal: journal::Journal,
    standing: duty::Standing,
) -> RunError {
    // The last handle that is dropped waits for the writer, which may be what hangs.
    std::mem::forget(journal);
    tracing::error!(%standing, "the server ends, to be started again");
    tell_systemd(&[NotifyState::Stopping]);
    let _nobody_left = stop.send(true);
    RunError::Duty(Box::new(standing))
}

fn journal_ended(kept: Result<audit::JournalHealth, tokio::task::JoinError>) -> RunError {
    RunError::Journal(match kept {
        Ok(health) => health.problem(),
        Err(error) => format!("whoever looks after it ended: {error}"),
    })
}

/// Tells everybody where the server is: the log, systemd, and a file that tools read.
fn announce(server: &Arc<Server>, ready: &Ready) -> Result<(), RunError> {
    if server.ready.set(ready.clone()).is_err() {
        return Err(RunError::Failed("announced twice".into()));
    }
    let file = server.settings.data_dir.join("run/addresses.json");
    write_addresses(&file, ready)
        .map_err(|error| RunError::Failed(format!("{}: {error}", file.display())))?;
    tracing::info!(
        trust_domain = ready.trust_domain,
        listen = %ready.listen,
        admin_socket = %ready.admin_socket.display(),
        ops = ready.ops.map(|address| address.to_string()),
        "server is ready"
    );
    tell_systemd(&[NotifyState::Ready]);
    Ok(())
}

/// Written beside and renamed, so that a reader sees all of it or nothing.
fn write_addresses(path: &Path, ready: &Ready) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let text = serde_json::to_string_pretty(ready)?;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    std::fs::rename(&beside, path)
}

fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// Looks at the duties: feeds the watchdog, tells gRPC health, and ends with what only a
/// new process can do again.
async fn supervise(server: Arc<Server>) -> duty::Standing {
    let watched = sd_notify::watchdog_enabled().is_some();
    let mut supervisor = Supervisor::new(server.duties.clone(), server.clock.since_boot());
    let mut tick = tokio::time::interval(limits::SUPERVISOR_LOOK);
    let mut told = false;
    loop {
        tick.tick().await;
        let late = match supervisor.look(server.clock.since_boot()) {
            Verdict::Feed => {
                if watched {
                    tell_systemd(&[NotifyState::Watchdog]);
                }
                None
            }
            Verdict::Starve(standing) => Some(standing),
            Verdict::End(standing) => return standing,
        };
        if let Some(standing) = late.as_ref().filter(|_| !told) {
            tracing::error!(%standing, "the watchdog is not fed any more");
        }
        told = late.is_some();
        health::tell(&server).await;
    }
}

/// Probes the journal, so that a dead one is known on an idle server.
async fn probe_journal(server: Arc<Server>) {
    loop {
        tokio::time::sleep(limits::JOURNAL_PROBE).await;
        server.audit.probe().await;
    }
}

/// The last record, then the files.
async fn close(server: &Server, journal: journal::Journal, store: Arc<dyn store::Store>) {
    let goodbye = async {
        match server
            .audit
            .draft(&server.audit.record(AuditKind::Shutdown, &Caller::Server))
        {
            Ok(draft) => {
                if let Err(failure) = server.audit.append(vec![draft]).await {
                    tracing::warn!(%failure, "shutdown was not recorded");
                }
            }
            Err(failure) => tracing::warn!(%failure, "shutdown was not recorded"),
        }
        store.close().await;
        let closed = tokio::task::spawn_blocking(move || journal.close()).await;
        if let Err(error) = closed {
            tracing::warn!(%error, "decision log did not close in order");
        }
    };
    if tokio::time::timeout(limits::CLOSE, goodbye).await.is_err() {
        tracing::warn!(
            "storage did not close in time; everything acknowledged is durable all the same"
        );
    }
}
