//! The stock `spire-server` command line, each command run on SPIRE's own server
//! and on ours: the same output, the same exit code. What differs is in
//! [`normal`], with a reason, or it is a defect.

use std::path::Path;

use bulla_tests::{Domain, Settings};

use super::normal::{Answer, normal};
use super::stock::{Proof, StockAgent, StockServer, bundle_pem, cli, token};

/// SPIRE's server and ours, each with one stock agent that has joined.
struct Pair {
    spire: StockServer,
    bulla: Domain,
    _agents: [StockAgent; 2],
    /// The agents' IDs: SPIRE's, ours.
    nodes: [String; 2],
}

impl Pair {
    fn start() -> Self {
        let spire = StockServer::start();
        let bulla = Domain::server_alone(Settings::default());
        let theirs = cli(&spire.socket(), ["bundle", "show"]).ok().out;
        let join = |socket: &Path, port, bundle: &str| {
            StockAgent::start(port, bundle, &Proof::Token(&token(socket)))
        };
        let agents = [
            join(&spire.socket(), spire.port, &theirs),
            join(&bulla.admin_socket(), bulla.port(), &bundle_pem(&bulla)),
        ];
        let node = |socket: &Path| {
            let listed = cli(socket, ["agent", "list", "-output", "json"])
                .ok()
                .json();
            let id = &listed["agents"][0]["id"];
            let part = |name: &str| id[name].as_str().unwrap();
            format!("spiffe://{}{}", part("trust_domain"), part("path"))
        };
        let nodes = [node(&spire.socket()), node(&bulla.admin_socket())];
        Self {
            spire,
            bulla,
            _agents: agents,
            nodes,
        }
    }

    /// Runs a command on both and insists on the same answer. `{node}` in an
    /// argument is the agent's ID, `{here}` a folder of the test's own.
    #[track_caller]
    fn same(&self, line: &str) -> Answer {
        let here = self.bulla.path("");
        let answer = |socket: &Path, node: &String| {
            let words: Vec<String> = line
                .split_whitespace()
                .map(|word| word.replace("{node}", node).replace('~', " "))
                .map(|word| word.replace("{here}", here.to_str().unwrap().trim_end_matches('/')))
                .collect();
            normal(&cli(socket, words.iter().map(String::as_str)))
        };
        let [theirs, ours] = &self.nodes;
        let theirs = answer(&self.spire.socket(), theirs);
        let ours = answer(&self.bulla.admin_socket(), ours);
        let at = ours.lines().zip(theirs.lines()).position(|(o, t)| o != t);
        let at = at.unwrap_or_default();
        assert!(
            ours == theirs,
            "`{line}` differs from line {at}: ours\n{:#?}\nSPIRE's\n{:#?}",
            ours.lines().skip(at).collect::<Vec<_>>(),
            theirs.lines().skip(at).collect::<Vec<_>>()
        );
        ours
    }

    #[track_caller]
    fn same_all(&self, lines: &[&str]) {
        for line in lines {
            for form in ["", " -output json"] {
                self.same(&format!("{line}{form}"));
            }
        }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.bulla.path(name), text).unwrap();
    }
}

#[test]
fn healthcheck_token_and_key_commands_answer_as_with_spire() {
    let pair = Pair::start();
    assert_eq!(pair.same("healthcheck").out, ["Server is healthy."]);
    pair.same("healthcheck -verbose");
    pair.same_all(&[
        "token generate",
        "token generate -ttl 60",
        "localauthority x509 show",
        "localauthority jwt show",
    ]);
    assert_eq!(pair.same("token generate -ttl -1").code, 1);
    assert_eq!(pair.same("token generate -spiffeID nonsense").code, 1);
}

