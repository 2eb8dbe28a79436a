//! What an operator watches: health with reasons, metrics, exit codes.

use std::io::{Read as _, Write as _};

use bulla_tests::{Domain, Settings, bulla, eventually, free_port};

fn get(port: u16, path: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[test]
fn live_ready_and_metrics_are_served_on_loopback() {
    let (server, agent) = (free_port(), free_port());
    let ops = |port| format!("[ops]\nlisten = \"127.0.0.1:{port}\"\n");
    let domain = Domain::start_with(Settings {
        server: ops(server),
        agent: ops(agent),
        ..Settings::default()
    });
    domain.register("/service", []);
    domain.await_svid("/service");
    for port in [server, agent] {
        assert_eq!(get(port, "/live").0, 200);
        eventually("ready", || (get(port, "/ready").0 == 200).then_some(()));
        let (status, text) = get(port, "/metrics");
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE bulla_"), "{text}");
        assert_eq!(get(port, "/nothing").0, 404);
    }
    assert!(get(server, "/metrics").1.contains("bulla_sign_total"));
}

#[test]
fn the_budget_table_is_printed_and_its_figures_are_metrics() {
    let ops = free_port();
    let domain = Domain::start_with(Settings {
        server: format!("[ops]\nlisten = \"127.0.0.1:{ops}\"\n"),
        ..Settings::default()
    });
    let table = domain.admin(["limits"]).ok().out;
    assert!(table.contains("PRINCIPAL"), "{table}");
    let shown = domain.admin(["limits", "--json"]).json();
    let budgets = shown["budgets"].as_array().unwrap();
    for (principal, resource) in [
        ("address", "connections"),
        ("address", "handshakes"),
        ("address", "request_bytes"),
        ("identity", "calls"),
        ("node", "signatures"),
        ("node", "journal_bytes"),
        ("workload", "journal_bytes"),
        ("downstream", "bundle_keys"),
        ("administrator", "join_tokens"),
        ("everyone", "open_challenges"),
        ("strangers", "connections"),
    ] {
        let row = budgets
            .iter()
            .find(|row| row["principal"] == principal && row["resource"] == resource);
        assert!(row.unwrap()["bound"].as_u64().unwrap() > 0, "{resource}");
    }
    let methods = shown["methods"].as_array().unwrap();
    let costs = methods.iter().map(|row| &row["message_bytes"]);
    assert!(costs.clone().all(|bytes| bytes.as_u64().unwrap() > 0));
    let metrics = get(ops, "/metrics").1;
    let bound = "bulla_limit_bound{principal=\"address\",resource=\"request_bytes\"} 1048576";
    assert!(metrics.contains(bound), "{metrics}");
}

#[test]
fn d2_the_admin_socket_answers_no_web_page() {
    let domain = Domain::start();
    let mut socket = std::os::unix::net::UnixStream::connect(domain.admin_socket()).unwrap();
    let body = [0_u8; 5];
    write!(
        socket,
        "POST /spire.api.server.agent.v1.Agent/CreateJoinToken HTTP/1.1\r\nHost: localhost\r\n\
         Origin: https://evil.example\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )
    .unwrap();
    socket.write_all(&body).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(!answer.contains("grpc-status"), "{answer}");
}

#[test]
fn an_agent_whose_server_is_away_says_so_and_still_serves() {
    let agent = free_port();
    let mut domain = Domain::start_with(Settings {
        agent: format!("[ops]\nlisten = \"127.0.0.1:{agent}\"\n"),
        ..Settings::default()
    });
    domain.register("/service", []);
    domain.await_svid("/service");
    domain.server.take().unwrap().kill();
    domain.await_svid("/service");
    let text = eventually("the outage is named", || {
        let (_, text) = get(agent, "/ready");
        text.contains("server").then_some(text)
    });
    assert!(text.contains("200 OK"), "it can serve now: {text}");
}

#[test]
fn healthcheck_tells_what_can_serve() {
    let mut domain = Domain::start();
    let run = |domain: &Domain| {
        let mut command = bulla();
        command.args(["healthcheck", "--json", "--agent-admin-socket"]);
        command.arg(domain.path("agent/admin.sock"));
        command.arg("--admin-socket").arg(domain.admin_socket());
        bulla_tests::Ran::of(&mut command)
    };
    eventually("both are ready", || (run(&domain).code == 0).then_some(()));
    domain.agent.take().unwrap().kill();
    let ran = run(&domain);
    assert_eq!(ran.code, 3);
    assert_eq!(ran.json()[0]["ready"], true);
    assert_eq!(ran.json()[1]["ready"], false);
}

#[test]
fn every_command_shows_examples() {
    for words in [
        &["entry", "create"][..],
        &["entry", "list"],
        &["entry", "update"],
        &["entry", "delete"],
        &["entry", "show"],
        &["node", "list"],
        &["node", "ban"],
        &["node", "evict"],
        &["token", "create"],
        &["bundle", "show"],
        &["fetch", "x509"],
        &["fetch", "jwt"],
        &["fetch", "bundle"],
        &["audit", "list"],
        &["audit", "show"],
        &["audit", "verify"],
        &["server"],
        &["agent"],
        &["dev"],
        &["healthcheck"],
        &["limits"],
    ] {
        let mut command = bulla();
        command.args(words).arg("--help");
        let ran = bulla_tests::Ran::of(&mut command).ok();
        assert!(ran.out.contains("Example"), "{words:?}");
    }
}
