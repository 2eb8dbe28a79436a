//! Which unit a control group belongs to, by the path alone.
//!
//! systemd's layout: any number of slices, each inside the one that its name
//! says, then the unit, then whatever the unit made for itself. Only root writes
//! in slices, while a delegated unit may make groups of any name below its own.
//! So the first component that is no slice is the unit, and nothing behind it
//! counts.

use contract::ControlGroup;

const MAX_NAME_BYTES: usize = 255;
const ROOT_SLICE: &str = "-.slice";
/// The kinds of unit that have processes.
const KINDS: [&str; 5] = ["service", "scope", "socket", "mount", "swap"];

/// A unit and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `payments.service`.
    pub id: String,
    /// The slice it is in, such as `system.slice`.
    pub slice: String,
}

/// Two hierarchies name different units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control groups of the process name two different systemd units")]
pub struct Contradiction;

/// The unit that these control groups belong to, or none.
///
/// systemd keeps its groups in the unified hierarchy, and on older systems in
/// one of its own (`name=systemd`), or in both. Other hierarchies are other
/// programs' and do not count.
///
/// # Errors
/// Both hierarchies are in use and do not name the same unit.
pub fn unit_of(groups: &[ControlGroup]) -> Result<Option<Unit>, Contradiction> {
    let mut found: Option<Unit> = None;
    for group in groups.iter().filter(|group| is_systemds(group)) {
        let Some(unit) = unit_in(&group.path) else {
            continue;
        };
        match &found {
            Some(other) if *other != unit => return Err(Contradiction),
            _ => found = Some(unit),
        }
    }
    Ok(found)
}

fn is_systemds(group: &ControlGroup) -> bool {
    let unified = group.hierarchy == 0 && group.controllers.is_empty();
    unified || group.controllers == "name=systemd"
}

fn unit_in(path: &str) -> Option<Unit> {
    let components = path.strip_prefix('/')?.split('/');
    let mut slice = ROOT_SLICE;
    for component in components {
        if component.ends_with(".slice") {
            if !is_slice_in(component, slice) {
                return None;
            }
            slice = component;
            continue;
        }
        // systemd puts an underscore before names that the kernel has taken.
        let id = component.strip_prefix('_').unwrap_or(component);
        return is_unit_name(id).then(|| Unit {
            id: id.to_owned(),
            slice: slice.to_owned(),
        });
    }
    None
}

/// Whether `slice` lies directly in `parent`: `a-b.slice` in `a.slice`, and
/// `a.slice` in the root.
fn is_slice_in(slice: &str, parent: &str) -> bool {
    let Some(name) = slice.strip_suffix(".slice") else {
        return false;
    };
    let valid = name.split('-').all(|part| !part.is_empty()) && is_name(name);
    let expected = match name.rsplit_once('-') {
        Some((above, _)) => format!("{above}.slice"),
        None => ROOT_SLICE.to_owned(),
    };
    valid && slice.len() <= MAX_NAME_BYTES && expected == parent
}

fn is_unit_name(id: &str) -> bool {
    id.len() <= MAX_NAME_BYTES
        && id
            .rsplit_once('.')
            .is_some_and(|(name, kind)| KINDS.contains(&kind) && is_name(name))
}

// systemd.unit(5): "ASCII letters, digits, ":", "-", "_", ".", and "\"", with "@"
// for instances.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    !name.is_empty() && !name.starts_with('@') && name.bytes().all(allowed)
}
