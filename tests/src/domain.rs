//! A trust domain of real processes: one server, one agent, sockets in a
//! temporary folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::free_port;
use crate::process::{Process, Ran, bulla, program, with_args};
use crate::wait::eventually;

/// What a test wants different from the defaults: lines of TOML.
#[derive(Default, Clone)]
pub struct Settings {
    /// Appended to the server's configuration.
    pub server: String,
    /// Appended to the agent's configuration.
    pub agent: String,
    /// Added to the server's environment.
    pub server_env: Vec<(&'static str, String)>,
}

impl Settings {
    /// Lines of the server's configuration: rotation looks each second and publishes for one.
    pub const PROMPT: &str = "[rotation]\nschedule = \"* * * * * *\"\npropagation = \"1s\"\n";

    /// A server whose rotation is prompt.
    #[must_use]
    pub fn prompt() -> Self {
        Self {
            server: Self::PROMPT.to_owned(),
            ..Self::default()
        }
    }
}

/// The trust domain.
pub struct Domain {
    folder: TempDir,
    name: &'static str,
    settings: Settings,
    /// The server, while it runs.
    pub server: Option<Process>,
    /// The agent, while it runs.
    pub agent: Option<Process>,
}

impl Domain {
    /// The name of a test's trust domain, unless it asks for another.
    pub const NAME: &'static str = "example.org";

    /// Starts a server and an agent that has joined as `/node`.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Settings::default())
    }

    /// Starts a server and an agent with settings of the test's own.
    #[must_use]
    pub fn start_with(settings: Settings) -> Self {
        let mut domain = Self::server_alone(settings);
        domain.join_agent();
        domain
    }

    /// Starts only a server.
    #[must_use]
    pub fn server_alone(settings: Settings) -> Self {
        Self::server_of(Self::NAME, settings)
    }

    /// Starts a server and an agent of a trust domain with another name.
    #[must_use]
    pub fn start_as(name: &'static str) -> Self {
        let mut domain = Self::server_of(name, Settings::default());
        domain.join_agent();
        domain
    }

    fn server_of(name: &'static str, settings: Settings) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("bulla-")
            .tempdir_in("/tmp")
            .unwrap();
        let mut domain = Self {
            folder,
            name,
            settings,
            server: None,
            agent: None,
        };
        for part in ["server", "agent"] {
            std::fs::create_dir(domain.path(part)).unwrap();
        }
        domain.start_server();
        domain
    }

