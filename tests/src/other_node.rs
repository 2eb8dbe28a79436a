//! A second node of a trust domain: an agent that vouches, or no longer vouches, for
//! what workloads of the first one hold.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::{Process, Ran, program};
use crate::{Domain, eventually};

/// An agent on another node of a domain.
pub struct OtherNode {
    folder: PathBuf,
    /// The agent, while it runs.
    pub process: Option<Process>,
}

impl OtherNode {
    /// Starts an agent that joins as `/other-node`, and registers `/verifier` for this
    /// user there.
    #[must_use]
    pub fn join(domain: &Domain) -> Self {
        let node = Self::join_as(domain, "other");
        let uid = format!("unix:uid:{}", nix::unistd::getuid());
        let (verifier, id) = (domain.id("/verifier"), domain.id("/other-node"));
        let entry = ["entry", "create", "--spiffe-id", &verifier, "--parent-id"];
        let _ = domain
            .admin(entry.into_iter().chain([&*id, "--selector", &uid]))
            .ok();
        node
    }

    /// Starts an agent in a folder of this name, which joins as `/NAME-node`.
    #[must_use]
    pub fn join_as(domain: &Domain, name: &str) -> Self {
        let folder = domain.path(name);
        std::fs::create_dir(&folder).unwrap();
        let id = domain.id(&format!("/{name}-node"));
        let token = domain.admin(["token", "create", "--spiffe-id", &id, "--json"]);
        let token = token.ok().json();
        let config = format!(
            "trust_domain = \"{}\"\ndata_dir = {:?}\nworkload_socket = {:?}\nadmin_socket = {:?}\n\
             [server]\naddress = \"127.0.0.1:{}\"\n[trust]\nbundle_sha256 = [{}]\n",
            domain.name(),
            folder.join("data"),
            folder.join("workload.sock"),
            folder.join("admin.sock"),
            domain.port(),
            token["bundle_sha256"],
        );
        std::fs::write(folder.join("agent.toml"), config).unwrap();
        let mut node = Self {
            folder,
            process: None,
        };
        node.start(token["token"].as_str());
        node
    }

    /// Starts the agent, with a join token or on the state it has.
    pub fn start(&mut self, token: Option<&str>) {
        let mut command = Command::new(program("bulla-agent"));
        command.arg("--config").arg(self.path("agent.toml"));
        command.env_remove("BULLA_JOIN_TOKEN");
        command.envs(token.map(|token| ("BULLA_JOIN_TOKEN", token)));
        self.process = Some(Process::start(&mut command, &self.path("agent.log")));
    }

    /// A path in the node's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Its workload socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("workload.sock")
    }

    /// The status and the answer of `POST /v1/check`.
    #[must_use]
    pub fn check(&self, body: &Value) -> (u16, Value) {
        check(&self.socket(), body)
    }

    /// Waits until the agent vouches for something.
    pub fn await_good(&self, body: &Value) {
        eventually("the other node's agent vouches for it", || {
            (self.check(body).0 == 200).then_some(())
        });
    }
}

/// The status and the answer of `POST /v1/check` on a workload socket; 0 without one.
#[must_use]
pub fn check(socket: &Path, body: &Value) -> (u16, Value) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "20", "--unix-socket"])
        .arg(socket)
        .args(["-H", "workload.spiffe.io: true", "-w", "\n%{http_code}"])
        .args(["-H", "content-type: application/json", "-d"])
        .arg(body.to_string())
        .arg("http://localhost/v1/check");
    let ran = Ran::of(&mut command);
    let (body, status) = ran.out.rsplit_once('\n').unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.parse().unwrap_or_default(), body)
}
