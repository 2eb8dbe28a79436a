//! Workload selectors of a Unix process.
//!
//! | selector | what it says |
//! |---|---|
//! | `unix:uid:1000`, `unix:user:ada` | the user that connected |
//! | `unix:gid:1000`, `unix:group:ada` | the group that connected |
//! | `unix:supplementary_gid:27`, `unix:supplementary_group:sudo` | one for each supplementary group |
//! | `unix:path:/usr/bin/payments` | the program, where the agent finds the same file there |
//! | `unix:sha256:<hex>` | the program's bytes |
//!
//! The names and values are SPIRE's, so that entries move without change.
//!
//! A number without a name has no `user` or `group` selector; a program that
//! was unlinked, replaced or is not where its path says has no `path`; one over
//! the size limit has no `sha256`. These facts do not exist, and leaving them out
//! can only narrow what a process gets. What could not be *found out* fails the
//! call.
//!
//! `path` and `sha256` tell programs apart, not attackers: another program of
//! the same user can load itself into this one (`LD_PRELOAD`, `ptrace`). Put a
//! `uid` beside them.

use contract::{Inspect, InspectError, Process, ProcessError};
use identity::Selector;

/// The attestor's name, and the kind of its selectors.
pub const KIND: &str = "unix";

/// The largest program that is hashed unless configured otherwise, in bytes.
pub const DEFAULT_SHA256_MAX_BYTES: u64 = 256 * 1024 * 1024;

/// What is stated beside users and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Whether to state the program's path.
    pub path: bool,
    /// Whether to state the program's SHA-256.
    pub sha256: bool,
    /// The largest program that is hashed, in bytes; a larger one has no
    /// `sha256` selector.
    pub sha256_max_bytes: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: true,
            sha256: false,
            sha256_max_bytes: DEFAULT_SHA256_MAX_BYTES,
        }
    }
}

/// The attestor of Unix users, groups and programs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unix {
    config: Config,
}

impl Unix {
    /// An attestor that states what `config` says.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config }
    }
}

impl Inspect for Unix {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn inspect(&self, process: &dyn Process) -> Result<Vec<Selector>, InspectError> {
        let mut stated = Stated(Vec::with_capacity(8));
        stated.user(process)?;
        stated.groups(process)?;
        if self.config.path {
            stated.path(process)?;
        }
        if self.config.sha256 {
            stated.sha256(process, self.config.sha256_max_bytes)?;
        }
        Ok(stated.0)
    }
}

struct Stated(Vec<Selector>);

impl Stated {
    fn add(&mut self, what: &'static str, value: &str) -> Result<(), InspectError> {
        let selector = Selector::new(KIND, &format!("{what}:{value}"))
            .map_err(|source| InspectError::Selector { what, source })?;
        self.0.push(selector);
        Ok(())
    }

    fn add_name(&mut self, what: &'static str, name: Option<String>) -> Result<(), InspectError> {
        match name {
            // An empty name would make the selector `user:`, which looks like a wildcard.
            Some(name) if !name.is_empty() => self.add(what, &name),
            _ => Ok(()),
        }
    }

    fn user(&mut self, process: &dyn Process) -> Result<(), InspectError> {
        let uid = process.uid();
        self.add("uid", &uid.to_string())?;
        self.add_name("user", process.user_name(uid)?)
    }

    fn groups(&mut self, process: &dyn Process) -> Result<(), InspectError> {
        let gid = process.gid();
        self.add("gid", &gid.to_string())?;
        self.add_name("group", process.group_name(gid)?)?;
        for gid in process.supplementary_groups()? {
            self.add("supplementary_gid", &gid.to_string())?;
            self.add_name("supplementary_group", process.group_name(*gid)?)?;
        }
        Ok(())
    }

    fn path(&mut self, process: &dyn Process) -> Result<(), InspectError> {
        let program = process.executable()?;
        match program.path.verified().map(std::path::Path::to_str) {
            Some(Some(path)) => self.add("path", path),
            // No selector can hold it, so no entry can ask for it.
            Some(None) | None => Ok(()),
        }
    }

    fn sha256(&mut self, process: &dyn Process, limit: u64) -> Result<(), InspectError> {
        match process.executable_sha256(limit) {
            Ok(hash) => self.add("sha256", &hex::encode(hash)),
            Err(ProcessError::TooLarge { .. } | ProcessError::NoFact(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests;