    /// A path in the domain's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server's admin socket.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.path("server/admin.sock")
    }

    /// The agent's workload socket.
    #[must_use]
    pub fn workload_socket(&self) -> PathBuf {
        self.path("agent/workload.sock")
    }

    /// The workload socket as SPIFFE_ENDPOINT_SOCKET names it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.workload_socket().display())
    }

    /// Changes what is appended to the server's configuration at its next start.
    pub fn set_server(&mut self, lines: String) {
        self.settings.server = lines;
    }

    /// Starts the server on the state it has, and waits until it serves.
    pub fn start_server(&mut self) {
        let config = format!(
            "trust_domain = \"{}\"\ndata_dir = {:?}\nlisten = \"127.0.0.1:{}\"\nadmin_socket = {:?}\n{}",
            self.name(),
            self.path("server/data"),
            self.port(),
            self.admin_socket(),
            self.settings.server
        );
        std::fs::write(self.path("server.toml"), config).unwrap();
        let mut command = with_args(bulla(), ["server", "--config"]);
        command
            .arg(self.path("server.toml"))
            .envs(self.settings.server_env.iter().cloned());
        self.server = Some(Process::start(&mut command, &self.path("server.log")));
        self.wait_for_socket(&self.admin_socket(), "server");
    }

    /// The server's port: that of the first start, so that a restarted server is
    /// found again.
    #[must_use]
    pub fn port(&self) -> u16 {
        let kept = self.path("port");
        if let Ok(text) = std::fs::read_to_string(&kept) {
            return text.trim().parse().unwrap();
        }
        let free = free_port();
        std::fs::write(kept, free.to_string()).unwrap();
        free
    }

    fn wait_for_socket(&mut self, socket: &Path, part: &str) {
        eventually(&format!("{part} listens"), || {
            let process = if part == "server" {
                &mut self.server
            } else {
                &mut self.agent
            };
            let process = process.as_mut().unwrap();
            if let Some(status) = process.ended() {
                panic!("the {part} ended with {status}:\n{}", process.output());
            }
            std::os::unix::net::UnixStream::connect(socket).ok()
        });
    }

    /// Creates a join token for `/node` and starts an agent with it.
    pub fn join_agent(&mut self) {
        let token = self
            .admin([
                "token",
                "create",
                "--spiffe-id",
                &self.id("/node"),
                "--json",
            ])
            .ok()
            .json();
        self.start_agent(Some(&token));
        eventually("the agent has joined", || {
            (self.fetch(["x509"]).code != 3).then_some(())
        });
    }

    /// Starts the agent, with a join token (as `bulla token create --json` gives
    /// it) or on the state it has.
    pub fn start_agent(&mut self, token: Option<&Value>) {
        let mut command = self.agent_command(token);
        self.agent = Some(Process::start(&mut command, &self.path("agent.log")));
        self.wait_for_socket(&self.workload_socket(), "agent");
    }

    /// Starts the agent on the state it has, when it is not expected to come far.
    pub fn start_agent_unwaited(&mut self) {
        let mut command = self.agent_command(None);
        self.agent = Some(Process::start(&mut command, &self.path("agent.log")));
    }

    /// The command that starts the agent.
    #[must_use]
    pub fn agent_command(&self, token: Option<&Value>) -> Command {
        let pin = token.map(|t| format!("bundle_sha256 = [{}]", t["bundle_sha256"]));
        let config = format!(
            "trust_domain = \"{}\"\ndata_dir = {:?}\nworkload_socket = {:?}\nadmin_socket = {:?}\n\
             [server]\naddress = \"127.0.0.1:{}\"\n[trust]\n{}\n{}",
            self.name(),
            self.path("agent/data"),
            self.workload_socket(),
            self.path("agent/admin.sock"),
            self.port(),
            pin.unwrap_or_default(),
            self.settings.agent
        );
        std::fs::write(self.path("agent.toml"), config).unwrap();
        let mut command = Command::new(program("bulla-agent"));
        command.arg("--config").arg(self.path("agent.toml"));
        command
            .env_remove("BULLA_JOIN_TOKEN")
            .env_remove("SPIFFE_ENDPOINT_SOCKET");
        if let Some(token) = token {
            command.env("BULLA_JOIN_TOKEN", token["token"].as_str().unwrap());
        }
        command
    }

    /// This trust domain's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A SPIFFE ID of this trust domain.
    #[must_use]
    pub fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.name())
    }

    /// Runs a `bulla` command against this domain's server.
    #[must_use]
    pub fn admin<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = with_args(bulla(), args);
        command.env("BULLA_ADMIN_SOCKET", self.admin_socket());
        Ran::of(&mut command)
    }

    /// Runs `bulla fetch …` as a workload of this domain's agent.
    #[must_use]
    pub fn fetch<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ran {
        let mut command = with_args(bulla(), ["fetch"]);
        command
            .args(args)
            .env("SPIFFE_ENDPOINT_SOCKET", self.endpoint());
        Ran::of(&mut command)
    }

    /// Registers `path` for this user under `/node` and gives the entry's id.
    pub fn register<const N: usize>(&self, path: &str, more: [&str; N]) -> String {
        let uid = format!("unix:uid:{}", nix::unistd::getuid());
        let (id, node) = (self.id(path), self.id("/node"));
        let mut args = vec!["entry", "create", "--spiffe-id", &id, "--parent-id", &node];
        args.extend(["--selector", &uid, "--json"]);
        args.extend(more);
        self.admin(args).ok().json()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Waits until this process is given an X.509-SVID of `path`, and shows it.
    pub fn await_svid(&self, path: &str) -> Value {
        let id = self.id(path);
        eventually(&format!("an SVID of {id}"), || {
            let ran = self.fetch(["x509", "--json"]);
            let svids = (ran.code == 0).then(|| ran.json()["svids"].clone())?;
            svids
                .as_array()?
                .iter()
                .find(|svid| svid["spiffe_id"] == *id)
                .cloned()
        })
    }

    /// The audit records of a kind.
    #[must_use]
    pub fn audit(&self, kind: &str) -> Vec<Value> {
        let ran = self
            .admin(["audit", "list", "--last", "1000", "--kind", kind, "--json"])
            .ok();
        ran.json().as_array().unwrap().clone()
    }

    /// Stops both processes in order.
    pub fn stop(&mut self) {
        for part in [self.agent.take(), self.server.take()]
            .into_iter()
            .flatten()
        {
            let status = part.stop_within(Duration::from_secs(12));
            assert!(status.success(), "a part ended with {status}");
        }
    }
}
