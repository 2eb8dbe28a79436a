//! The agent's life in one readable file: check, restore or enrol, open the
//! sockets, follow the server, stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use channel::uds::BindError;
use contract::ProcessError;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::{Config, ConfigError, Settings};
use crate::core::Core;
use crate::disk::{
    DiskError, Folder, HeldState, KeptRevocations, OwnIdentity, SealKey, TrustedBundle, read_secret,
};
use crate::enrol::EnrolError;
use crate::entropy::Entropy;
use crate::health::Part;
use crate::listeners::Listeners;
use crate::scoped::PolicyHeld;
use crate::{duties, limits, persist, renew, sync, systemd};

/// Why an agent stopped or never started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The key that seals the data folder cannot be used.
    #[error("storage.seal_key_file {path} cannot be used: {why}")]
    SealKey {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The agent has no identity and cannot get one.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The server has banned this node.
    #[error(
        "this node is banned: {0}. Every SVID was dropped; an admin may evict the node so that it can join again"
    )]
    Banned(String),
    /// A Unix socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The address for health and metrics cannot be opened.
    #[error("ops.listen {address} cannot be opened: {source}")]
    Ops {
        /// Which address.
        address: SocketAddr,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Metrics cannot be kept.
    #[error("metrics cannot be kept: {0}")]
    Metrics(String),
    /// `/proc` cannot be used.
    #[error("processes cannot be looked at: {0}")]
    Processes(#[from] ProcessError),
    /// The ready file cannot be written.
    #[error("ready_file {path} cannot be written: {source}")]
    ReadyFile {
        /// Which file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Something that must happen by itself is not even tried any more.
    #[error("the agent must be started again: {0}")]
    Stuck(duty::Standing),
    /// A part of the agent ended that never should: a defect.
    #[error("a part of the agent ended unexpectedly")]
    Ended,
}

/// Runs an agent until `shutdown` resolves, then drains for at most ten seconds.
///
/// Without an SVID of an earlier run it enrols first, for which it needs a join
/// token and something that says which server to trust. While the server is away
/// it serves what it has.
///
/// # Errors
/// Says what was refused and what to do about it.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let core = prepare(config.settings()?, Clock::system(), Entropy::system()).await?;
    live(core, shutdown).await
}

/// Opens the data folder and takes over what an earlier run left there. Refuses
/// an agent that could never serve, before a socket is opened.
pub(crate) async fn prepare(
    settings: Settings,
    clock: Clock,
    entropy: Entropy,
) -> Result<Arc<Core>, RunError> {
    let seal = seal_key(&settings)?;
    let folder = Folder::open(&settings.config.data_dir, seal, entropy.clone())?;
    let core = Arc::new(Core::new(settings, folder, clock, entropy));
    restore(&core).await?;
    if !core.has_valid_identity() && !core.hub.is_ready() {
        core.enroller().precheck()?;
    }
    Ok(core)
}

/// From open sockets to the end.
pub(crate) async fn live(
    core: Arc<Core>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    raise_descriptor_limit();
    let (stop, stopped) = watch::channel(false);
    let mut serving = Listeners::open(&core.settings)
        .await?
        .serve(&core, &stopped)?;
    let mut working = JoinSet::new();
    working.spawn(renew::keep_own_young(Arc::clone(&core)));
    working.spawn(renew::keep_workloads_young(Arc::clone(&core)));
    working.spawn(persist::keep_saved(Arc::clone(&core)));
    working.spawn(watch_streams(Arc::clone(&core)));
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        fatal = sync::supervise(Arc::clone(&core)) => Err(fatal),
        stuck = duties::watch(Arc::clone(&core)) => Err(RunError::Stuck(stuck)),
        _ = working.join_next() => Err(RunError::Ended),
        _ = serving.join_next() => Err(RunError::Ended),
    };
    systemd::notify(NotifyState::Stopping);
    tracing::info!("the agent is stopping");
    let _nobody_left = stop.send(true);
    let drained = async { while serving.join_next().await.is_some() {} };
    if tokio::time::timeout(limits::DRAIN, drained).await.is_err() {
        tracing::warn!("some calls did not end in time and were cut");
    }
    working.shutdown().await;
    // What fails here has been noted as a problem.
    let _noted = persist::save(&core).await;
    outcome
}

