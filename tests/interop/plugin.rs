//! A workload attestor that knows nothing of this project: written in Go on
//! SPIRE's plug-in kit, run by the real agent, made to crash, hang and lie.

use std::fs;
use std::path::PathBuf;

use bulla_tests::{Domain, Process, Ran, Settings, eventually, eventually_within, peer};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ring::digest::{SHA256, digest};
use tempfile::TempDir;

/// What `tests/run` builds of tests/interop/plugin.
fn program() -> PathBuf {
    fs::canonicalize(peer("rack-attestor")).unwrap()
}

/// A domain whose agent runs the plug-in, and the switches of its misbehaviour.
struct Rack {
    domain: Domain,
    switches: TempDir,
}

impl Rack {
    fn start(optional: bool, sha256: &str) -> Self {
        let switches = TempDir::new().unwrap();
        let at = |name| switches.path().join(name);
        let agent = format!(
            "[[attestors.external]]\nname = \"rack\"\npath = {:?}\nsha256 = \"{sha256}\"\n\
             optional = {optional}\nconfig = '''\nrow = \"7\"\ncrash_file = {:?}\n\
             hang_file = {:?}\nbad_file = {:?}\n'''\n",
            program(),
            at("crash"),
            at("hang"),
            at("bad"),
        );
        let domain = Domain::start_with(Settings {
            agent,
            ..Settings::default()
        });
        domain.register("/by-uid", []);
        domain.register("/racked", ["--selector", "rack:row:7"]);
        Self { domain, switches }
    }

    fn honest(optional: bool) -> Self {
        let bytes = fs::read(program()).unwrap();
        Self::start(optional, &hex(digest(&SHA256, &bytes).as_ref()))
    }

    fn switch(&self, name: &str, on: bool) {
        let file = self.switches.path().join(name);
        if on {
            fs::write(file, "").unwrap();
        } else {
            fs::remove_file(file).unwrap();
        }
    }

    fn fetch(&self) -> Ran {
        self.domain.fetch(["x509"])
    }

    fn gets(&self, path: &str) -> bool {
        self.fetch().out.contains(&self.domain.id(path))
    }

    /// What a stream is sent that is opened now: how many SVIDs, update by update.
    fn watch(&self) -> Updates {
        let mut command = bulla_tests::bulla();
        command.args(["fetch", "x509", "--watch", "--json"]);
        command.env("SPIFFE_ENDPOINT_SOCKET", self.domain.endpoint());
        let log = self.domain.path("watch.log");
        Updates(Process::start(&mut command, &log))
    }

    fn await_both(&self) {
        for path in ["/racked", "/by-uid"] {
            let what = format!("an SVID of {path}");
            eventually_within(std::time::Duration::from_secs(60), &what, || {
                self.gets(path).then_some(())
            });
        }
    }

    /// The numbers of all runs of the plug-in, from the agent's log.
    fn runs(&self) -> Vec<i32> {
        let log = fs::read_to_string(self.domain.path("agent.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("an attestor runs"));
        lines.map(number_in).collect()
    }
}

struct Updates(Process);

impl Updates {
    fn await_svids(&self, svids: usize) {
        let what = format!("an update with {svids} SVIDs on an open stream");
        eventually_within(std::time::Duration::from_secs(60), &what, || {
            let output = self.0.output();
            let last: serde_json::Value = serde_json::from_str(output.lines().last()?).ok()?;
            (last["svids"].as_array()?.len() == svids).then_some(())
        });
    }
}

fn number_in(line: &str) -> i32 {
    let plain: String = line
        .split('\u{1b}')
        .map(|part| part.split_once('m').map_or(part, |(_, rest)| rest))
        .collect();
    let digits = plain
        .split("pid=")
        .nth(1)
        .unwrap_or_else(|| panic!("{line}"));
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_stock_plug_in_states_selectors_and_is_given_nothing_but_what_it_needs() {
    let rack = Rack::honest(false);
    rack.await_both();
    rack.domain
        .register("/domain", ["--selector", "rack:trust_domain:example.org"]);
    rack.domain
        .register("/comm", ["--selector", "rack:comm:bulla"]);
    for path in ["/domain", "/comm"] {
        rack.domain.await_svid(path);
    }
    let pid = rack.runs()[0];
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut names: Vec<&str> = environment
        .split('\0')
        .filter_map(|v| Some(v.split_once('=')?.0))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "PLUGIN_MAX_PORT",
            "PLUGIN_MIN_PORT",
            "PLUGIN_PROTOCOL_VERSIONS",
            "PLUGIN_UNIX_SOCKET_DIR",
            "TMPDIR",
            "WorkloadAttestor"
        ]
    );
    // Prints far more than a pipe holds on every question.
    for _ in 0..20 {
        assert!(rack.gets("/racked"));
    }
    let mut rack = rack;
    rack.domain.stop();
    assert!(
        !PathBuf::from(format!("/proc/{pid}")).exists(),
        "it outlived its agent"
    );
}

#[test]
fn a_plug_in_that_dies_closes_what_depends_on_it_and_is_started_again() {
    for optional in [false, true] {
        let rack = Rack::honest(optional);
        rack.await_both();
        rack.switch("crash", true);
        eventually("only what does not need it is served", || {
            (rack.gets("/by-uid") && !rack.gets("/racked")).then_some(())
        });
        // A stream that is opened meanwhile does not go without for ever.
        let stream = rack.watch();
        stream.await_svids(1);
        rack.switch("crash", false);
        stream.await_svids(2);
        rack.await_both();
    }
    let rack = Rack::honest(false);
    rack.await_both();
    rack.switch("crash", true);
    eventually("it has ended", || (!rack.gets("/racked")).then_some(()));
    rack.switch("crash", false);
    rack.await_both();
    let runs = rack.runs();
    assert!(runs.len() >= 2, "{runs:?}");
    kill(Pid::from_raw(*runs.last().unwrap()), Signal::SIGKILL).unwrap();
    eventually_within(std::time::Duration::from_secs(60), "another run", || {
        (rack.runs().len() > runs.len()).then_some(())
    });
    rack.await_both();
}

#[test]
fn a_plug_in_that_hangs_or_lies_fails_the_call_and_one_that_hangs_is_replaced() {
    let rack = Rack::honest(false);
    rack.await_both();
    rack.switch("bad", true);
    let refused = rack.fetch();
    assert_ne!(refused.code, 0, "{}", refused.out);
    rack.switch("bad", false);
    rack.await_both();
    // Now an entry that needs it comes first.
    rack.domain.register(
        "/default",
        ["--selector", "rack:row:7", "--hint", "default"],
    );
    rack.domain.await_svid("/default");
    rack.switch("hang", true);
    let refused = rack.fetch();
    assert_eq!(refused.code, 3, "{}{}", refused.out, refused.err);
    eventually_within(
        std::time::Duration::from_secs(60),
        "the end of its patience",
        || {
            let _refused = rack.fetch();
            let log = fs::read_to_string(rack.domain.path("agent.log")).unwrap();
            log.contains("it does not answer any more").then_some(())
        },
    );
    rack.switch("hang", false);
    rack.await_both();
}

#[test]
fn a_program_with_another_hash_is_never_started() {
    let rack = Rack::start(true, &"ab".repeat(32));
    rack.domain.await_svid("/by-uid");
    eventually("the reason in the log", || {
        let log = fs::read_to_string(rack.domain.path("agent.log")).unwrap();
        log.contains("not the configured one").then_some(())
    });
    assert!(!rack.gets("/racked"));
    assert!(rack.runs().is_empty());
}
