//! Workload selectors of a container, as Docker or Podman describes it.
//!
//! | selector | what it says |
//! |---|---|
//! | `docker:label:com.example.tier:web` | one for each label of the container |
//! | `docker:image_id:registry.example.org/web:1.4` | the image, as it was named when the container was made |
//! | `docker:image_config_digest:sha256:<hex>` | the image, by its digest |
//! | `docker:env:TIER=web` | one for each environment variable named in `env` |
//!
//! The names and values are SPIRE's; Podman's are the same behind `podman:`.
//! Unlike SPIRE's, environment variables are stated only where the admin named
//! them: their values are often secrets, and selectors are shown to admins.
//!
//! Which container a process is in, the kernel says (its control group, read
//! through the process's handle); what the container is, the engine says. Only
//! groups that root's engine made count: see [`container_of`]. So containers of
//! a *rootless* engine have no selectors here: its user can give a group any
//! container's name.
//!
//! A name is no boundary: `image_id` is what somebody wrote when the container
//! was made. `image_config_digest` is what runs. Labels are set by whoever may
//! make containers, and that is root in all but name.
//!
//! A label whose key has a colon is not stated, since `a:b` = `c` and `a` =
//! `b:c` would be one selector; neither is a fact that no selector can hold.
//!
//! No engine ran where this was written. Proved: the naming of groups, the way
//! to a socket, limits, and answers in the form that Docker 27 and Podman 5
//! document. Not proved: that every version of every engine keeps to that form;
//! one that does not is refused, and says so in the agent's log.

mod cgroup;
mod container;

use std::sync::Arc;

use contract::{Inspect, InspectError, Process};
use identity::Selector;

pub use cgroup::{ContainerId, Contradiction, Found, Naming, container_of};
pub use container::{Container, Malformed};

/// Which engine is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Docker, with selectors `docker:…`.
    Docker,
    /// Podman, as root, with selectors `podman:…`.
    Podman,
}

impl Kind {
    /// The attestor's name, and the kind of its selectors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    // Whether an engine of this kind must know a container so named. A bare name
    // can be of any runtime.
    fn made(self, naming: Naming) -> bool {
        match self {
            Self::Docker => naming == Naming::Docker,
            Self::Podman => naming == Naming::Podman,
        }
    }
}

/// The host's way to the engine.
pub trait Engine: Send + Sync {
    /// What the engine says of a container; `None` when it has none of that ID.
    /// `may_wait` is [`Process::may_wait`].
    ///
    /// # Errors
    /// The engine did not answer, or not within the host's limits;
    /// [`contract::ProcessError::WouldBlock`] when the answer is not at hand.
    fn container(
        &self,
        id: &ContainerId,
        may_wait: bool,
    ) -> Result<Option<Arc<Container>>, InspectError>;
}

/// The attestor of containers.
#[derive(Clone)]
pub struct Docker {
    kind: Kind,
    engine: Arc<dyn Engine>,
    env: Vec<String>,
}

impl Docker {
    /// An attestor that asks `engine`. `env` names the environment variables
    /// that are stated with their values.
    #[must_use]
    pub fn new(kind: Kind, engine: Arc<dyn Engine>, env: Vec<String>) -> Self {
        Self { kind, engine, env }
    }

    fn state(&self, container: &Container) -> Vec<Selector> {
        let mut values = Vec::new();
        for (key, value) in &container.labels {
            if !key.contains(':') {
                values.push(format!("label:{key}:{value}"));
            }
        }
        for name in &self.env {
            if let Some(value) = container.env.get(name) {
                values.push(format!("env:{name}={value}"));
            }
        }
        let single = [
            ("image_id", &container.image),
            ("image_config_digest", &container.image_digest),
        ];
        for (what, value) in single {
            if !value.is_empty() {
                values.push(format!("{what}:{value}"));
            }
        }
        // What no selector can hold, no entry can ask for.
        let kind = self.kind.as_str();
        let stated = values.iter().map(|value| Selector::new(kind, value));
        stated.filter_map(Result::ok).collect()
    }
}

impl Inspect for Docker {
    fn kind(&self) -> &'static str {
        self.kind.as_str()
    }

    fn inspect(&self, process: &dyn Process) -> Result<Vec<Selector>, InspectError> {
        let groups = process.control_groups()?;
        let found =
            container_of(&groups).map_err(|error| InspectError::Unavailable(error.to_string()))?;
        let Some(found) = found else {
            return Ok(Vec::new());
        };
        match self.engine.container(&found.id, process.may_wait())? {
            Some(container) => Ok(self.state(&container)),
            // Another runtime's container is none of this engine's.
            None if !self.kind.made(found.naming) => Ok(Vec::new()),
            None => Err(InspectError::Unavailable(format!(
                "{} does not know the container that the process is in",
                self.kind.as_str()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
