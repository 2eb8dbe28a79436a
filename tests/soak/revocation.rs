//! How long a revoked token is still good on another node: less than a second, as
//! docs/revocation.md promises.

use std::time::Duration;

use bulla_tests::{Domain, OtherNode, eventually, moment};
use serde_json::json;

const REVOCATIONS: usize = 10;
const PROMISED: Duration = Duration::from_secs(1);

/// Revokes a token that the other node's agent vouches for; how long after the command
/// has returned it is refused there.
fn revoke_one(domain: &Domain, other: &OtherNode) -> Duration {
    let (body, checked) = eventually("a token that the other node's agent vouches for", || {
        let answer = domain.fetch(["jwt", "--audience", "db", "--json"]).ok();
        let body = json!({ "token": answer.json()["svids"][0]["token"], "audience": "db" });
        let (status, checked) = other.check(&body);
        (status == 200).then_some((body, checked))
    });
    let jti = checked["claims"]["jti"].as_str().unwrap();
    let _ = domain
        .admin(["revoke", "jti", jti, "--reason", "a test"])
        .ok();
    let start = moment();
    eventually("the other node's agent refuses", || {
        (other.check(&body).0 == 422).then_some(())
    });
    start.elapsed().unwrap_or_default()
}

#[test]
fn a_revocation_reaches_another_node_within_a_second() {
    let _turn = super::TURN.blocking_lock();
    let domain = Domain::start();
    domain.register("/api", []);
    domain.await_svid("/api");
    let other = OtherNode::join(&domain);
    let mut took: Vec<_> = (0..REVOCATIONS)
        .map(|_| revoke_one(&domain, &other))
        .collect();
    took.sort_unstable();
    println!("revoked tokens were refused on another node after {took:?}");
    let slowest = took.last().unwrap();
    assert!(*slowest < PROMISED, "one was good for {slowest:?} more");
}
