//! Workload attestors beside `unix`, with real control groups: the tests make
//! groups as systemd and Docker name them, and put real callers there.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_tests::{Domain, Ran, Settings, bulla, eventually, need_root};
use nix::mount::{MsFlags, mount, umount};
use tempfile::TempDir;

const CONTAINER: &str = "3c1d0ab2f5c94b1d8e6f7a8b9c0d1e2f3a4b5c6d7e8f90112233445566778899";
const DESCRIPTION: &[u8] = include_bytes!("../../attestors/docker/fixtures/docker.json");

/// The unified hierarchy, and the groups that a test made in it.
struct Groups {
    folder: TempDir,
    made: Vec<PathBuf>,
}

impl Groups {
    fn mount() -> Self {
        need_root("makes control groups");
        let folder = TempDir::new().unwrap();
        let none: Option<&str> = None;
        mount(none, folder.path(), Some("cgroup2"), MsFlags::empty(), none).unwrap();
        let made = Vec::new();
        Self { folder, made }
    }

    fn make(&mut self, path: &str) -> PathBuf {
        let mut at = self.folder.path().to_owned();
        for component in path.split('/') {
            at.push(component);
            if fs::create_dir(&at).is_ok() {
                self.made.push(at.clone());
            }
        }
        at
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in self.made.iter().rev() {
            let _busy = fs::remove_dir(group);
        }
        umount(self.folder.path()).unwrap();
    }
}

/// `bulla fetch x509` as a process of a control group.
fn fetch_in(domain: &Domain, group: &Path) -> Ran {
    let join = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", join]).arg(group);
    command.arg(bulla().get_program()).args(["fetch", "x509"]);
    command.env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    Ran::of(&mut command)
}

fn eventually_gets(domain: &Domain, group: &Path, path: &str) {
    let id = domain.id(path);
    eventually(&format!("{id} in {}", group.display()), || {
        fetch_in(domain, group).out.contains(&id).then_some(())
    });
}

fn register(domain: &Domain, path: &str, selector: &str) {
    let (id, node) = (domain.id(path), domain.id("/node"));
    let args = ["entry", "create", "--spiffe-id", &id, "--parent-id", &node];
    let _ = domain
        .admin(args.into_iter().chain(["--selector", selector]))
        .ok();
}

#[test]
fn a_unit_is_known_by_its_control_group_and_not_by_a_name_made_inside_another() {
    let mut groups = Groups::mount();
    let unit = format!("bulla-e2e-{}.service", std::process::id());
    let own = groups.make(&format!("system.slice/{unit}"));
    let attacker = format!(
        "system.slice/bulla-e2e-{}-attacker.service",
        std::process::id()
    );
    let nested = groups.make(&format!("{attacker}/{unit}"));
    let again = groups.make(&format!("{attacker}/system.slice/{unit}"));
    let domain = Domain::start_with(Settings {
        agent: "[attestors.systemd]\nenabled = true\n".to_owned(),
        ..Settings::default()
    });
    register(&domain, "/unit", &format!("systemd:id:{unit}"));
    eventually_gets(&domain, &own, "/unit");
    for forged in [nested, again] {
        let ran = fetch_in(&domain, &forged);
        assert_eq!(ran.code, 1, "{}", ran.out);
    }
    register(&domain, "/slice", "systemd:slice:system.slice");
    eventually_gets(&domain, &own, "/slice");
}

/// Answers every connection with the recorded description, as long as it lives.
fn fake_engine(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let wanted = format!("GET /containers/{CONTAINER}/json HTTP/1.1\r\n");
            let (status, body) = match request.starts_with(&wanted) {
                true => ("200 OK", DESCRIPTION),
                false => ("404 Not Found", &b"{}"[..]),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(body).unwrap();
        }
    });
}

#[test]
fn a_container_is_known_by_what_its_engine_says_and_is_nothing_else_while_that_says_nothing() {
    let mut groups = Groups::mount();
    let container = groups.make(&format!("system.slice/docker-{CONTAINER}.scope"));
    let user = "user.slice/user-1000.slice/user@1000.service";
    let forged = groups.make(&format!("{user}/docker-{CONTAINER}.scope"));
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("docker.sock");
    let domain = Domain::start_with(Settings {
        agent: format!("[attestors.docker]\nenabled = true\nsocket = {socket:?}\n"),
        ..Settings::default()
    });
    register(
        &domain,
        "/web",
        "docker:label:com.docker.compose.service:web",
    );
    domain.register("/host", []);
    domain.await_svid("/host");
    // The entry by uid alone would match, too, but it is not what the container is.
    let ran = fetch_in(&domain, &container);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);

    fake_engine(&socket);
    eventually_gets(&domain, &container, "/web");
    let ran = fetch_in(&domain, &forged).ok();
    assert!(!ran.out.contains(&domain.id("/web")), "{}", ran.out);
    let everything = fs::read_to_string(domain.path("agent.log")).unwrap();
    assert!(
        !everything.contains("hunter2"),
        "a value of the environment was logged"
    );
}
