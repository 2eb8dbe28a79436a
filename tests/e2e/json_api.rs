//! The local JSON API with the clients its users have: curl, openssl, a shell.

use std::path::Path;
use std::process::{Command, Stdio};

use bulla_tests::{Domain, Process, Ran, eventually, guide, peer};
use serde_json::Value;

/// A curl command on the workload socket, with the security header.
fn curl<'a>(domain: &Domain, path: &str, more: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "60", "--unix-socket"])
        .arg(domain.workload_socket())
        .args(["-H", "workload.spiffe.io: true"])
        .args(more)
        .arg(format!("http://localhost{path}"));
    command
}

fn get(domain: &Domain, path: &str) -> Value {
    Ran::of(&mut curl(domain, path, ["--fail-with-body"]))
        .ok()
        .json()
}

/// The status and the body of an answer.
fn status<'a>(
    domain: &Domain,
    path: &str,
    more: impl IntoIterator<Item = &'a str>,
) -> (String, Value) {
    let mut command = curl(domain, path, more);
    let ran = Ran::of(command.args(["-w", "\n%{http_code}"])).ok();
    let (body, status) = ran.out.rsplit_once('\n').unwrap();
    let body = serde_json::from_str(body).unwrap_or_default();
    (status.to_owned(), body)
}

fn etag(domain: &Domain, path: &str) -> String {
    let ran = Ran::of(&mut curl(domain, path, ["-D", "-", "-o", "/dev/null"])).ok();
    let line = ran
        .out
        .lines()
        .find(|l| l.to_lowercase().starts_with("etag: "));
    line.unwrap()["etag: ".len()..].trim().to_owned()
}

/// A long poll in the background, its answer in a file of that name.
fn poll(domain: &Domain, path: &str, tag: &str, name: &str) -> Process {
    let (known, out) = (format!("If-None-Match: {tag}"), domain.path(name));
    let more = [
        "-H",
        &known,
        "-H",
        "Prefer: wait=60",
        "-o",
        out.to_str().unwrap(),
    ];
    let mut command = curl(domain, path, more);
    command.args(["-w", "%{http_code}"]);
    Process::start(&mut command, &domain.path(&format!("{name}.status")))
}

fn spiffe_ids(answer: &Value) -> Vec<String> {
    let svids = answer["svids"].as_array().unwrap();
    svids
        .iter()
        .map(|s| s["spiffe_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn curl_gets_certificates_that_openssl_accepts_and_tokens_that_check_out() {
    let domain = Domain::start();
    let (code, refused) = status(&domain, "/v1/svid/x509", []);
    assert_eq!(code, "403", "{refused}");
    assert_eq!(refused["type"], "urn:bulla:problem:no-identity");
    assert!(refused["next"].as_str().unwrap().contains("/v1/explain/me"));
    domain.register("/api", []);
    domain.await_svid("/api");

    let answer = get(&domain, "/v1/svid/x509");
    assert_eq!(spiffe_ids(&answer), [domain.id("/api")]);
    let svid = &answer["svids"][0];
    for (name, member) in [
        ("svid", "x509_svid"),
        ("key", "x509_svid_key"),
        ("ca", "bundle"),
    ] {
        std::fs::write(domain.path(name), svid[member].as_str().unwrap()).unwrap();
    }
    let openssl = |args: &[&str]| Ran::of(Command::new("openssl").args(args)).ok().out;
    let path = |name: &str| domain.path(name).to_str().unwrap().to_owned();
    openssl(&[
        "verify",
        "-x509_strict",
        "-CAfile",
        &path("ca"),
        &path("svid"),
    ]);
    let of_certificate = openssl(&["x509", "-in", &path("svid"), "-noout", "-pubkey"]);
    assert_eq!(
        of_certificate,
        openssl(&["pkey", "-in", &path("key"), "-pubout"])
    );

    let tokens = get(&domain, "/v1/svid/jwt?audience=payments");
    let check = |audience: &str| {
        let token = tokens["svids"][0]["jwt_svid"].as_str().unwrap();
        let body = serde_json::json!({ "token": token, "audience": audience }).to_string();
        status(&domain, "/v1/check", ["--json", &body])
    };
    let (code, verdict) = check("payments");
    assert_eq!(code, "200", "{verdict}");
    assert_eq!(verdict["spiffe_id"], *domain.id("/api"));
    assert_eq!(check("reporting").0, "422");
    let chain = serde_json::json!({ "certificate_chain": svid["x509_svid"] }).to_string();
    let (code, verdict) = status(&domain, "/v1/check", ["--json", &chain]);
    assert_eq!(
        (code.as_str(), &verdict["expires_at"]),
        ("200", &svid["expires_at"])
    );
    let twice = ["-H", "workload.spiffe.io: true"];
    assert_eq!(
        status(&domain, "/v1/svid/x509", twice).0,
        "400",
        "exactly once"
    );
    let h2 = [
        "--http2-prior-knowledge",
        "-w",
        "%{http_version}",
        "-o",
        "/dev/null",
    ];
    assert_eq!(Ran::of(&mut curl(&domain, "/v1/bundles", h2)).ok().out, "2");
}

#[test]
fn a_long_poll_hears_of_entries_renewals_and_loss_at_once() {
    let domain = Domain::start();
    let first = domain.register("/first", ["--x509-ttl", "3600"]);
    domain.await_svid("/first");
    let path = "/v1/svid/x509";
    let tag = etag(&domain, path);
    let known = format!("If-None-Match: {tag}");
    let at_once = status(&domain, path, ["-H", &known, "-H", "Prefer: wait=1"]);
    assert_eq!(at_once.0, "304");

    let waiting = poll(&domain, path, &tag, "entry");
    let second = domain.register("/second", ["--x509-ttl", "4"]);
    assert!(waiting.wait("a poll hears of a new entry").success());
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(domain.path(name)).unwrap()).unwrap()
    };
    assert_eq!(
        spiffe_ids(&read("entry")),
        [domain.id("/first"), domain.id("/second")]
    );

    let waiting = poll(&domain, path, &etag(&domain, path), "renewal");
    assert!(waiting.wait("a poll hears of a renewal").success());
    let (before, after) = (read("entry"), read("renewal"));
    assert_eq!(before["svids"][0], after["svids"][0]);
    assert_ne!(
        before["svids"][1]["x509_svid"],
        after["svids"][1]["x509_svid"]
    );

    let _ = domain.admin(["entry", "delete", &second]).ok();
    eventually("one is left", || {
        (spiffe_ids(&get(&domain, path)) == [domain.id("/first")]).then_some(())
    });
    let waiting = poll(&domain, path, &etag(&domain, path), "loss");
    let _ = domain.admin(["entry", "delete", &first]).ok();
    assert!(waiting.wait("a poll hears that it lost all").success());
    assert_eq!(read("loss")["type"], "urn:bulla:problem:no-identity");
}

