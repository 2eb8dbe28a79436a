//! Two real Envoys speak mutual TLS with each other through secrets that they
//! get from the agent (SDS), under load and through rotations.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bulla_tests::{Domain, Process, Settings, eventually, eventually_within};

/// Each identity is renewed every three seconds.
const TTL: &str = "6";
/// How many new certificates both ends must take over under load.
const ROTATIONS: u64 = 8;

/// The Envoy in the package that `tests/run` installs.
fn binary() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.peers/envoy/lib");
    let pythons = std::fs::read_dir(lib).expect("Envoy is missing: run `tests/run peers`");
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
    let (_, stats) = get(&admin, "/stats?filter=ssl").unwrap();
    let values = stats.lines().filter_map(|line| line.split_once(": "));
    values
        .filter(|(name, _)| name.ends_with(ending))
        .map(|(_, value)| value.trim().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn two_envoys_speak_mutual_tls_through_rotations_without_one_failed_handshake() {
    let domain = Domain::start_with(Settings {
        agent: "[sds]\nwithout_header = true\n".to_owned(),
        ..Settings::default()
    });
    for path in ["/front", "/back", "/stranger"] {
        domain.register(path, ["--x509-ttl", TTL]);
    }
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

    let updates = |envoy| counter(&domain, envoy, "ssl_context_update_by_sds");
    let before = (updates("back"), updates("front"));
    let (served, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let answer = ask("/");
                    let is_served = answer.as_ref().is_some_and(|(status, _)| *status == 200);
                    if !is_served {
                        done.store(true, Ordering::Relaxed);
                        panic!("after {served:?} requests: {answer:?}");
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let rotated = || {
            let (back, front) = (updates("back") - before.0, updates("front") - before.1);
            // The front Envoy holds two identities.
            let enough = back >= ROTATIONS && front >= 2 * ROTATIONS;
            (enough || done.load(Ordering::Relaxed)).then_some(())
        };
        eventually_within(Duration::from_secs(90), "the rotations", rotated);
        done.store(true, Ordering::Relaxed);
    });
    let failed = counter(&domain, "back", "ssl.connection_error") - failed_before;
    assert_eq!(failed, 0, "handshakes failed under load");
    let served = served.into_inner();
    println!("{served} handshakes through {ROTATIONS} rotations of each end");
    assert!(served > 100, "only {served} requests");
    drop((front, back));
}
