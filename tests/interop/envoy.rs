//! Two real Envoys speak mutual TLS with each other through secrets that they
//! get from the agent (SDS), under load and through rotations.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bulla_tests::{Domain, Process, Settings, eventually, peer};

/// Each identity is also renewed every three seconds, as its life is half over.
const TTL: &str = "6";
/// How many new certificates both ends must take over under load because an admin
/// changed their entries, one after the other.
const ROTATIONS: u64 = 100;
/// How many more because half of their life is over.
const RENEWALS: u64 = 3;

/// The Envoy in the package that `tests/run` installs.
fn binary() -> PathBuf {
    let pythons = std::fs::read_dir(peer("envoy/lib")).unwrap();
    pythons
        .map(|python| {
            python
                .unwrap()
                .path()
                .join("site-packages/envoy/_bin/envoy")
        })
        .find(|path| path.exists())
        .expect("Envoy is missing: run `tests/run peers`")
}

/// Starts an Envoy on one of the configurations beside this file.
fn start(domain: &Domain, name: &str) -> Process {
    let folder = domain.path("envoy");
    std::fs::create_dir_all(&folder).unwrap();
    let source = format!("interop/envoy/{name}.yaml");
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let config = std::fs::read_to_string(template)
        .unwrap()
        .replace("@FOLDER@", folder.to_str().unwrap())
        .replace(
            "@WORKLOAD_SOCKET@",
            domain.workload_socket().to_str().unwrap(),
        );
    let path = folder.join(format!("{name}.yaml"));
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(binary());
    command.args(["--disable-hot-restart", "--concurrency", "1", "-c"]);
    command.arg(path);
    Process::start(&mut command, &folder.join(format!("{name}.log")))
}

/// One request on a connection of its own: its status and body. `None` when
/// nobody answers.
fn get(socket: &Path, path: &str) -> Option<(u16, String)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: back\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The sum of an Envoy's counters whose names end so.
fn counter(domain: &Domain, envoy: &str, ending: &str) -> u64 {
    let admin = domain.path("envoy").join(format!("{envoy}-admin.sock"));
    let (_, stats) = get(&admin, "/stats?filter=ssl|sds").unwrap();
    let values = stats.lines().filter_map(|line| line.split_once(": "));
    values
        .filter(|(name, _)| name.ends_with(ending))
        .map(|(_, value)| value.trim().parse::<u64>().unwrap())
        .sum()
}

/// Certificates of one identity that an Envoy has taken over from the agent.
fn taken_over(domain: &Domain, envoy: &str) -> u64 {
    counter(domain, envoy, &format!("{envoy}.update_success"))
}

/// Has the identities of both ends issued anew, each time with another key and another
/// name in the certificate, and waits for both Envoys each time; then lets time pass.
fn rotate(domain: &Domain, entries: [(&str, &str); 2]) {
    let before = entries.map(|(envoy, _)| taken_over(domain, envoy));
    let until = |total: u64| {
        for ((envoy, _), before) in entries.iter().zip(before) {
            eventually(&format!("{envoy} takes over the new certificate"), || {
                (taken_over(domain, envoy) >= before + total).then_some(())
            });
        }
    };
    for round in 1..=ROTATIONS {
        let name = format!("r{round}.example.org");
        for (_, id) in entries {
            let _ = domain
                .admin(["entry", "update", id, "--dns-name", &name])
                .ok();
        }
        until(round);
    }
    until(ROTATIONS + RENEWALS);
}

#[test]
fn two_envoys_speak_mutual_tls_through_a_hundred_rotations_without_one_failed_handshake() {
    // An agent as it is by default: back.yaml is what docs/envoy.md calls whole.
    let domain = Domain::start_with(Settings::default());
    let [front_entry, back_entry, _stranger] =
        ["/front", "/back", "/stranger"].map(|path| domain.register(path, ["--x509-ttl", TTL]));
    domain.await_svid("/stranger");
    let (back, front) = (start(&domain, "back"), start(&domain, "front"));
    let socket = domain.path("envoy/front.sock");
    let ask = |path| get(&socket, path);
    eventually("a request passes", || {
        ask("/").filter(|(status, body)| *status == 200 && body.contains("served"))
    });
    // The certificate is good, its SPIFFE ID is not the one that is admitted.
    eventually("the stranger's handshake is refused", || {
        ask("/stranger").filter(|(status, _)| *status == 503)?;
        (counter(&domain, "back", "ssl.fail_verify_san") > 0).then_some(())
    });
    let failed_before = counter(&domain, "back", "ssl.connection_error");
    let front_failed_before = counter(&domain, "front", "as_front.ssl.connection_error");
    let handshakes_before = counter(&domain, "back", "ssl.handshake");

    let (served, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = ask("/");
                    let is_served = answer.as_ref().is_some_and(|(status, _)| *status == 200);
                    assert!(is_served, "after {served:?} requests: {answer:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let rotating =
            scope.spawn(|| rotate(&domain, [("front", &front_entry), ("back", &back_entry)]));
        let rotated = rotating.join();
        done.store(true, Ordering::Relaxed);
        rotated.unwrap();
    });
    let failed = counter(&domain, "back", "ssl.connection_error") - failed_before;
    assert_eq!(failed, 0, "handshakes failed under load");
    let failed = counter(&domain, "front", "as_front.ssl.connection_error") - front_failed_before;
    assert_eq!(failed, 0, "handshakes failed at the client");
    let handshakes = counter(&domain, "back", "ssl.handshake") - handshakes_before;
    let served = u64::try_from(served.into_inner()).unwrap();
    println!(
        "{handshakes} handshakes for {served} requests through {ROTATIONS} rotations of each end"
    );
    assert!(served > 1_000, "only {served} requests");
    assert!(
        handshakes >= served,
        "a request without a handshake of its own"
    );
    for envoy in ["front", "back"] {
        let rejected = counter(&domain, envoy, ".update_rejected");
        assert_eq!(rejected, 0, "{envoy} rejected a secret");
    }
    drop((front, back));
}
