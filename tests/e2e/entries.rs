//! Registration entries from the command line, as an admin uses it.

use bulla_tests::{Domain, Settings};

#[test]
fn an_entry_is_created_shown_listed_changed_and_deleted() {
    let domain = Domain::server_alone(Settings::default());
    let id = domain.register("/api", ["--hint", "internal"]);
    let shown = domain.admin(["entry", "show", &id, "--json"]).ok().json();
    assert_eq!(shown["spiffe_id"], domain.id("/api"));
    assert_eq!(shown["hint"], "internal");

    let listed = domain
        .admin(["entry", "list", "--hint", "internal", "--json"])
        .ok()
        .json();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let none = domain
        .admin(["entry", "list", "--hint", "external", "--json"])
        .ok()
        .json();
    assert!(none.as_array().unwrap().is_empty());

    let changed = domain
        .admin(["entry", "update", &id, "--x509-ttl", "600", "--json"])
        .ok()
        .json();
    assert_eq!(changed["x509_ttl"], 600);
    assert_eq!(changed["hint"], "internal", "what was not named stays");
    assert_eq!(changed["revision"], 1);

    let _ = domain.admin(["entry", "delete", &id]).ok();
    assert_eq!(domain.admin(["entry", "show", &id]).code, 4);
    assert_eq!(domain.audit("entry_create").len(), 1);
    assert_eq!(domain.audit("entry_update").len(), 1);
    assert_eq!(domain.audit("entry_delete").len(), 1);
}

#[test]
fn the_same_registration_twice_names_the_entry_that_exists() {
    let domain = Domain::server_alone(Settings::default());
    let id = domain.register("/api", []);
    let uid = format!("unix:uid:{}", nix::unistd::getuid());
    let (spiffe_id, node) = (domain.id("/api"), domain.id("/node"));
    let again = [
        "entry",
        "create",
        "--spiffe-id",
        &spiffe_id,
        "--parent-id",
        &node,
        "--selector",
        &uid,
    ];
    let ran = domain.admin(again);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(&id), "{}", ran.err);
}

#[test]
fn selectors_that_are_no_boundary_draw_a_warning() {
    let domain = Domain::server_alone(Settings::default());
    let (spiffe_id, node) = (domain.id("/api"), domain.id("/node"));
    let create = [
        "entry",
        "create",
        "--spiffe-id",
        &spiffe_id,
        "--parent-id",
        &node,
    ];
    let ran = domain
        .admin([&create[..], &["--selector", "unix:path:/usr/bin/api"]].concat())
        .ok();
    assert!(ran.err.contains("no boundary"), "{}", ran.err);
}

#[test]
fn a_table_is_for_people_and_json_for_scripts() {
    let domain = Domain::server_alone(Settings::default());
    domain.register("/api", []);
    let table = domain.admin(["entry", "list"]).ok().out;
    assert!(table.starts_with("ENTRY ID"), "{table}");
    assert!(table.contains("spiffe://example.org/api"));
    for noun in [
        &["node", "list"][..],
        &["bundle", "show"],
        &["audit", "list"],
        &["audit", "verify"],
    ] {
        let ran = domain.admin([noun, &["--json"]].concat()).ok();
        let _ = ran.json();
    }
}

#[test]
fn a_server_that_is_away_is_exit_code_three_with_a_next_step() {
    let mut command = bulla_tests::bulla();
    command.args([
        "entry",
        "list",
        "--admin-socket",
        "/tmp/bulla-nobody-listens.sock",
    ]);
    let ran = bulla_tests::Ran::of(&mut command);
    assert_eq!(ran.code, 3);
    assert!(
        ran.err.contains("next: start one with `bulla server`"),
        "{}",
        ran.err
    );
}

#[test]
fn u9_u10_warnings_are_about_what_is_being_changed() {
    let domain = Domain::start();
    let (id, node) = (domain.id("/x"), domain.id("/node"));
    let create = |parent: &str, selector: &str| {
        let words = [
            "entry",
            "create",
            "--json",
            "--spiffe-id",
            &id,
            "--parent-id",
        ];
        domain.admin(words.into_iter().chain([parent, "--selector", selector]))
    };
    let slip = create(&node, "unix:udi:5").ok();
    assert!(
        slip.err.contains("did you mean unix:uid:5?"),
        "{}",
        slip.err
    );
    let slip = create(&domain.id("/nood"), "unix:uid:5").ok();
    let meant = format!("did you mean {node}?");
    assert!(slip.err.contains(&meant), "{}", slip.err);

    let good = create(&node, "unix:uid:5").ok();
    assert_eq!(good.err, "", "nothing to warn of");
    let entry = good.json()["id"].as_str().unwrap().to_owned();
    let update = domain
        .admin(["entry", "update", &entry, "--x509-ttl", "60"])
        .ok();
    assert_eq!(update.err, "", "selectors are not being changed");
}
