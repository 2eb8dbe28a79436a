//! The workload attestors that the configuration asks for, and the host's half
//! of those that ask somebody else: container engines ([`engine`]).

mod engine;

use std::sync::Arc;

use contract::{Attestor, Inspect};
use docker::{Docker, Kind};

use crate::clock::Clock;
use crate::config::{AttestorsConfig, EngineConfig};
use engine::EngineSocket;

/// Where Docker listens unless configured otherwise.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where root's Podman listens unless configured otherwise.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// Makes the configured attestors. To be called inside the tokio runtime.
pub(crate) fn configured(config: &AttestorsConfig, clock: &Clock) -> Arc<[Attestor]> {
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
    all.into()
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
