//! The agent's sockets: opened together, served until the agent stops, closed
//! together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use channel::uds::{self, SocketOptions};
use contract::Attestor;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admin::{AdminSocket, ops};
use crate::attestors;
use crate::config::Settings;
use crate::core::Core;
use crate::limits;
use crate::process::{Options, ProcessHost};
use crate::run::RunError;
use crate::systemd;
use crate::workload_api::WorkloadApi;

/// Connections to the admin socket at once.
const ADMIN_CONNECTIONS: usize = 32;

/// Where a running agent is reached: the contents of the ready file.
#[derive(Clone, Debug, Serialize)]
struct Ready {
    trust_domain: String,
    workload_socket: PathBuf,
    admin_socket: PathBuf,
    ops: Option<SocketAddr>,
}

/// The agent's open sockets.
pub(crate) struct Listeners {
    workload: UnixListener,
    admin: UnixListener,
    ops: Option<(TcpListener, PrometheusHandle)>,
    ready: Ready,
}

impl Listeners {
    /// Opens all sockets.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, RunError> {
        let config = &settings.config;
        let options = SocketOptions {
            mode: settings.socket_mode,
            ..SocketOptions::WORKLOAD
        };
        let workload = uds::bind(&config.workload_socket, options)?;
        let admin = uds::bind(&config.admin_socket, SocketOptions::ADMIN)?;
        let ops = match config.ops.listen {
            None => None,
            Some(address) => {
                let failed = |source| RunError::Ops { address, source };
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                Some((listener, recorder()?))
            }
        };
        let ready = Ready {
            trust_domain: settings.trust_domain.to_string(),
            workload_socket: config.workload_socket.clone(),
            admin_socket: config.admin_socket.clone(),
            ops: ops.as_ref().and_then(|(l, _)| l.local_addr().ok()),
        };
        Ok(Self {
            workload,
            admin,
            ops,
            ready,
        })
    }

    /// Serves all sockets until `stop` turns true.
    pub(crate) fn serve(
        self,
        core: &Arc<Core>,
        stop: &watch::Receiver<bool>,
    ) -> Result<JoinSet<()>, RunError> {
        let stopped = || {
            let mut stop = stop.clone();
            async move {
                // An error means that the agent is gone, which is also a stop.
                let _gone = stop.wait_for(|stop| *stop).await;
            }
        };
        let mut serving = JoinSet::new();
        let configured = attestors::configured(core)?;
        for plugin in configured.plugins {
            serving.spawn(plugin.keep_running(stopped()));
        }
        let api = workload_api(core, configured.attestors)?;
        let admin = AdminSocket::new(core, &api);
        let accept = move |peer: &Arc<uds::UnixPeer>| api.accept(peer);
        let limits = workload_limits(&core.settings);
        let shutdown = stopped();
        let workload = channel::serve_unix_each(self.workload, accept, limits, shutdown);
        serving.spawn(workload);
        let limits = channel::Limits {
            connections: ADMIN_CONNECTIONS,
            connections_per_origin: ADMIN_CONNECTIONS,
            // A delegate follows each workload in a stream of its own.
            concurrent_streams: core.settings.config.limits.streams_per_connection,
            ..channel::Limits::workload()
        };
        let accept = move |peer: &Arc<uds::UnixPeer>| admin.accept(peer);
        let shutdown = stopped();
        let admin = channel::serve_unix_each(self.admin, accept, limits, shutdown);
        serving.spawn(admin);
        if let Some((listener, metrics)) = self.ops {
            let routes = ops(core, metrics);
            let shutdown = stopped();
            serving.spawn(async move {
                let served = axum::serve(listener, routes)
                    .with_graceful_shutdown(shutdown)
                    .await;
                if let Err(error) = served {
                    tracing::error!(%error, "the ops listener ended");
                }
            });
        }
        announce(&core.settings, &self.ready)?;
        Ok(serving)
    }
}

fn workload_api(
    core: &Arc<Core>,
    attestors: Arc<[Attestor]>,
) -> Result<Arc<WorkloadApi>, RunError> {
    let config = &core.settings.config;
    let host = ProcessHost::new(Options {
        refuse_weak: config.workload_api.refuse_weak,
        ..Options::default()
    })?;
    Ok(WorkloadApi::new(Arc::clone(core), host, attestors))
}

fn workload_limits(settings: &Settings) -> channel::Limits {
    let limits = &settings.config.limits;
    let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    let descriptors = free_descriptors();
    let connections = count(limits.connections).min(descriptors);
    if connections < count(limits.connections) {
        tracing::warn!(
            wanted = limits.connections,
            connections,
            "the limit of open files allows fewer connections than limits.connections; raise LimitNOFILE"
        );
    }
    // However low that is, one user's processes leave room for others.
    let one_uid = connections - connections / 8;
    channel::Limits {
        connections,
        connections_per_origin: count(limits.connections_per_uid).min(one_uid),
        descriptors,
        concurrent_streams: limits.streams_per_connection,
        ..channel::Limits::workload()
    }
}

/// How many descriptors the limit of open files leaves for workloads.
fn free_descriptors() -> usize {
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let most = most.map_or(usize::MAX, |most| {
        usize::try_from(most).unwrap_or(usize::MAX)
    });
    most.saturating_sub(limits::OTHER_DESCRIPTORS).max(1)
}

/// Metrics are kept for the whole process, and only where somebody can read them.
fn recorder() -> Result<PrometheusHandle, RunError> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| RunError::Metrics(error.to_string()))?;
    observe::describe(crate::METRICS);
    observe::describe(observe::PROCESS);
    observe::set_build_info("bulla_agent_build_info", env!("CARGO_PKG_VERSION"));
    Ok(handle)
}

/// Tells whoever started the agent that its sockets are open.
fn announce(settings: &Settings, ready: &Ready) -> Result<(), RunError> {
    if let Some(path) = &settings.config.ready_file {
        let json = serde_json::to_vec_pretty(ready).unwrap_or_default();
        std::fs::write(path, json).map_err(|source| RunError::ReadyFile {
            path: path.clone(),
            source,
        })?;
    }
    systemd::notify(NotifyState::Ready);
    tracing::info!(
        workload_socket = %ready.workload_socket.display(),
        admin_socket = %ready.admin_socket.display(),
        "the agent's sockets are open"
    );
    Ok(())
}