#[test]
fn the_json_api_guide_works_as_written() {
    let domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    let mut shell = domain.shell(&guide::commands(&guide::page("json-api.md")));
    let ran = Ran::of(shell.env("SOCKET", domain.workload_socket())).ok();
    for seen in [
        "svid.pem: OK",
        "\"kind\":\"jwt-svid\"",
        "refused, as it should be",
        "304",
        "this process is spiffe://example.org/api",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
}

#[test]
fn schemathesis_finds_no_answer_that_the_contract_does_not_allow() {
    let mut domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    let address = bridge(&domain.workload_socket());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(peer("schemathesis/bin/schemathesis"));
    command
        .arg("--config-file")
        .arg(here.join("e2e/schemathesis/schemathesis.toml"))
        .args([
            "run",
            "--url",
            &format!("http://{address}"),
            "--no-color",
            "--seed",
            "1",
        ])
        .args([
            "--phases",
            "coverage,fuzzing",
            "--max-examples",
            "60",
            "--checks",
        ])
        .arg(
            "not_a_server_error,status_code_conformance,content_type_conformance,\
             response_headers_conformance,response_schema_conformance,unsupported_method,\
             negative_data_rejection,missing_required_header",
        )
        .arg(here.join("../src/agent/src/json_api/openapi.json"))
        .current_dir(domain.path(""))
        .stdin(Stdio::null());
    let ran = Ran::of(&mut command);
    let shown: String = ran
        .out
        .lines()
        .map(|l| l.chars().take(300).chain(['\n']).collect::<String>())
        .collect();
    assert_eq!(ran.code, 0, "{shown}{}", ran.err);
    assert!(
        ran.out.contains("Tested: 8"),
        "every path was attacked: {shown}"
    );
    assert_eq!(
        spiffe_ids(&get(&domain, "/v1/svid/x509")),
        [domain.id("/api")]
    );
    let log = domain.agent.as_ref().unwrap().output();
    assert!(!log.contains("panicked"), "{log}");
    domain.stop();
}

/// schemathesis speaks TCP: each of its connections becomes one to the socket, made by
/// this process and so attested as it. Nothing but bytes passes.
fn bridge(socket: &Path) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = socket.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(agent)) =
                (client, std::os::unix::net::UnixStream::connect(&socket))
            else {
                continue;
            };
            let (mut from_client, mut to_agent) =
                (client.try_clone().unwrap(), agent.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_agent);
                let _ = to_agent.shutdown(std::net::Shutdown::Write);
            });
            let (mut from_agent, mut to_client) = (agent, client);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_agent, &mut to_client);
                let _ = to_client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}
