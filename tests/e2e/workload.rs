//! What a workload sees: identities as they are registered, renewed, changed
//! and taken away.

use bulla_tests::{Domain, Process, eventually};

fn watcher(domain: &Domain) -> Process {
    let mut command = bulla_tests::bulla();
    command
        .args(["fetch", "x509", "--watch", "--json"])
        .env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    Process::start(&mut command, &domain.path("watch.log"))
}

fn updates(watcher: &Process) -> Vec<serde_json::Value> {
    watcher
        .output()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn ids(update: &serde_json::Value) -> Vec<String> {
    let svids = update["svids"].as_array().unwrap();
    svids
        .iter()
        .map(|svid| svid["spiffe_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_process_without_an_entry_is_refused_by_name() {
    let domain = Domain::start();
    let ran = domain.fetch(["x509"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no identity issued"), "{}", ran.err);
    assert!(ran.err.contains("bulla explain me"), "{}", ran.err);
}

#[test]
fn a_waiting_stream_sees_each_change_and_ends_with_the_last_identity() {
    let domain = Domain::start();
    let first = domain.register("/first", []);
    domain.await_svid("/first");
    let mut watch = watcher(&domain);
    eventually("the first update", || {
        (updates(&watch).len() == 1).then_some(())
    });

    let second = domain.register("/second", []);
    eventually("both identities, in creation order", || {
        let last = updates(&watch).pop()?;
        (ids(&last) == [domain.id("/first"), domain.id("/second")]).then_some(())
    });
    let third = domain.register("/third", ["--hint", "default"]);
    eventually("an admin's default comes first", || {
        let last = updates(&watch).pop()?;
        (ids(&last).first() == Some(&domain.id("/third"))).then_some(())
    });
    let _ = domain.admin(["entry", "delete", &first, &third]).ok();
    eventually("the full set without what was deleted", || {
        let last = updates(&watch).pop()?;
        (ids(&last) == [domain.id("/second")]).then_some(())
    });
    let _ = domain.admin(["entry", "delete", &second]).ok();
    let status = eventually("the stream ends", || watch.ended());
    assert_eq!(status.code(), Some(1));
    assert!(
        watch.output().contains("no identity issued"),
        "{}",
        watch.output()
    );
}

#[test]
fn a_short_lived_svid_is_renewed_on_the_open_stream_before_it_expires() {
    let domain = Domain::start();
    domain.register("/service", ["--x509-ttl", "6"]);
    domain.await_svid("/service");
    let watch = watcher(&domain);
    let serials = eventually("three certificates", || {
        let serials: std::collections::BTreeSet<String> = updates(&watch)
            .iter()
            .map(|update| update["svids"][0]["serial"].as_str().unwrap().to_owned())
            .collect();
        (serials.len() >= 3).then_some(serials)
    });
    assert!(
        serials.iter().all(|serial| serial.len() >= 32),
        "128 bits at least: {serials:?}"
    );
}

#[test]
fn a_token_names_its_audience_and_is_refused_to_another() {
    let domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let svids = domain
        .fetch(["jwt", "--audience", "payments", "--json"])
        .ok()
        .json();
    assert_eq!(svids["svids"][0]["spiffe_id"], domain.id("/service"));
    let token = svids["svids"][0]["token"].as_str().unwrap();
    let keys = domain.fetch(["bundle", "--json"]).ok().json();
    let kid = &keys[0]["jwks"]["keys"][0]["kid"];
    let header = token.split('.').next().unwrap();
    assert!(kid.is_string() && !header.is_empty());
    let wrong = domain.fetch([
        "jwt",
        "--audience",
        "payments",
        "--spiffe-id",
        &domain.id("/other"),
    ]);
    assert_eq!(wrong.code, 1, "{}", wrong.err);
}

#[test]
fn a_path_selector_tells_two_programs_of_one_user_apart() {
    let domain = Domain::start();
    let other = domain.path("other-bulla");
    std::fs::copy(bulla_tests::program("bulla"), &other).unwrap();
    let selector = format!("unix:path:{}", other.display());
    domain.register("/other", ["--selector", &selector]);
    let run = || {
        let mut command = std::process::Command::new(&other);
        command.args([
            "fetch",
            "x509",
            "--json",
            "--workload-socket",
            &domain.endpoint(),
        ]);
        bulla_tests::Ran::of(&mut command)
    };
    eventually("the other program has its identity", || {
        (run().code == 0).then_some(())
    });
    assert_eq!(domain.fetch(["x509"]).code, 1, "this program has none");
}