#[test]
fn agent_commands_answer_as_with_spire() {
    let pair = Pair::start();
    pair.same_all(&[
        "agent list",
        "agent count",
        "agent show -spiffeID {node}",
        "agent list -attestationType join_token",
        "agent count -attestationType x509pop",
        "agent list -banned true",
        "agent count -banned false",
        "agent list -canReattest true",
        "agent count -canReattest false",
        "agent list -selector spiffe_id:nobody",
        "agent count -selector spiffe_id:nobody -matchSelectorsOn any",
        "agent list -expiresBefore 2030-01-02~15:04:05~-0700~-07",
        "agent count -expiresBefore 2020-01-02~15:04:05~-0700~-07",
    ]);
    for wrong in [
        "agent list -expiresBefore tomorrow",
        "agent show",
        "agent show -spiffeID spiffe://example.org/spire/agent/join_token/none",
        "agent show -spiffeID spiffe://example.org/workload",
        "agent ban -spiffeID spiffe://example.org/spire/agent/join_token/none",
        "agent evict -spiffeID spiffe://example.org/spire/agent/join_token/none",
        "agent evict -spiffeID nonsense",
    ] {
        assert_eq!(pair.same(wrong).code, 1, "{wrong}");
    }
    pair.same("agent purge -dryRun");
    pair.same_all(&["agent purge -expiredFor 1s"]);
    assert_eq!(pair.same("agent ban -spiffeID {node}").code, 0);
    pair.same_all(&["agent list -banned true", "agent show -spiffeID {node}"]);
    assert_eq!(pair.same("agent evict -spiffeID {node}").code, 0);
    pair.same_all(&["agent list", "agent count"]);
    assert_eq!(pair.same("agent evict -spiffeID {node}").code, 1);
}

#[test]
fn entry_commands_answer_as_with_spire() {
    let pair = Pair::start();
    const CREATE: &str = "entry create -parentID spiffe://example.org/node -selector unix:uid:1";
    let create = |rest: &str| pair.same(&format!("{CREATE} {rest}"));
    let created = create(
        "-selector unix:gid:2 -entryID web -spiffeID spiffe://example.org/web -x509SVIDTTL 600 \
         -jwtSVIDTTL 60 -dns web.example.org -dns a.example.org -hint external -admin \
         -downstream -storeSVID -entryExpiry 4000000000",
    );
    assert_eq!(created.code, 0, "{created:?}");
    for fine in [
        "-entryID db -spiffeID spiffe://example.org/db",
        "-entryID db2 -spiffeID spiffe://example.org/db -hint internal -selector k8s:ns:a",
        "-entryID json -spiffeID spiffe://example.org/json -output json",
    ] {
        assert_eq!(create(fine).code, 0, "{fine}");
    }
    for wrong in [
        // The same ID, parent and selectors; the lifetime does not count.
        "-spiffeID spiffe://example.org/db -x509SVIDTTL 77",
        "-spiffeID spiffe://other.test/db",
        "-spiffeID spiffe://example.org",
        "-spiffeID nonsense",
        "-spiffeID spiffe://example.org/x -dns -bad-",
        "-spiffeID spiffe://example.org/x -x509SVIDTTL -1",
        "-entryID db -spiffeID spiffe://example.org/x",
        "-spiffeID spiffe://example.org/x -selector nonsense",
    ] {
        assert_eq!(create(wrong).code, 1, "{wrong}");
    }
    let node = "entry create -node -entryID rack -spiffeID spiffe://example.org/rack";
    pair.same(&format!("{node} -selector join_token:a"));
    pair.same_all(&[
        "entry show",
        "entry count",
        "entry show -entryID web",
        "entry show -downstream",
        "entry count -downstream",
        "entry show -spiffeID spiffe://example.org/db",
        "entry show -parentID spiffe://example.org/node",
        "entry count -parentID spiffe://example.org/spire/server",
        "entry show -hint internal",
        "entry show -selector unix:uid:1",
        "entry show -selector unix:uid:1 -matchSelectorsOn exact",
        "entry count -selector unix:uid:1 -selector k8s:ns:a -matchSelectorsOn subset",
        "entry count -selector unix:uid:1 -selector k8s:ns:b -matchSelectorsOn any",
    ]);
    assert_eq!(pair.same("entry show -entryID none").code, 1);
    changes(&pair);
}

/// SPIRE refuses an entry that federates with a trust domain before its bundle is
/// set, which ties two teams' roll-outs together. Here the entry waits for the bundle.
#[test]
fn an_entry_may_come_before_the_bundle_it_federates_with() {
    let bulla = Domain::server_alone(Settings::default());
    let mut args = vec!["entry", "create", "-spiffeID", "spiffe://example.org/far"];
    args.extend(["-parentID", "spiffe://example.org/node"]);
    args.extend(["-selector", "unix:uid:1", "-federatesWith", "other.test"]);
    let created = cli(&bulla.admin_socket(), args).ok();
    assert!(created.out.contains("FederatesWith    : other.test"));
}

