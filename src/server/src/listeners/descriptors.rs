//! How the descriptors of the process are shared out, so that connections of one
//! listener leave enough to the others, to the store and to the journal: a process
//! without a free descriptor can neither record nor answer.

use rustix::process::{Resource, getrlimit};

use crate::limits;

/// The most descriptors that the connections of each listener may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptors {
    /// The server API.
    pub(super) server: usize,
    /// The admin socket, the processes behind its connections included.
    pub(super) admin: usize,
    /// The public listener.
    pub(super) public: usize,
}

impl Descriptors {
    /// Shares out what the process may open, with `wanted` connections to the server
    /// API. The soft limit was raised to the hard one at start.
    pub(super) fn of_the_process(wanted: usize) -> Self {
        let all = getrlimit(Resource::Nofile).current;
        let all = all.map_or(usize::MAX, |all| usize::try_from(all).unwrap_or(usize::MAX));
        let shared = Self::share(all, wanted);
        if shared.server < wanted {
            tracing::warn!(
                wanted,
                connections = shared.server,
                "the limit of open files allows fewer connections than limits.connections; raise LimitNOFILE"
            );
        }
        shared
    }

    fn share(all: usize, wanted: usize) -> Self {
        let left = all - limits::OTHER_DESCRIPTORS.min(all / 2);
        let admin = (2 * limits::MAX_ADMIN_CONNECTIONS).min(left / 4).max(2);
        let public = limits::MAX_PUBLIC_CONNECTIONS.min(left / 8).max(2);
        let ops = limits::MAX_OPS_CONNECTIONS.min(left / 8);
        let server = left.saturating_sub(admin + public + ops);
        Self {
            server: server.min(wanted).max(4),
            admin,
            public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_connections_leave_descriptors_to_store_journal_and_admin() {
        for all in [80, 256, 1_024, 4_096, 1 << 20] {
            let shared = Descriptors::share(all, 10_000);
            let others = all - shared.server - shared.admin - shared.public;
            assert!(
                others >= (all / 2).min(limits::OTHER_DESCRIPTORS),
                "{all}: {shared:?}"
            );
            assert!(
                shared.server > all / 8 || shared.server == 10_000,
                "{all}: {shared:?}"
            );
            assert!(shared.admin >= 8, "{all}: {shared:?}");
        }
        assert_eq!(Descriptors::share(1 << 20, 10_000).server, 10_000);
    }
}
