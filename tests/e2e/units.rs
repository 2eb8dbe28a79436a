//! The units of systemd and the guide that uses them: one server, two agents, each
//! machine a folder, every process started as its unit says.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_tests::{Ran, eventually, free_port, guide, program};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const MACHINES: [(&str, &str); 3] = [("the server", "s"), ("node a", "a"), ("node b", "b")];
/// What belongs to one machine; the rest of its root is shared with the others.
const OWN: [&str; 5] = [
    "/etc/bulla",
    "/etc/systemd/system",
    "/run/bulla",
    "/var/lib/bulla",
    "/usr/bin",
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn unit(name: &str) -> PathBuf {
    repository().join("deploy/systemd").join(name)
}

/// The guide's commands, each with the machine it is for: the one that the heading
/// above it names.
fn steps() -> Vec<(&'static str, String)> {
    let text = guide::page("guides/server-and-agents.md");
    let sections = text.split("\n## ").skip(1);
    sections
        .map(|section| {
            let heading = section.lines().next().unwrap();
            let on = |(name, _): &&(&str, &str)| heading.ends_with(&format!("On {name}"));
            let machine = MACHINES.iter().find(on).expect(heading).1;
            (machine, guide::commands(section))
        })
        .collect()
}

/// A folder with three machines in it; their processes end with it.
struct Machines(tempfile::TempDir);

impl Machines {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("units-").tempdir_in("/tmp");
        let machines = Self(folder.unwrap());
        for (_, machine) in MACHINES {
            for own in OWN {
                std::fs::create_dir_all(machines.root(machine).join(&own[1..])).unwrap();
            }
        }
        // Where the admin sits, with what was downloaded.
        for name in ["bulla", "bulla-agent"] {
            std::os::unix::fs::symlink(program(name), machines.0.path().join(name)).unwrap();
        }
        for name in ["bulla-server.service", "bulla-agent.service"] {
            std::fs::copy(unit(name), machines.0.path().join(name)).unwrap();
        }
        machines
    }

    fn root(&self, machine: &str) -> PathBuf {
        self.0.path().join(machine)
    }

    /// What a machine's services have logged.
    fn logs(&self, machine: &str) -> String {
        let log = |service: &str| {
            let path = self.root(machine).join(format!("run/{service}.log"));
            std::fs::read_to_string(path).unwrap_or_default()
        };
        ["bulla-server", "bulla-agent"].map(log).concat()
    }

    /// Runs commands on a machine: in its folder, with its programs and sockets.
    fn run(&self, machine: &str, commands: &str, port: u16) -> Ran {
        let root = self.root(machine);
        let mut script = commands
            .replace("0.0.0.0:8081", &format!("127.0.0.1:{port}"))
            .replace("bulla.example.org:8081", &format!("127.0.0.1:{port}"));
        for own in OWN {
            script = script.replace(own, root.join(&own[1..]).to_str().unwrap());
        }
        let defaults = if machine == "s" {
            format!(
                "data_dir = \"{0}/var/lib/bulla/server\"\nadmin_socket = \"{0}/run/bulla/server/admin.sock\"\n",
                root.display()
            )
        } else {
            format!(
                "data_dir = \"{0}/var/lib/bulla/agent\"\nworkload_socket = \"{0}/run/bulla/agent/workload.sock\"\nadmin_socket = \"{0}/run/bulla/agent/admin.sock\"\n",
                root.display()
            )
        };
        // The defaults name the real root: here they are spelt out.
        script = script.replacen("trust_domain = ", &format!("{defaults}trust_domain = "), 1);
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/units");
        // Not where the programs under test are: the guide installs them.
        let mut command = guide::shell(&[root.join("usr/bin"), tools], &script);
        command
            .current_dir(self.0.path())
            .env("MACHINE_ROOT", &root);
        let sockets = root.join("run/bulla");
        command.env("BULLA_ADMIN_SOCKET", sockets.join("server/admin.sock"));
        command.env("BULLA_AGENT_ADMIN_SOCKET", sockets.join("agent/admin.sock"));
        command.env(
            "SPIFFE_ENDPOINT_SOCKET",
            sockets.join("agent/workload.sock"),
        );
        Ran::of(&mut command)
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for (_, machine) in MACHINES {
            for service in ["bulla-server", "bulla-agent"] {
                let pid = self.root(machine).join(format!("run/{service}.pid"));
                let pid = std::fs::read_to_string(pid).unwrap_or_default();
                if let Ok(pid) = pid.trim().parse() {
                    // It may have ended by itself.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
            }
        }
    }
}

#[test]
fn the_server_and_agents_guide_works_as_written() {
    let machines = Machines::new();
    let port = free_port();
    let mut said = String::new();
    for (turn, (machine, commands)) in steps().into_iter().enumerate() {
        let ran = machines.run(machine, &commands, port);
        assert_eq!(
            ran.code,
            0,
            "step {turn} on {machine}: {}\n{}\n{}",
            ran.out,
            ran.err,
            machines.logs(machine)
        );
        said.push_str(&ran.out);
    }
    for seen in [
        "agents: 2 following",
        "spiffe://example.org/payments",
        "intact: ",
    ] {
        assert!(said.contains(seen), "{seen}: {said}");
    }
    let state = |path: &str| {
        let found = std::fs::metadata(machines.root("a").join(path)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(state("var/lib/bulla/agent"), 0o700, "as the unit says");
    eventually("nothing of the token is left", || {
        let left = machines.root("a").join("etc/bulla/join-token").exists();
        (!left).then_some(())
    });
}

/// How exposed systemd calls a service, of 10.
fn exposure(name: &str) -> f64 {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager"]);
    let ran = Ran::of(command.arg(unit(name))).ok();
    let verdict = ran
        .out
        .lines()
        .find(|line| line.contains("Overall exposure"));
    let words = verdict.unwrap().split_whitespace();
    words.filter_map(|word| word.parse().ok()).next().unwrap()
}

#[test]
fn systemd_understands_the_units_and_calls_them_well_confined() {
    for (name, most) in [("bulla-server.service", 1.5), ("bulla-agent.service", 3.0)] {
        let mut verify = Command::new("systemd-analyze");
        let ran = Ran::of(verify.arg("verify").arg(unit(name)));
        // The programs are not installed here; nothing else may be wrong.
        let faults = ran
            .err
            .lines()
            .filter(|line| !line.contains("is not executable"));
        let faults: Vec<&str> = faults.collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
        let exposed = exposure(name);
        assert!(exposed <= most, "{name}: {exposed} of 10");
    }
}
