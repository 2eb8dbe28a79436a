//! SPIRE's programs as processes, each in the folder of its test.

use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_tests::{Domain, Process, Ran, eventually, free_port, peer};
use spiffe::WorkloadApiClient;
use spiffe::X509Svid;
use tempfile::TempDir;

/// One of SPIRE's programs.
pub(super) fn stock(name: &str) -> PathBuf {
    peer("spire").join(name)
}

/// Runs a command of `spire-server` on an admin socket.
pub(super) fn cli<'a>(socket: &Path, args: impl IntoIterator<Item = &'a str>) -> Ran {
    let mut command = Command::new(stock("spire-server"));
    let mut args: Vec<&str> = args.into_iter().collect();
    // Flags come after the words of the command.
    let flags = args
        .iter()
        .position(|arg| arg.starts_with('-'))
        .unwrap_or(args.len());
    args.splice(flags..flags, ["-socketPath", socket.to_str().unwrap()]);
    Ran::of(command.args(args))
}

/// A stock server of its own trust domain, in a folder of its own.
pub(super) struct StockServer {
    folder: TempDir,
    /// Where its agents find it.
    pub(super) port: u16,
    process: Process,
}

impl StockServer {
    /// Starts a server and waits until it is healthy.
    pub(super) fn start() -> Self {
        Self::start_below("")
    }

    /// Starts a server with more plug-ins: an upstream authority.
    pub(super) fn start_below(plugins: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("spire-")
            .tempdir_in("/tmp")
            .unwrap();
        let at = |name: &str| folder.path().join(name);
        let port = free_port();
        let config = format!(
            r#"server {{
                bind_address = "127.0.0.1"
                bind_port = "{port}"
                socket_path = {socket:?}
                trust_domain = "{domain}"
                data_dir = {data:?}
                log_level = "DEBUG"
            }}
            plugins {{
                DataStore "sql" {{ plugin_data {{
                    database_type = "sqlite3"
                    connection_string = {database:?}
                }} }}
                KeyManager "memory" {{ plugin_data {{}} }}
                NodeAttestor "join_token" {{ plugin_data {{}} }}
                {plugins}
            }}"#,
            socket = at("api.sock"),
            domain = Domain::NAME,
            data = at("data"),
            database = at("data.sqlite3"),
        );
        std::fs::write(at("server.conf"), config).unwrap();
        let mut command = Command::new(stock("spire-server"));
        command.arg("run").arg("-config").arg(at("server.conf"));
        let process = Process::start(&mut command, &at("server.log"));
        let server = Self {
            port,
            process,
            folder,
        };
        eventually("a stock server is healthy", || {
            (cli(&server.socket(), ["healthcheck"]).code == 0).then_some(())
        });
        server
    }

    /// What it logged.
    pub(super) fn output(&self) -> String {
        self.process.output()
    }

    /// Its admin socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }
}

/// How a stock agent proves its node.
pub(super) enum Proof<'a> {
    /// With a join token.
    Token(&'a str),
    /// With what it has stored, or not at all.
    Kept,
    /// With a certificate and its key, by x509pop.
    Certificate(&'a Path, &'a Path),
}

/// A stock agent in a folder of its own.
pub(super) struct StockAgent {
    folder: TempDir,
    /// The agent, while it runs.
    pub(super) process: Process,
}

impl StockAgent {
    /// Starts an agent that trusts `bundle` (PEM), and waits for its socket.
    pub(super) fn start(port: u16, bundle: &str, proof: &Proof<'_>) -> Self {
        let mut agent = Self::launch(port, bundle, proof);
        agent.await_socket();
        agent
    }

    /// Starts an agent that may not come far.
    pub(super) fn launch(port: u16, bundle: &str, proof: &Proof<'_>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("spire-agent-")
            .tempdir_in("/tmp")
            .unwrap();
        std::fs::write(folder.path().join("bundle.pem"), bundle).unwrap();
        let process = launch(folder.path(), port, proof);
        Self { folder, process }
    }

    /// Starts an agent that has ended once more; it may not come far.
    pub(super) fn relaunch(self, port: u16, proof: &Proof<'_>) -> Self {
        let Self { folder, process } = self;
        process.kill();
        let process = launch(folder.path(), port, proof);
        Self { folder, process }
    }

    /// Ends the agent and starts it again on the state it has, perhaps at
    /// another server and with another bundle.
    pub(super) fn restart(self, port: u16, bundle: &str, proof: &Proof<'_>) -> Self {
        let Self { folder, process } = self;
        process.kill();
        let _stale = std::fs::remove_file(folder.path().join("public/api.sock"));
        std::fs::write(folder.path().join("bundle.pem"), bundle).unwrap();
        let process = launch(folder.path(), port, proof);
        let mut agent = Self { folder, process };
        agent.await_socket();
        agent
    }

