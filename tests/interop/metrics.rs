//! Prometheus' own checker reads what server and agent show.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use bulla_tests::{Domain, Settings, eventually, free_port, peer};

/// Head and body of `/metrics`.
fn scraped(port: u16) -> Option<(String, String)> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.to_ascii_lowercase(), body.to_owned()))
}

#[test]
fn u13_e5_promtool_has_nothing_to_say() {
    let (server, agent) = (free_port(), free_port());
    let ops = |port| format!("[ops]\nlisten = \"127.0.0.1:{port}\"\n");
    let domain = Domain::start_with(Settings {
        server: ops(server),
        agent: ops(agent),
        ..Settings::default()
    });
    domain.register("/service", []);
    domain.await_svid("/service");
    for (port, build) in [
        (server, "bulla_build_info"),
        (agent, "bulla_agent_build_info"),
    ] {
        let (head, text) = eventually("metrics are served", || scraped(port));
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        for name in [build, "process_resident_memory_bytes", "process_open_fds"] {
            assert!(text.contains(&format!("# HELP {name} ")), "{name}\n{text}");
            assert!(text.contains(&format!("\n{name}")), "{name}\n{text}");
        }
        let mut promtool = Command::new(peer("promtool"))
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let said = promtool.wait_with_output().unwrap();
        let words = [said.stdout, said.stderr].concat();
        let words = String::from_utf8_lossy(&words);
        assert!(said.status.success() && words.is_empty(), "{words}");
    }
    let (_, text) = scraped(server).unwrap();
    assert!(
        text.contains("bulla_rpc_seconds_bucket{method=") && text.contains("bulla_duty_late{duty="),
        "{text}"
    );
}
