//! What is late, as an operator and a probe see it.

use bulla_tests::{Domain, Ran, Settings, bulla, eventually, eventually_within, free_port};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;

/// Status and body of a path on the operations listener; nothing when nobody answers.
fn get(port: u16, path: &str) -> Option<(u16, serde_json::Value)> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

fn asked(words: &[&str], domain: &Domain) -> Ran {
    let mut command = bulla();
    command.args(words);
    command.arg("--admin-socket").arg(domain.admin_socket());
    command
        .arg("--agent-admin-socket")
        .arg(domain.path("agent/admin.sock"));
    Ran::of(&mut command)
}

#[test]
fn c7_a_server_that_is_dead_or_says_nothing_is_not_healthy() {
    let mut domain = Domain::server_alone(Settings::default());
    let only = ["healthcheck", "--only", "server", "--json"];
    eventually("it is ready", || {
        (asked(&only, &domain).code == 0).then_some(())
    });
    domain.server.take().unwrap().kill();
    let ran = asked(&only, &domain);
    assert_eq!(ran.code, 3, "it is dead: {}", ran.out);
    assert_eq!(ran.json()[0]["ready"], false);

    // Somebody who answers anything at all with 200 is no server.
    let socket = domain.admin_socket();
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nx: a 200 b\r\n\r\n");
        }
    });
    let ran = asked(&only, &domain);
    assert_eq!(ran.code, 3, "it is no server: {}", ran.out);
}

#[test]
fn c7_the_doctor_shows_every_check_and_duty() {
    let domain = Domain::start();
    let ran = eventually("both are ready", || {
        let ran = asked(&["doctor", "--json"], &domain);
        (ran.code == 0).then_some(ran)
    });
    let parts = ran.json();
    assert_eq!(
        (&parts[0]["part"], &parts[1]["part"]),
        (&"server".into(), &"agent".into())
    );
    let names = |what: &str| -> Vec<String> {
        let list = parts[0][what].as_array().unwrap().iter();
        list.map(|one| one["name"].as_str().unwrap().to_owned())
            .collect()
    };
    for check in ["store", "journal", "clock", "x509_authority"] {
        assert!(names("checks").contains(&check.to_owned()), "{check}");
    }
    for duty in [
        "rotation",
        "journal",
        "following",
        "revocation_list",
        "pruning",
    ] {
        assert!(names("duties").contains(&duty.to_owned()), "{duty}");
    }
    let text = asked(&["doctor", "--only", "server"], &domain).ok();
    assert!(
        text.out.contains("server: ready") && text.out.contains("rotation"),
        "{}",
        text.out
    );
}

/// The key storage breaks under a running server: it can sign with the keys it has, and
/// will have none when those end.
#[test]
fn s13_a_server_whose_rotation_fails_is_not_ready_before_its_ca_ends() {
    let port = free_port();
    let lines = format!(
        "[ca]\nttl = \"2m\"\n[svid]\nx509_ttl = \"20s\"\nagent_ttl = \"20s\"\n[ops]\nlisten = \"127.0.0.1:{port}\"\n{}",
        Settings::PROMPT
    );
    let domain = Domain::server_alone(Settings {
        server: lines,
        ..Settings::default()
    });
    eventually("it is ready", || {
        (get(port, "/ready")?.0 == 200).then_some(())
    });
    let keys = domain.path("server/data/keys");
    std::fs::rename(&keys, domain.path("server/data/keys.gone")).unwrap();
    std::fs::write(&keys, "not a folder").unwrap();
    let report = eventually_within(Duration::from_secs(150), "it is not ready", || {
        let (status, report) = get(port, "/ready")?;
        (status == 503).then_some(report)
    });
    let reasons = report["reasons"].to_string();
    assert!(reasons.contains("rotation is late"), "{reasons}");
    let checks = report["checks"].as_array().unwrap();
    let ca = checks
        .iter()
        .find(|check| check["name"] == "x509_authority");
    assert_eq!(ca.unwrap()["ok"], true, "the CA has not ended: {report}");
    let (live, _) = get(port, "/live").unwrap();
    assert_eq!(live, 200, "a new start would not help");
    assert_eq!(asked(&["healthcheck", "--only", "server"], &domain).code, 3);
}

