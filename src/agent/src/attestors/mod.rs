//! The workload attestors that the configuration asks for, and the host's half
//! of those that ask somebody else: container engines ([`engine`]) and programs
//! outside this tree ([`plugin`]).

mod engine;
mod plugin;

use std::sync::Arc;

use contract::{Attestor, Inspect};
use docker::{Docker, Kind};
use external::External;

use crate::clock::Clock;
use crate::config::{AttestorsConfig, ConfigError, EngineConfig};
use crate::core::Core;
use engine::EngineSocket;
pub(crate) use plugin::Supervised;

/// Where Docker listens unless configured otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where root's Podman listens unless configured otherwise.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// The configured attestors, and the programs that are to be kept running for
/// them.
pub(crate) struct Configured {
    pub(crate) attestors: Arc<[Attestor]>,
    pub(crate) plugins: Vec<Supervised>,
}

/// Makes the configured attestors. To be called inside the tokio runtime.
///
/// # Errors
/// A value that the configuration's check would have refused.
pub(crate) fn configured(core: &Core) -> Result<Configured, ConfigError> {
    let (config, clock) = (&core.settings.config.attestors, &core.clock);
    let mut all = built_in(config, clock);
    let mut plugins = Vec::with_capacity(config.external.len());
    for external in &config.external {
        let plugin = Supervised::new(core, external)?;
        let (name, seat) = (plugin.name(), plugin.seat());
        all.push(attestor(External::new(name, seat), external.optional));
        plugins.push(plugin);
    }
    Ok(Configured {
        attestors: all.into(),
        plugins,
    })
}

fn built_in(config: &AttestorsConfig, clock: &Clock) -> Vec<Attestor> {
    let unix = unix::Unix::new(unix::Config {
        path: config.unix.path,
        sha256: config.unix.sha256,
        sha256_max_bytes: config.unix.sha256_max_bytes,
    });
    let mut all = vec![attestor(unix, false)];
    if config.systemd.enabled {
        all.push(attestor(::systemd::Systemd, config.systemd.optional));
    }
    if config.docker.enabled {
        let docker = container(Kind::Docker, &config.docker, DOCKER_SOCKET, clock);
        all.push(attestor(docker, config.docker.optional));
    }
    if config.podman.enabled {
        let podman = container(Kind::Podman, &config.podman, PODMAN_SOCKET, clock);
        all.push(attestor(podman, config.podman.optional));
    }
    all
}

fn attestor(inspect: impl Inspect + 'static, optional: bool) -> Attestor {
    Attestor {
        inspect: Arc::new(inspect),
        optional,
    }
}

fn container(kind: Kind, config: &EngineConfig, socket: &str, clock: &Clock) -> Docker {
    let socket = config.socket.clone().unwrap_or_else(|| socket.into());
    let engine = EngineSocket::new(kind, socket, clock.clone());
    Docker::new(kind, Arc::new(engine), config.env.clone())
}