    /// Moves the agent to a server where it has to attest: its own SVID is forgotten,
    /// its socket stays where workloads know it.
    pub(super) fn rejoin(self, port: u16, bundle: &str, proof: &Proof<'_>) -> Self {
        std::fs::remove_file(self.folder.path().join("data/agent-data.json")).unwrap();
        self.restart(port, bundle, proof)
    }

    fn await_socket(&mut self) {
        let socket = self.socket();
        eventually("a stock agent listens", || {
            if let Some(status) = self.process.ended() {
                panic!(
                    "the stock agent ended with {status}:\n{}",
                    self.process.output()
                );
            }
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
    }

    /// Its Workload API's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("public/api.sock")
    }

    /// Its admin socket. `/delegate` of this trust domain is a delegate there.
    pub(super) fn admin_socket(&self) -> PathBuf {
        self.folder.path().join("private/admin.sock")
    }

    /// Its Workload API.
    pub(super) async fn workload_api(&self) -> WorkloadApiClient {
        let endpoint = format!("unix://{}", self.socket().display());
        WorkloadApiClient::connect_to(&endpoint).await.unwrap()
    }

    /// Waits until this process has an X.509-SVID of `id` for which `good` holds.
    pub(super) async fn await_svid(
        &self,
        id: &str,
        mut good: impl FnMut(&X509Svid) -> bool,
    ) -> X509Svid {
        let client = self.workload_api().await;
        let wait = async {
            loop {
                let svids = client.fetch_all_x509_svids().await.unwrap_or_default();
                let mut svids = svids.into_iter();
                if let Some(svid) =
                    svids.find(|svid| svid.spiffe_id().to_string() == id && good(svid))
                {
                    return svid;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        let patience = std::time::Duration::from_secs(60);
        let found = tokio::time::timeout(patience, wait).await;
        found.unwrap_or_else(|_| panic!("no SVID of {id}:\n{}", self.process.output()))
    }

    /// Waits until the agent's log says `text` (at least `times`).
    pub(super) fn await_log(&self, text: &str, times: usize) {
        eventually(&format!("a stock agent says {text:?}"), || {
            (self.process.output().matches(text).count() >= times).then_some(())
        });
    }
}

/// The X.509 authorities of a domain's server as PEM, as an operator would copy them.
pub(super) fn bundle_pem(domain: &Domain) -> String {
    domain.admin(["bundle", "show", "--format", "pem"]).ok().out
}

/// A join token made with the stock command line, for the node `/node`.
pub(super) fn token(socket: &Path) -> String {
    let id = format!("spiffe://{}/node", Domain::NAME);
    let made = cli(socket, ["token", "generate", "-spiffeID", &id]).ok();
    let token = made.out.trim().strip_prefix("Token: ");
    token.expect("a token").to_owned()
}

/// A stock agent that has joined a domain as `/node`.
pub(super) fn join(domain: &Domain) -> StockAgent {
    let token = token(&domain.admin_socket());
    StockAgent::start(domain.port(), &bundle_pem(domain), &Proof::Token(&token))
}

fn launch(folder: &Path, port: u16, proof: &Proof<'_>) -> Process {
    let at = |name: &str| folder.join(name);
    let attestor = match proof {
        Proof::Certificate(certificate, key) => format!(
            "NodeAttestor \"x509pop\" {{ plugin_data {{
                certificate_path = {certificate:?}
                private_key_path = {key:?}
            }} }}"
        ),
        Proof::Token(_) | Proof::Kept => "NodeAttestor \"join_token\" { plugin_data {} }".into(),
    };
    let config = format!(
        r#"agent {{
            data_dir = {data:?}
            log_level = "DEBUG"
            server_address = "127.0.0.1"
            server_port = "{port}"
            socket_path = {socket:?}
            admin_socket_path = {admin:?}
            authorized_delegates = ["spiffe://{domain}/delegate"]
            trust_bundle_path = {bundle:?}
            trust_domain = "{domain}"
            experimental {{ sync_interval = "1s" }}
        }}
        plugins {{
            {attestor}
            KeyManager "disk" {{ plugin_data {{ directory = {data:?} }} }}
            WorkloadAttestor "unix" {{ plugin_data {{}} }}
        }}"#,
        data = at("data"),
        socket = at("public/api.sock"),
        admin = at("private/admin.sock"),
        bundle = at("bundle.pem"),
        domain = Domain::NAME,
    );
    std::fs::write(at("agent.conf"), config).unwrap();
    let mut command = Command::new(stock("spire-agent"));
    command.arg("run").arg("-config").arg(at("agent.conf"));
    if let Proof::Token(token) = proof {
        command.args(["-joinToken", token]);
    }
    Process::start(&mut command, &at("agent.log"))
}
