//! Guides as scripts: the indented blocks of a page are commands, and a test runs them
//! as they stand.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Domain, program};

/// Longer than any guide takes, in seconds; what loops for ever is ended then.
const PATIENCE: &str = "120";

/// The text of a page below `docs`.
#[must_use]
pub fn page(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let path = docs.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The indented command blocks of a text, in order.
#[must_use]
pub fn commands(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.strip_prefix("    "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Where the programs under test are.
#[must_use]
pub fn programs() -> PathBuf {
    program("bulla").parent().unwrap().to_owned()
}

/// A shell that runs `script` with the programs of these folders before all others. It
/// stops at the first command that fails, and ends what it left in the background.
#[must_use]
pub fn shell(folders: &[PathBuf], script: &str) -> Command {
    let path: Vec<_> = folders.iter().map(|f| f.display().to_string()).collect();
    let script = format!(
        "set -e\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\nexport PATH=\"{}:$PATH\"\n{script}",
        path.join(":")
    );
    let mut command = Command::new("timeout");
    command.args([PATIENCE, "bash", "-c", &script]);
    for name in [
        "BULLA_ADMIN_SOCKET",
        "BULLA_AGENT_ADMIN_SOCKET",
        "BULLA_JOIN_TOKEN",
        "SPIFFE_ENDPOINT_SOCKET",
    ] {
        command.env_remove(name);
    }
    command
}

impl Domain {
    /// A shell in an empty folder, as a service and as an admin of this trust domain.
    #[must_use]
    pub fn shell(&self, script: &str) -> Command {
        let folder = self.path("guide");
        std::fs::create_dir(&folder).unwrap();
        let mut command = shell(&[programs()], script);
        command
            .current_dir(folder)
            .env("SPIFFE_ENDPOINT_SOCKET", self.endpoint())
            .env("BULLA_ADMIN_SOCKET", self.admin_socket())
            .env("BULLA_AGENT_ADMIN_SOCKET", self.path("agent/admin.sock"));
        command
    }
}