/// Watches for streams of workloads that take nothing, for as long as the agent runs.
async fn watch_streams(core: Arc<Core>) {
    core.hub.watch_streams(&core.duties.streams).await;
}

/// A workload costs two descriptors, a connection and a handle to its process; the
/// usual soft limit of 1024 would be 400 workloads.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // Also keeps to units whose system call filter knows no setrlimit.
    if current == maximum {
        return;
    }
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files could not be raised");
    }
}

fn seal_key(settings: &Settings) -> Result<Option<SealKey>, RunError> {
    let Some(path) = &settings.config.storage.seal_key_file else {
        return Ok(None);
    };
    let unusable = |why| RunError::SealKey {
        path: path.clone(),
        why,
    };
    let bytes = read_secret(path)?;
    SealKey::new(&bytes)
        .map(Some)
        .ok_or_else(|| unusable("it has fewer than 16 bytes"))
}

/// Without the list nothing is found valid until the server has been heard, unless the
/// operator prefers the risk.
fn lost_revocations(core: &Core, why: &str) {
    let refuses = !core.settings.config.storage.accept_lost_revocations;
    if refuses {
        core.hub.lose_revocations();
    }
    let then = match refuses {
        true => "nothing is found valid until the server has said it again",
        false => "what was revoked is accepted until the server has said it again",
    };
    core.problem(Part::Revocations, format!("{why}; {then}"));
}

async fn restore(core: &Core) -> Result<(), RunError> {
    let trust_domain = &core.settings.trust_domain;
    if core.settings.config.trust.replace_stored_bundle {
        tracing::warn!(
            "trust.replace_stored_bundle: what an earlier run kept is not used, and the server is \
             recognised by the pin or the bundle file; take this key out again"
        );
        return Ok(());
    }
    let Some(bundle) = TrustedBundle::load(&core.folder, trust_domain)? else {
        return Ok(());
    };
    core.link.bundles().set(Arc::clone(&bundle));
    core.hub.hold_own_bundle(Arc::clone(&bundle));
    match KeptRevocations::load(&core.folder, trust_domain) {
        // An agent that has followed a server once was given a list and kept it.
        Ok(None) => lost_revocations(core, "the list of what is revoked is missing"),
        Ok(Some(news)) => {
            let revocations = Arc::clone(&news.revocations);
            core.link.bundles().set_revocations(revocations);
            core.hub.revoke(news);
        }
        Err(error) => lost_revocations(core, &error.to_string()),
    }
    // Without it the agent serves everything but checks of endpoints, until the server
    // has sent it anew.
    match PolicyHeld::load(&core.folder) {
        Ok(held) => core.policies.set(held),
        Err(error) => core.problem(Part::Storage, error.to_string()),
    }
    if let Some(own) = OwnIdentity::load(&core.folder)?
        && own.svid.not_after > core.now()
        && own.svid.spiffe_id.is_member_of(trust_domain)
    {
        core.become_known_as(own)
            .await
            .map_err(|error| EnrolError::Key(error.to_string()))?;
    }
    if !core.settings.config.storage.keep_workload_svids {
        return Ok(());
    }
    match HeldState::load(&core.folder, trust_domain) {
        Ok(None) => {}
        Ok(Some((held, unreadable))) => {
            if unreadable > 0 {
                let why = format!("{unreadable} kept records cannot be read and were left out");
                core.problem(Part::Storage, why);
            }
            tracing::info!(
                entries = held.entries.len(),
                svids = held.svids.len(),
                "took over what an earlier run kept"
            );
            core.hub.restore(bundle, held);
        }
        // The server has it all: only an outage makes this file worth having.
        Err(error) => core.problem(Part::Storage, error.to_string()),
    }
    Ok(())
}
