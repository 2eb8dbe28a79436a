//! The guide "Moving from SPIRE", run as it is written, against a stock server and
//! a stock agent.

use std::path::Path;

use bulla_tests::{Domain, Ran, free_port, guide};

use super::stock::{StockServer, cli, stock};

/// What stands in for the machine's service manager: one unit, the agent.
const SERVICE_MANAGER: &str = r#"
systemctl() {
  case $1 in
    start) spire-agent run -config "$HOME/etc/agent.conf" >> "$HOME/agent.log" 2>&1 & echo $! > "$HOME/pid" ;;
    stop) kill "$(cat "$HOME/pid")"; wait "$(cat "$HOME/pid")" || : ;;
  esac
}
cd "$HOME"
systemctl start spire-agent
until [ -S "$HOME/agent.sock" ]; do :; done
"#;

fn agent_config(home: &Path, port: u16, token: &str) -> String {
    let at = |name: &str| home.join(name);
    format!(
        "agent {{\n  data_dir = {data:?}\n  server_address = \"127.0.0.1\"\n  \
         server_port = \"{port}\"\n  join_token = \"{token}\"\n  socket_path = {socket:?}\n  \
         trust_bundle_path = {bundle:?}\n  trust_domain = \"{domain}\"\n}}\n\
         plugins {{\n  NodeAttestor \"join_token\" {{ plugin_data {{}} }}\n  \
         KeyManager \"disk\" {{ plugin_data {{ directory = {data:?} }} }}\n  \
         WorkloadAttestor \"unix\" {{ plugin_data {{}} }}\n}}\n",
        data = at("lib/agent"),
        socket = at("agent.sock"),
        bundle = at("etc/bundle.pem"),
        domain = Domain::NAME,
    )
}

#[test]
fn the_move_from_spire_works_as_written() {
    let source = StockServer::start();
    let folder = tempfile::Builder::new().prefix("move-").tempdir_in("/tmp");
    let folder = folder.unwrap();
    let home = folder.path();
    for name in ["etc", "lib/agent", "run"] {
        std::fs::create_dir_all(home.join(name)).unwrap();
    }
    let spire = |line: &str| cli(&source.socket(), line.split_whitespace()).ok().out;
    std::fs::write(home.join("etc/bundle.pem"), spire("bundle show")).unwrap();
    spire(
        "entry create -parentID spiffe://example.org/node1 -spiffeID spiffe://example.org/api \
         -selector unix:uid:1000",
    );
    let token = spire("token generate -spiffeID spiffe://example.org/node1");
    let token = token.trim().strip_prefix("Token: ").unwrap();
    let config = agent_config(home, source.port, token);
    std::fs::write(home.join("etc/agent.conf"), config).unwrap();

    let port = free_port().to_string();
    let paths = [
        ("/tmp/spire-server/private/api.sock", source.socket()),
        ("/var/lib/bulla/server", home.join("bulla")),
        ("/run/bulla/server", home.join("run")),
        ("/etc/spire", home.join("etc")),
        ("/var/lib/spire", home.join("lib")),
    ];
    let written = guide::commands(&guide::page("guides/moving-from-spire.md"));
    let mut script = format!("{SERVICE_MANAGER}{}", written.replace("8082", &port));
    // The agent is back on what it had put away.
    script.push_str("\nuntil grep -q 'SVID loaded' \"$HOME/agent.log\"; do :; done\n");
    for (written, here) in paths {
        assert!(script.contains(written), "{written} is not in the guide");
        script = script.replace(written, here.to_str().unwrap());
    }
    let spire = stock("spire-agent").parent().unwrap().to_owned();
    let mut command = guide::shell(&[guide::programs(), spire], &script);
    command
        .env("HOME", home)
        .env("BULLA_ADMIN_SOCKET", home.join("run/admin.sock"));
    let ran = Ran::of(&mut command).ok();
    for seen in [
        "1 to create, 0 there already, 1 to refuse",
        "1 created, 0 there already, 1 refused",
        "spiffe://example.org/api",
        "Found 1 attested agent",
    ] {
        assert!(ran.out.contains(seen), "{seen}: {}\n{}", ran.out, ran.err);
    }
    let log = std::fs::read_to_string(home.join("agent.log")).unwrap();
    assert_eq!(log.matches("Node attestation was successful").count(), 2);
}