#[test]
fn u11_a_socket_of_somebody_else_is_told_apart() {
    let domain = Domain::start();
    let mut command = bulla();
    command.args(["entry", "list", "--admin-socket"]);
    command.arg(domain.path("agent/admin.sock"));
    let ran = Ran::of(&mut command);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("not a Bulla server"), "{}", ran.err);

    domain.register("/service", []);
    domain.await_svid("/service");
    let wrong = domain.id("/other");
    let ran = domain.fetch(["x509", "--spiffe-id", &wrong]);
    assert_eq!(ran.code, 4, "an option is not ignored: {}", ran.out);
}

#[test]
fn u7_nodes_have_names() {
    let domain = Domain::start();
    let nodes = domain.admin(["node", "list", "--json"]).ok().json();
    assert_eq!(nodes[0]["aliases"][0], domain.id("/node"));
    assert_eq!(nodes[0]["address"], "127.0.0.1");
    assert_eq!(nodes[0]["contact"], "following");
    assert_ne!(nodes[0]["host"], "");
    let id = nodes[0]["id"].as_str().unwrap();
    let serial = nodes[0]["serial"].as_str().unwrap();
    assert!(serial.bytes().all(|b| b.is_ascii_hexdigit()), "{serial}");
    let renewed = domain.audit("attest");
    assert_eq!(
        renewed[0]["credential_id"], serial,
        "one notation of serials"
    );

    let text = domain.admin(["node", "list"]).ok().out;
    assert!(
        text.contains("node") && text.contains("127.0.0.1"),
        "{text}"
    );
    for name in [
        "node",
        "/node",
        &domain.id("/node"),
        &id[id.len() - 32..][..8],
    ] {
        let shown = domain.admin(["node", "show", name, "--json"]).ok().json();
        assert_eq!(shown["id"], id, "{name}");
    }
    assert_eq!(domain.admin(["node", "show", "nobody"]).code, 4);
    let _ = domain.admin(["node", "ban", "node"]).ok();
    let shown = domain.admin(["node", "show", id, "--json"]).ok().json();
    assert_eq!(shown["banned"], true);
}

#[test]
fn u8_validate_looks_at_files_and_names_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.toml");
    let validate = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let mut command = bulla();
        command
            .args(["server", "validate", "--json", "--config"])
            .arg(&path);
        Ran::of(&mut command)
    };
    let head = format!(
        "trust_domain = \"example.org\"\ndata_dir = {:?}\n",
        folder.path().join("data")
    );
    for (lines, place, part) in [
        ("[ca]\nttl = \"soon\"\n", ":4: ", "not a span of time"),
        (
            "[keys]\npassphrase_file = \"/nowhere/at/all\"\n",
            ":4: ",
            "keys.passphrase_file",
        ),
        (
            "[ops]\nlisten = \"127.0.0.1:8081\"\n",
            ":4: ",
            "has that port already",
        ),
        ("[ca\n", "server.toml: ", "TOML"),
    ] {
        let ran = validate(&format!("{head}{lines}"));
        assert_eq!(ran.code, 2, "{lines}: {}", ran.out);
        assert!(
            ran.err.contains(place) && ran.err.contains(part),
            "{lines}: {}",
            ran.err
        );
        assert!(ran.err.contains("server.toml"), "{}", ran.err);
    }
    let ran = validate(&format!("{head}[ops]\nlisten = \"0.0.0.0:9090\"\n")).ok();
    assert!(ran.out.contains("every address"), "{}", ran.out);
}

#[test]
fn u8_another_trust_domain_on_old_data_is_said_so() {
    let mut domain = Domain::server_alone(Settings::default());
    // It answers, so it is past its start and stops in order.
    let _ = domain.admin(["node", "list"]).ok();
    domain.stop();
    let config = std::fs::read_to_string(domain.path("server.toml")).unwrap();
    let other = domain.path("other.toml");
    std::fs::write(&other, config.replace("\"example.org\"", "\"other.test\"")).unwrap();
    let mut command = bulla();
    command.args(["server", "--config"]).arg(&other);
    let ran = Ran::of(&mut command);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("another trust domain"), "{}", ran.err);
}

/// `head` closes the pipe after the first line.
#[test]
fn u15_a_reader_that_has_enough_is_no_failure() {
    let domain = Domain::server_alone(Settings::default());
    for n in 0..40 {
        domain.register(&format!("/service-{n}"), []);
    }
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!(
        "{} entry list --admin-socket {} | head -n 1",
        bulla_tests::program("bulla").display(),
        domain.admin_socket().display()
    ));
    let ran = Ran::of(&mut command).ok();
    assert_eq!(ran.err, "");
}
