//! Which container a control group is, by the path alone.
//!
//! Runtimes make one group for each container, below groups that only root
//! writes in. A container, a service or a user's manager may make groups of any
//! name *below its own*. So the path is followed from the root for as long as
//! its components are known to be root's ([`is_roots`]), and the first other
//! component is either the container's or the process is in none. What stands
//! behind it counts for nothing.

use std::fmt;

use contract::ControlGroup;

/// The ID of a container: 64 hexadecimal digits, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// Takes an ID as runtimes write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose way of naming groups was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// `docker-<id>.scope`, or `/docker/<id>`.
    Docker,
    /// `libpod-<id>.scope`, or `/libpod_parent/libpod-<id>`.
    Podman,
    /// `cri-containerd-<id>.scope`.
    Containerd,
    /// `crio-<id>.scope`.
    Crio,
    /// The ID alone, in a pod of Kubernetes: any runtime's.
    Bare,
}

/// A container and whose naming it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which container.
    pub id: ContainerId,
    /// Who seems to have made it.
    pub naming: Naming,
}

/// Two hierarchies name different containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control groups of the process name two different containers")]
pub struct Contradiction;

/// The container that these control groups belong to, or none.
///
/// # Errors
/// Two hierarchies name different containers.
pub fn container_of(groups: &[ControlGroup]) -> Result<Option<Found>, Contradiction> {
    let mut found: Option<Found> = None;
    for here in groups.iter().filter_map(|group| container_in(&group.path)) {
        match &found {
            Some(other) if other.id != here.id => return Err(Contradiction),
            Some(_) => {}
            None => found = Some(here),
        }
    }
    Ok(found)
}

fn container_in(path: &str) -> Option<Found> {
    let mut parent = "";
    for component in path.strip_prefix('/')?.split('/') {
        if !is_roots(component, parent) {
            return container(component, parent);
        }
        parent = component;
    }
    None
}

/// Whether only root writes in this group: a slice, or a folder that a runtime
/// makes when it does not go through systemd.
fn is_roots(component: &str, parent: &str) -> bool {
    const AT_TOP: [&str; 3] = ["docker", "kubepods", "libpod_parent"];
    const QUALITY: [&str; 3] = ["burstable", "besteffort", "guaranteed"];
    if parent.is_empty() {
        return component.ends_with(".slice") || AT_TOP.contains(&component);
    }
    if parent.ends_with(".slice") {
        return component.ends_with(".slice");
    }
    match parent {
        "kubepods" => QUALITY.contains(&component) || is_pod(component),
        _ => QUALITY.contains(&parent) && is_pod(component),
    }
}

fn is_pod(component: &str) -> bool {
    let uid = component.strip_prefix("pod");
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    uid.is_some_and(|uid| !uid.is_empty() && uid.bytes().all(allowed))
}

fn container(component: &str, parent: &str) -> Option<Found> {
    const PREFIXES: [(&str, Naming); 4] = [
        ("docker-", Naming::Docker),
        ("libpod-", Naming::Podman),
        ("cri-containerd-", Naming::Containerd),
        ("crio-", Naming::Crio),
    ];
    let found = |id: &str, naming| ContainerId::parse(id).map(|id| Found { id, naming });
    if parent == "docker" {
        return found(component, Naming::Docker);
    }
    if parent == "libpod_parent" {
        return found(component.strip_prefix("libpod-")?, Naming::Podman);
    }
    if is_pod(parent) {
        // CRI-O puts its name before the ID even here.
        return match component.strip_prefix("crio-") {
            Some(id) => found(id, Naming::Crio),
            None => found(component, Naming::Bare),
        };
    }
    if !parent.ends_with(".slice") {
        return None;
    }
    let name = component.strip_suffix(".scope")?;
    let mut known = PREFIXES.iter();
    known.find_map(|(prefix, naming)| found(name.strip_prefix(prefix)?, *naming))
}