fn changes(pair: &Pair) {
    const UPDATE: &str = "entry update -parentID spiffe://example.org/node -selector unix:uid:1";
    let update = |rest: &str| pair.same(&format!("{UPDATE} {rest}"));
    assert_eq!(
        update("-entryID db -spiffeID spiffe://example.org/db -hint changed -x509SVIDTTL 30").code,
        0
    );
    assert_eq!(
        update("-entryID none -spiffeID spiffe://example.org/db").code,
        1
    );
    pair.write(
        "entries.json",
        r#"{"entries": [{"entry_id": "file", "spiffe_id": "spiffe://example.org/file",
            "parent_id": "spiffe://example.org/node",
            "selectors": [{"type": "unix", "value": "uid:9"}], "x509_svid_ttl": 200}]}"#,
    );
    assert_eq!(pair.same("entry create -data {here}/entries.json").code, 0);
    assert_eq!(pair.same("entry delete -entryID db").code, 0);
    assert_eq!(pair.same("entry delete -entryID db").code, 1);
    pair.write("ids.json", r#"{"ids": ["web", "none"]}"#);
    assert_eq!(pair.same("entry delete -file {here}/ids.json").code, 1);
    pair.same_all(&["entry show", "entry count"]);
}

#[test]
fn bundle_commands_answer_as_with_spire() {
    let pair = Pair::start();
    let foreign = bundle_pem(&Domain::server_alone(Settings::default()));
    pair.write("foreign.pem", &foreign);
    pair.write("empty.pem", "");
    pair.same_all(&["bundle show", "bundle count", "bundle list"]);
    pair.same("bundle show -format spiffe");
    assert_eq!(
        pair.same("bundle set -id spiffe://other.test -path {here}/foreign.pem")
            .code,
        0
    );
    pair.same_all(&[
        "bundle count",
        "bundle list",
        "bundle list -id spiffe://other.test",
    ]);
    pair.same("bundle list -format spiffe");
    assert_eq!(pair.same("bundle list -id spiffe://none.test").code, 1);
    for wrong in [
        "bundle set -id spiffe://other.test -path {here}/empty.pem -format spiffe",
        "bundle set -id spiffe://example.org -path {here}/foreign.pem",
        "bundle set -path {here}/foreign.pem",
        "bundle delete -id spiffe://none.test",
        "bundle delete -id spiffe://other.test -mode nonsense",
    ] {
        assert_eq!(pair.same(wrong).code, 1, "{wrong}");
    }
    let entry = "entry create -entryID far -parentID spiffe://example.org/node \
                 -selector unix:uid:1 -spiffeID spiffe://example.org/far \
                 -federatesWith spiffe://other.test";
    assert_eq!(pair.same(entry).code, 0);
    pair.same_all(&[
        "entry show -federatesWith spiffe://other.test",
        "entry count -federatesWith other.test -matchFederatesWithOn exact",
    ]);
    let delete = "bundle delete -id spiffe://other.test";
    assert_eq!(pair.same(delete).code, 1, "an entry relies on it");
    assert_eq!(pair.same(&format!("{delete} -mode dissociate")).code, 0);
    // Not `entry show`: ours counts the change as a revision, so that agents take it.
    pair.same_all(&[
        "entry count -federatesWith other.test",
        "bundle count",
        "bundle list",
    ]);
}

#[test]
fn mint_commands_answer_as_with_spire() {
    let pair = Pair::start();
    for fine in [
        "x509 mint -spiffeID spiffe://example.org/minted",
        "x509 mint -spiffeID spiffe://example.org/minted -ttl 60s -dns minted.example.org",
        "jwt mint -spiffeID spiffe://example.org/minted -audience a -audience b",
        "jwt mint -spiffeID spiffe://example.org/minted -audience a -ttl 60s",
        "x509 mint -spiffeID spiffe://example.org/minted -output json",
        "jwt mint -spiffeID spiffe://example.org/minted -audience a -output json",
        "x509 mint -spiffeID spiffe://example.org/minted -write {here}",
        "jwt mint -spiffeID spiffe://example.org/minted -audience a -write {here}/token",
    ] {
        assert_eq!(pair.same(fine).code, 0, "{fine}");
    }
    for wrong in [
        "x509 mint",
        "x509 mint -spiffeID spiffe://other.test/minted",
        "x509 mint -spiffeID nonsense",
        "jwt mint -spiffeID spiffe://example.org/minted",
        "jwt mint -spiffeID spiffe://other.test/minted -audience a",
    ] {
        assert_eq!(pair.same(wrong).code, 1, "{wrong}");
    }
}
