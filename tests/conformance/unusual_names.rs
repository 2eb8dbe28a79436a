//! SPIFFE-ID: names that look like addresses, or that no DNS would hold, and the
//! longest, each as a trust domain from issuing to verifying.

use bulla_tests::Domain;

use crate::foreign::{AUDIENCE, Foreign, leaf_params};
use crate::rows::{NOTHING, rows};
use crate::world::World;

#[test]
fn the_rows_of_unusual_names() {
    rows!(&NOTHING; id_8_21_any_name_is_an_ordinary_trust_domain);
}

fn id_8_21_any_name_is_an_ordinary_trust_domain((): &()) {
    for name in ["10.0.0.1", "my_td", "a..b", "-x-"] {
        issues_under(name);
    }
    federates_with_any();
}

/// The product's own trust domain, from issuing to verifying.
fn issues_under(name: &'static str) {
    let world = World::of(Domain::start_as(name));
    world.domain.register("/w", []);
    let id = format!("spiffe://{name}/w");
    assert_eq!(world.domain.await_svid("/w")["spiffe_id"], *id);
    let bundles = world.x509_bundles().unwrap().bundles;
    assert!(bundles.contains_key(&format!("spiffe://{name}")));
    let svid = world.x509().unwrap().svids.remove(0);
    let chain = crate::issued_x509::split(&svid.x509_svid);
    assert_eq!(world.check_chain(&chain), 200);
    assert!(world.handshake(&chain, &svid.x509_svid_key));
    let token = world.jwt(&["a"], "").unwrap().remove(0);
    assert_eq!(world.validate(&token.svid, "a").unwrap().spiffe_id, id);
}

fn federates_with_any() {
    let longest = format!("{}.{}", "l".repeat(200), "m".repeat(54));
    assert_eq!(longest.len(), 255);
    let world = World::start();
    for name in [
        "10.0.0.1",
        "my_td",
        "a..b",
        "-x-",
        &"n".repeat(200),
        &longest,
    ] {
        let foreign = Foreign::new(name);
        world.federate(&foreign.bundle(name));
        let ran = world
            .try_register(
                "spiffe://example.org/w",
                &[&format!("--federates-with={name}")],
            )
            .ok();
        let id = format!("spiffe://{name}/web");
        world.await_bundle(&format!("spiffe://{name}"), |der| der == foreign.root.der);
        let token = foreign.ec.token(|c| c["sub"] = id.as_str().into());
        assert_eq!(world.validate(&token, AUDIENCE).unwrap().spiffe_id, id);
        let pair = rcgen::KeyPair::generate().unwrap();
        let leaf = foreign.root.sign(&leaf_params(&id), &pair);
        assert_eq!(
            world.check_chain(std::slice::from_ref(&leaf)),
            200,
            "{name}"
        );
        assert!(world.handshake(&[leaf], &pair.serialize_der()), "{name}");
        world.delete(ran.json()["id"].as_str().unwrap());
    }
    let too_long = format!("{longest}x");
    assert_ne!(
        world
            .try_register(
                "spiffe://example.org/w",
                &[&format!("--federates-with={too_long}")]
            )
            .code,
        0
    );
    assert_ne!(
        world
            .try_register(&format!("spiffe://{too_long}/w"), &[])
            .code,
        0
    );
    let config = world.domain.path("long.toml");
    std::fs::write(&config, format!("trust_domain = \"{too_long}\"\n")).unwrap();
    let mut command = bulla_tests::bulla();
    command.args(["server", "--config"]).arg(&config);
    let ran = bulla_tests::Ran::of(&mut command);
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("255"), "{}", ran.err);
}
