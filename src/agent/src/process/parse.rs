//! Reading what `/proc` says. Its texts hold names that a hostile process
//! chooses (`a) S 1 (b`, new lines, any bytes), so each parser takes a field
//! only where the kernel alone can have written it, and takes nothing twice.

use contract::ControlGroup;

/// The most supplementary groups of one process that are looked at. More do
/// not fit into one caller's selectors anyway.
const MAX_GROUPS: usize = 512;
const MAX_CONTROL_GROUPS: usize = 64;

/// What `/proc/<pid>/status` says of a process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// One letter; `Z` and `X` are dead.
    pub(super) state: u8,
    /// Real, effective, saved and file system uid.
    pub(super) uids: [u32; 4],
    /// Real, effective, saved and file system gid.
    pub(super) gids: [u32; 4],
    /// The supplementary groups, ascending and without repeats.
    pub(super) groups: Vec<u32>,
}

/// A text of `/proc` that is not as the kernel writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unexpected(pub(super) &'static str);

/// Parses `/proc/<pid>/status`.
///
/// The first line is `Name:` and holds the process's own choice of name, in
/// which the kernel escapes new lines, so no other line can be forged; still
/// the first line is never looked at, and a field that comes twice is refused.
pub(super) fn status(text: &[u8]) -> Result<Status, Unexpected> {
    let mut lines = text.split(|b| *b == b'\n');
    if !lines.next().is_some_and(|name| name.starts_with(b"Name:")) {
        return Err(Unexpected("no Name line"));
    }
    let (mut state, mut uids, mut gids, mut groups) = (None, None, None, None);
    for line in lines {
        if let Some(rest) = line.strip_prefix(b"State:") {
            once(&mut state, rest.trim_ascii().first().copied())?;
        } else if let Some(rest) = line.strip_prefix(b"Uid:") {
            once(&mut uids, four(rest))?;
        } else if let Some(rest) = line.strip_prefix(b"Gid:") {
            once(&mut gids, four(rest))?;
        } else if let Some(rest) = line.strip_prefix(b"Groups:") {
            once(&mut groups, group_list(rest))?;
        }
    }
    let missing = Unexpected("a line is missing");
    Ok(Status {
        state: state.ok_or(missing)?,
        uids: uids.ok_or(missing)?,
        gids: gids.ok_or(missing)?,
        groups: groups.ok_or(missing)?,
    })
}

fn once<T>(slot: &mut Option<T>, value: Option<T>) -> Result<(), Unexpected> {
    if slot.is_some() {
        return Err(Unexpected("a line comes twice"));
    }
    *slot = Some(value.ok_or(Unexpected("a line is malformed"))?);
    Ok(())
}

fn four(text: &[u8]) -> Option<[u32; 4]> {
    let mut numbers = words(text).map(number);
    let four = [
        numbers.next()??,
        numbers.next()??,
        numbers.next()??,
        numbers.next()??,
    ];
    numbers.next().is_none().then_some(four)
}

fn group_list(text: &[u8]) -> Option<Vec<u32>> {
    let mut groups = words(text)
        .take(MAX_GROUPS + 1)
        .map(number)
        .collect::<Option<Vec<u32>>>()?;
    if groups.len() > MAX_GROUPS {
        return None;
    }
    groups.sort_unstable();
    groups.dedup();
    Some(groups)
}

/// The start time of `/proc/<pid>/stat`, in clock ticks since boot.
///
/// The second field is the name in parentheses and may hold anything,
/// parentheses and spaces included: fields are counted after the last `)`.
pub(super) fn start_time(stat: &[u8]) -> Result<u64, Unexpected> {
    const FIELD: usize = 22;
    let close = stat
        .iter()
        .rposition(|b| *b == b')')
        .ok_or(Unexpected("no name"))?;
    // The first word after the name is field 3.
    words(stat.get(close + 1..).unwrap_or_default())
        .nth(FIELD - 3)
        .and_then(number)
        .ok_or(Unexpected("no start time"))
}

/// The process that a pidfd stands for, from `/proc/self/fdinfo/<fd>`: -1 when
/// it is gone, 0 when it is not visible in this PID namespace.
pub(super) fn pidfd_pid(fdinfo: &[u8]) -> Result<i32, Unexpected> {
    let mut pid = None;
    for line in fdinfo.split(|b| *b == b'\n') {
        if let Some(rest) = line.strip_prefix(b"Pid:") {
            once(&mut pid, number(rest.trim_ascii()))?;
        }
    }
    pid.ok_or(Unexpected("no Pid line"))
}

/// Parses `/proc/<pid>/cgroup`: `hierarchy:controllers:path` on each line.
pub(super) fn control_groups(text: &[u8]) -> Result<Vec<ControlGroup>, Unexpected> {
    let text = std::str::from_utf8(text).or(Err(Unexpected("a path is not UTF-8")))?;
    let lines: Vec<&str> = text.lines().take(MAX_CONTROL_GROUPS + 1).collect();
    if lines.len() > MAX_CONTROL_GROUPS {
        return Err(Unexpected("too many hierarchies"));
    }
    lines
        .into_iter()
        .map(|line| {
            let malformed = Unexpected("a line is malformed");
            let mut parts = line.splitn(3, ':');
            let hierarchy = parts.next().and_then(|n| number(n.as_bytes()));
            let (controllers, path) = parts.next().zip(parts.next()).ok_or(malformed)?;
            if !path.starts_with('/') {
                return Err(malformed);
            }
            Ok(ControlGroup {
                hierarchy: hierarchy.ok_or(malformed)?,
                controllers: controllers.to_owned(),
                path: path.to_owned(),
            })
        })
        .collect()
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace)
        .filter(|w| !w.is_empty())
}

// Digits only: `parse` alone would also take a plus sign.
fn number<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
