//! `bulla import spire` from a running stock server, and the move of a node with a
//! way back.

use bulla_tests::{Domain, Ran, Settings};
use serde_json::Value;

use super::side_by_side::{join_bundles, trusts};
use super::stock::{Proof, StockAgent, StockServer, bundle_pem, cli, token};

const BASE: &str = "-parentID spiffe://example.org/node -selector unix:uid:1";

/// Runs a stock command that must succeed.
#[track_caller]
fn stock(server: &StockServer, line: &str) -> Ran {
    cli(&server.socket(), line.split_whitespace()).ok()
}

/// A stock server with a bundle and entries of every kind.
fn source() -> (StockServer, Domain) {
    let source = StockServer::start();
    let target = Domain::server_alone(Settings::default());
    let foreign = target.path("foreign.pem");
    std::fs::write(&foreign, bundle_pem(&target)).unwrap();
    let set = format!(
        "bundle set -id spiffe://other.test -path {}",
        foreign.display()
    );
    stock(&source, &set);
    for entry in [
        "-entryID full -spiffeID spiffe://example.org/full -x509SVIDTTL 600 -jwtSVIDTTL 60 \
         -dns full.example.org -dns a.example.org -hint external -admin -downstream -storeSVID \
         -entryExpiry 4000000000 -federatesWith spiffe://other.test -selector unix:gid:2",
        "-entryID plain -spiffeID spiffe://example.org/plain",
        "-entryID twice -spiffeID spiffe://example.org/twice",
        "-entryID taken -spiffeID spiffe://example.org/taken",
    ] {
        stock(&source, &format!("entry create {BASE} {entry}"));
    }
    let node = "entry create -node -entryID rack -spiffeID spiffe://example.org/rack";
    stock(
        &source,
        &format!("{node} -selector x509pop:subject:cn:rack-1"),
    );
    // An alias of an agent by its token.
    token(&source.socket());
    (source, target)
}

fn import(source: &StockServer, target: &Domain, rest: &[&str]) -> Ran {
    let socket = source.socket();
    let mut args = vec!["import", "spire", "--socket", socket.to_str().unwrap()];
    args.extend(rest);
    target.admin(args)
}

fn action<'a>(report: &'a Value, id: &str) -> (&'a str, &'a str) {
    let items = report["items"].as_array().unwrap();
    let item = items.iter().find(|item| item["id"] == id);
    let item = item.unwrap_or_else(|| panic!("no {id} in {report:#}"));
    (
        item["action"].as_str().unwrap(),
        item["why"].as_str().unwrap(),
    )
}

#[test]
fn entries_of_a_stock_server_are_planned_then_created() {
    let (source, target) = source();
    // Here already: one the same under another id, one with an id that is taken.
    let here = |line: &str| {
        let line = format!("entry create {BASE} {line}");
        cli(&target.admin_socket(), line.split_whitespace()).ok()
    };
    here("-entryID mine -spiffeID spiffe://example.org/twice -hint other");
    here("-entryID taken -spiffeID spiffe://example.org/somebody");

    let plan = import(&source, &target, &["--plan", "--json"]).ok().json();
    assert_eq!(plan["applied"], false);
    assert_eq!(action(&plan, "other.test").0, "create");
    for id in ["full", "plain", "rack"] {
        assert_eq!(action(&plan, id), ("create", ""), "{id}");
    }
    let twice = action(&plan, "twice");
    assert_eq!(twice, ("present", "as entry mine, which differs in hint"));
    let (refuse, why) = action(&plan, "taken");
    assert!(refuse == "refuse" && why.contains("has this id"), "{why}");
    assert_eq!(
        plan["refuse"], 2,
        "and the alias of a token's agent: {plan:#}"
    );
    let entries = target.admin(["entry", "list", "--json"]).ok().json();
    assert_eq!(
        entries.as_array().unwrap().len(),
        2,
        "a plan changes nothing"
    );
    let text = import(&source, &target, &[]).ok().out;
    assert!(
        text.contains("4 to create, 1 there already, 2 to refuse"),
        "{text}"
    );
    assert!(text.contains("nothing was changed"), "{text}");

    let done = import(&source, &target, &["--yes", "--json"]);
    assert_eq!(done.code, 1, "something was refused: {}", done.err);
    let done = done.json();
    assert_eq!(done["applied"], true);
    assert_eq!(action(&done, "full"), ("created", ""));
    assert_eq!(action(&done, "taken").0, "refused");
    // What the stock command line shows of an entry is the same on both sides.
    for id in ["full", "plain", "rack"] {
        let show = |socket| {
            let args = ["entry", "show", "-entryID", id, "-output", "json"];
            let mut shown = cli(socket, args).ok().json();
            shown["entries"][0]["created_at"] = Value::Null;
            // In no order; SPIRE's store answers them as it finds them.
            let names = shown["entries"][0]["dns_names"].as_array_mut().unwrap();
            names.sort_by_key(Value::to_string);
            shown
        };
        assert_eq!(show(&target.admin_socket()), show(&source.socket()), "{id}");
    }
    let again = import(&source, &target, &["--json"]).ok().json();
    assert_eq!(
        (&again["create"], &again["present"]),
        (&0.into(), &5.into())
    );
}

#[test]
fn an_import_from_nowhere_or_from_another_trust_domain_changes_nothing() {
    let target = Domain::server_alone(Settings::default());
    let nowhere = target.path("nowhere.sock");
    let args = ["import", "spire", "--socket", nowhere.to_str().unwrap()];
    let ran = target.admin(args);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("socket_path"), "{}", ran.err);
}

/// The guide "Moving from SPIRE" as a rehearsal: both servers side by side, one node
/// moved with its agent unchanged, and moved back.
#[tokio::test]
async fn a_node_moves_with_its_stock_agent_and_back_again() {
    let source = StockServer::start();
    let target = Domain::server_alone(Settings::default());
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let entry = "entry create -parentID spiffe://example.org/node -spiffeID";
    stock(
        &source,
        &format!("{entry} spiffe://example.org/service -selector {uid}"),
    );
    let theirs = stock(&source, "bundle show").out;
    let agent = StockAgent::start(
        source.port,
        &theirs,
        &Proof::Token(&token(&source.socket())),
    );
    let id = target.id("/service");
    let before = agent.await_svid(&id, |_| true).await;

    // Entries, then each side's authorities into the other's bundle.
    assert_eq!(
        import(&source, &target, &["--yes"]).code,
        1,
        "the token's alias"
    );
    join_bundles(&target, &source.socket());
    let both = bundle_pem(&target);
    assert_eq!(both.matches("BEGIN").count(), 2, "{both}");

    // The same agent, at the other server; workloads keep their socket and their ID.
    let moved = token(&target.admin_socket());
    let agent = agent.rejoin(target.port(), &both, &Proof::Token(&moved));
    let after = agent
        .await_svid(&id, |svid| {
            svid.leaf().as_bytes() != before.leaf().as_bytes()
        })
        .await;
    trusts(&agent, &before).await;
    trusts(&agent, &after).await;

    let back = token(&source.socket());
    let agent = agent.rejoin(source.port, &both, &Proof::Token(&back));
    let returned = agent
        .await_svid(&id, |svid| {
            svid.leaf().as_bytes() != after.leaf().as_bytes()
        })
        .await;
    trusts(&agent, &after).await;
    trusts(&agent, &returned).await;
}
