//! What the server asks of the system for its own process: no core dumps, since they
//! would hold signing keys, and as many descriptors as it may have.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

/// Asks; a system that says no is not a reason to stop.
pub(crate) fn harden() {
    let no_core = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Core).maximum,
    };
    warn(
        "core dumps could not be switched off",
        setrlimit(Resource::Core, no_core),
    );
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    warn("the process stays open to debuggers", dumpable);
    let files = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    warn(
        "the limit of descriptors stays as it is",
        setrlimit(Resource::Nofile, all),
    );
}

fn warn(what: &'static str, asked: rustix::io::Result<()>) {
    if let Err(error) = asked {
        tracing::warn!(%error, what, "the system said no");
    }
}
