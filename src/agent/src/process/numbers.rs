//! Users and groups whose numbers say nothing. To a user namespace that maps only some
//! numbers, the kernel shows every other as the overflow number, 65534 as a rule. That
//! is also the number of the user `nobody`, whom many services run as: so the number
//! alone does not tell a service from a stranger, but the mapping does.

use std::os::fd::BorrowedFd;

use contract::ProcessError;

use super::proc_fs::{ProcFs, attributes};

/// The kernel's defaults, in case the files that say so cannot be read.
const OVERFLOW_ID: u32 = 65_534;
/// All numbers that a user or a group can have.
const ALL: u64 = 4_294_967_295;

/// What the agent's user namespace maps of one kind of number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    overflow: u32,
    /// First number here, and how many.
    ranges: Vec<(u32, u64)>,
}

/// What the agent's user namespace maps.
#[derive(Debug)]
pub(super) struct Numbers {
    users: Mapping,
    groups: Mapping,
}

impl Mapping {
    fn read(proc: &ProcFs, overflow: &str, map: &str) -> Self {
        let text = |path| proc.read(proc.root(), path, "/proc").unwrap_or_default();
        let overflow = std::str::from_utf8(&text(overflow))
            .ok()
            .and_then(|text| text.trim().parse().ok());
        Self {
            overflow: overflow.unwrap_or(OVERFLOW_ID),
            // What cannot be read maps nothing, so the overflow number is refused.
            ranges: ranges(&text(map)).unwrap_or_default(),
        }
    }

    /// Whether every number has one here, so that none is shown as another.
    fn is_whole(&self) -> bool {
        self.ranges.iter().map(|(_, count)| count).sum::<u64>() >= ALL
    }

    fn maps(&self, id: u32) -> bool {
        let holds = |(first, count): &(u32, u64)| {
            let offset = u64::from(id).checked_sub(u64::from(*first));
            offset.is_some_and(|offset| offset < *count)
        };
        self.ranges.iter().any(holds)
    }

    /// Whether the number may stand for one that is not mapped.
    fn is_doubtful(&self, id: u32) -> bool {
        id == self.overflow && !self.is_whole()
    }
}

impl Numbers {
    pub(super) fn read(proc: &ProcFs) -> Self {
        Self {
            users: Mapping::read(proc, "sys/kernel/overflowuid", "self/uid_map"),
            groups: Mapping::read(proc, "sys/kernel/overflowgid", "self/gid_map"),
        }
    }

    /// Whether a supplementary group may stand for one that is not mapped.
    pub(super) fn is_doubtful_group(&self, gid: u32) -> bool {
        self.groups.is_doubtful(gid)
    }

    /// Refuses a process whose user or group may stand for another. In a namespace that
    /// maps the overflow number itself, a process of the same namespace is known by it:
    /// whoever is in there unmapped owns the namespace.
    pub(super) fn check(
        &self,
        proc: &ProcFs,
        folder: BorrowedFd<'_>,
        (uid, gid): (u32, u32),
    ) -> Result<(), ProcessError> {
        let user = self.users.is_doubtful(uid);
        let group = self.groups.is_doubtful(gid);
        if !user && !group {
            return Ok(());
        }
        let is_mapped = (!user || self.users.maps(uid)) && (!group || self.groups.maps(gid));
        if is_mapped && is_in_own_namespace(proc, folder) {
            return Ok(());
        }
        Err(ProcessError::Refused(
            "its user or group is shown as the overflow number (65534, nobody), which in the agent's \
             user namespace stands for every number that is not mapped; run the agent in the host's \
             user namespace or in the service's, or the service as another user",
        ))
    }
}

fn is_in_own_namespace(proc: &ProcFs, folder: BorrowedFd<'_>) -> bool {
    let of = |at, path| {
        let found = attributes(at, path, "the user namespace").ok()?;
        Some((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
    };
    let own = of(proc.root(), "self/ns/user");
    own.is_some() && own == of(folder, "ns/user")
}

/// Reads `uid_map` or `gid_map`: first number here, first number outside, how many.
fn ranges(text: &[u8]) -> Option<Vec<(u32, u64)>> {
    let lines = std::str::from_utf8(text).ok()?.lines();
    let range = |line: &str| {
        let mut numbers = line.split_whitespace();
        let first = numbers.next()?.parse().ok()?;
        let count = numbers.nth(1)?.parse().ok()?;
        numbers.next().is_none().then_some((first, count))
    };
    lines.map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(text: &str) -> Mapping {
        Mapping {
            overflow: OVERFLOW_ID,
            ranges: ranges(text.as_bytes()).unwrap_or_default(),
        }
    }

    #[test]
    fn u5_nobody_is_a_user_where_every_number_is_mapped() {
        let host = mapping("         0          0 4294967295\n");
        assert!(host.is_whole() && !host.is_doubtful(65_534));
        let container = mapping("         0     100000      65536\n");
        assert!(!container.is_whole() && container.is_doubtful(65_534));
        assert!(container.maps(65_534) && !container.maps(65_536));
        assert!(!container.is_doubtful(1_000));
        let rootless = mapping("0 1000 1\n1 100000 1000\n");
        assert!(!rootless.maps(65_534) && rootless.is_doubtful(65_534));
    }

    #[test]
    fn a_map_that_cannot_be_read_maps_nothing() {
        for bad in ["", "0 0", "0 0 x", "0 0 4294967295 1", "a b c"] {
            let mapping = mapping(bad);
            assert!(!mapping.is_whole() && mapping.is_doubtful(65_534), "{bad}");
        }
    }
}
