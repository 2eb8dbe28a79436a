//! SPIFFE-ID: what is an ID, when one is registered, issued, and read in tokens
//! and certificates of others.

use bulla_tests::{Domain, eventually};
use tonic::Code;

use crate::foreign::{AUDIENCE, Ca, Foreign, ID, NAME, leaf_params};
use crate::rows::rows;
use crate::world::{World, code};

struct Ids {
    world: World,
    foreign: Foreign,
}

impl Ids {
    /// No registration and no token of `f.test` takes the ID. `{}` stands for the
    /// trust domain.
    #[track_caller]
    fn refused(&self, forms: &[&str]) {
        for form in forms {
            let id = form.replace("{}", Domain::NAME);
            let ran = self.world.try_register(&id, &[]);
            assert_ne!(ran.code, 0, "{id:?} was registered");
            let sub = form.replace("{}", NAME);
            let token = self.foreign.ec.token(|c| c["sub"] = sub.as_str().into());
            let refused = code(self.world.validate(&token, AUDIENCE));
            assert_eq!(refused, Code::InvalidArgument, "{sub:?}");
        }
    }

    /// No certificate of `f.test` with this ID is accepted.
    #[track_caller]
    fn refused_in_certificates(&self, forms: &[&str]) {
        for form in forms {
            let id = form.replace("{}", NAME);
            let pair = rcgen::KeyPair::generate().unwrap();
            let leaf = self.foreign.root.sign(&leaf_params(&id), &pair);
            assert_ne!(self.world.check_chain(&[leaf]), 200, "{id:?}");
        }
    }

    /// Registers, and takes away again, what is an ID; a token with it is valid.
    #[track_caller]
    fn accepted(&self, paths: &[&str]) {
        for path in paths {
            let id = format!("spiffe://{}{path}", Domain::NAME);
            let ran = self.world.try_register(&id, &[]).ok();
            self.world.delete(ran.json()["id"].as_str().unwrap());
            let sub = format!("spiffe://{NAME}{path}");
            let token = self.foreign.ec.token(|c| c["sub"] = sub.as_str().into());
            let valid = self.world.validate(&token, AUDIENCE).unwrap();
            assert_eq!(valid.spiffe_id, sub);
        }
    }
}

#[test]
fn the_rows_of_spiffe_id() {
    let world = World::start();
    let foreign = Foreign::new(NAME);
    world.federate(&foreign.bundle(NAME));
    world.domain.register("/wf", ["--federates-with", NAME]);
    world.await_bundle("spiffe://f.test", |der| der == foreign.root.der);
    let ids = Ids { world, foreign };
    rows!(&ids;
        id_1_the_scheme_is_spiffe,
        id_2_there_is_a_trust_domain,
        id_3_there_is_no_query_and_no_fragment,
        id_4_there_is_no_user_and_no_port,
        id_5_20_hosts_are_lowercase_and_paths_are_not_folded,
        id_6_7_hosts_have_few_characters_and_no_escapes,
        id_9_12_paths_have_few_characters_and_no_escapes,
        id_10_segments_are_not_empty_and_no_dots,
        id_11_there_is_no_trailing_slash,
        id_13_14_long_ids_are_served_and_no_more,
        id_15_16_17_the_authority_has_the_id_of_its_trust_domain,
        id_18_id_and_key_are_in_the_signed_part,
        id_19_other_documents_do_not_count,
        id_22_an_authority_speaks_for_its_own_trust_domain_alone,
    );
}

fn id_1_the_scheme_is_spiffe(ids: &Ids) {
    ids.refused(&[
        "http://{}/x",
        "https://{}/x",
        "spiff://{}/x",
        "//{}/x",
        "{}/x",
    ]);
    ids.refused_in_certificates(&["https://{}/x"]);
    let svid = ids.world.x509().unwrap().svids.remove(0);
    assert!(svid.spiffe_id.starts_with("spiffe://"));
}

fn id_2_there_is_a_trust_domain(ids: &Ids) {
    ids.refused(&[
        "spiffe:///x",
        "spiffe://",
        "spiffe:/{}/x",
        "spiffe:{}/x",
        "",
    ]);
}

fn id_3_there_is_no_query_and_no_fragment(ids: &Ids) {
    let forms = [
        "spiffe://{}/x?a=b",
        "spiffe://{}/x?",
        "spiffe://{}/x#f",
        "spiffe://{}/x#",
    ];
    ids.refused(&forms);
    ids.refused_in_certificates(&forms);
}

fn id_4_there_is_no_user_and_no_port(ids: &Ids) {
    let forms = [
        "spiffe://u@{}/x",
        "spiffe://u:p@{}/x",
        "spiffe://{}:443/x",
        "spiffe://{}:/x",
        "spiffe://@{}/x",
    ];
    ids.refused(&forms);
    ids.refused_in_certificates(&forms);
}

fn id_5_20_hosts_are_lowercase_and_paths_are_not_folded(ids: &Ids) {
    // In what others issue, another spelling is refused, never a second domain.
    for sub in [
        "spiffe://F.test/web",
        "spiffe://F.TEST/web",
        "SPIFFE://f.test/web",
    ] {
        let token = ids.foreign.ec.token(|c| c["sub"] = sub.into());
        assert_eq!(
            code(ids.world.validate(&token, AUDIENCE)),
            Code::InvalidArgument
        );
    }
    // What a person types is folded, or refused; it is never kept as it was.
    let upper = ids.world.try_register("spiffe://EXAMPLE.org/fold", &[]);
    let listed = ids.world.domain.admin(["entry", "list", "--json"]).ok();
    assert!(!listed.out.contains("EXAMPLE"), "{}", listed.out);
    if upper.code == 0 {
        ids.world.delete(upper.json()["id"].as_str().unwrap());
    }
    let one = ids
        .world
        .try_register("spiffe://example.org/case", &[])
        .ok();
    let other = ids
        .world
        .try_register("spiffe://example.org/CASE", &[])
        .ok();
    assert_ne!(one.json()["id"], other.json()["id"]);
    for ran in [one, other] {
        ids.world.delete(ran.json()["id"].as_str().unwrap());
    }
}

fn id_6_7_hosts_have_few_characters_and_no_escapes(ids: &Ids) {
    for host in [
        "f.test$",
        "f~test",
        "[::1]",
        "f test",
        "f.t\u{e9}st",
        "f.test\u{0}",
        "f%2etest",
    ] {
        let sub = format!("spiffe://{host}/web");
        let token = ids.foreign.ec.token(|c| c["sub"] = sub.as_str().into());
        assert_eq!(
            code(ids.world.validate(&token, AUDIENCE)),
            Code::InvalidArgument
        );
        if !host.contains('\0') {
            assert_ne!(
                ids.world
                    .try_register(&sub, &["--federates-with", host])
                    .code,
                0
            );
        }
    }
    for host in ["my_td", "a-b", "a..b", "..", "1.2.3.4"] {
        ids.world.federate(&ids.foreign.bundle(host));
        let ran = ids
            .world
            .try_register("spiffe://example.org/h", &["--federates-with", host])
            .ok();
        ids.world.delete(ran.json()["id"].as_str().unwrap());
    }
}

fn id_9_12_paths_have_few_characters_and_no_escapes(ids: &Ids) {
    ids.refused(&["spiffe://{}/a%2Fb", "spiffe://{}/%61"]);
    for character in [
        '~', '+', ':', '@', '!', '$', '&', ',', ';', '=', ' ', '\u{e9}', '*', '\\',
    ] {
        ids.refused(&[&format!("spiffe://{{}}/a{character}b")]);
    }
    ids.accepted(&["/a-z_A.Z09"]);
}

fn id_10_segments_are_not_empty_and_no_dots(ids: &Ids) {
    let forms = [
        "spiffe://{}//a",
        "spiffe://{}/a//b",
        "spiffe://{}/./a",
        "spiffe://{}/a/..",
        "spiffe://{}/..",
    ];
    ids.refused(&forms);
    ids.refused_in_certificates(&forms);
    ids.accepted(&["/...", "/.a", "/a."]);
}

fn id_11_there_is_no_trailing_slash(ids: &Ids) {
    ids.refused(&["spiffe://{}/a/", "spiffe://{}/"]);
    ids.refused_in_certificates(&["spiffe://{}/a/", "spiffe://{}/"]);
    let bundles = ids.world.x509_bundles().unwrap().bundles;
    assert!(bundles.keys().all(|key| !key.ends_with('/')));
}

fn id_13_14_long_ids_are_served_and_no_more(ids: &Ids) {
    let path = format!("/{}", "p".repeat(2048 - "spiffe://example.org/".len()));
    let id = ids.world.domain.id(&path);
    assert_eq!(id.len(), 2048);
    assert_ne!(ids.world.try_register(&format!("{id}p"), &[]).code, 0);
    let ran = ids.world.try_register(&id, &[]).ok();
    let entry = ran.json()["id"].as_str().unwrap().to_owned();
    let listed = ids
        .world
        .domain
        .admin(["entry", "show", &entry, "--json"])
        .ok();
    assert_eq!(listed.json()["spiffe_id"], *id);
    eventually("the long identity is issued", || {
        let svids = ids.world.x509().ok()?.svids;
        svids.iter().any(|svid| svid.spiffe_id == id).then_some(())
    });
    let token = &ids.world.jwt(&["a"], &id).unwrap()[0];
    assert_eq!(token.spiffe_id, id);
    assert_eq!(ids.world.validate(&token.svid, "a").unwrap().spiffe_id, id);
    ids.world.delete(&entry);
}

fn id_15_16_17_the_authority_has_the_id_of_its_trust_domain(ids: &Ids) {
    for der in crate::issued_x509::authorities(&ids.world) {
        assert_eq!(crate::issued_x509::uri_sans(&der), ["spiffe://example.org"]);
    }
}

fn id_18_id_and_key_are_in_the_signed_part(ids: &Ids) {
    let token = ids.foreign.ec.token(|_| ());
    assert!(ids.world.validate(&token, AUDIENCE).is_ok());
    let mut parts: Vec<&str> = token.split('.').collect();
    let claims = String::from_utf8(crate::foreign::from_b64(parts[1])).unwrap();
    let other = crate::foreign::b64(claims.replace("f.test/web", "f.test/wab"));
    parts[1] = &other;
    assert_eq!(
        code(ids.world.validate(&parts.join("."), AUDIENCE)),
        Code::InvalidArgument
    );
    let pair = rcgen::KeyPair::generate().unwrap();
    let leaf = ids.foreign.root.sign(&leaf_params(ID), &pair);
    assert_eq!(ids.world.check_chain(std::slice::from_ref(&leaf)), 200);
    let id = b"spiffe://f.test/web";
    let at = leaf
        .windows(id.len())
        .position(|window| window == id)
        .unwrap();
    let mut flipped = leaf.clone();
    flipped[at + id.len() - 1] ^= 1;
    assert_ne!(ids.world.check_chain(&[flipped]), 200);
    let key = pair.public_key_raw();
    let at = leaf
        .windows(key.len())
        .position(|window| window == key)
        .unwrap();
    let mut flipped = leaf;
    flipped[at + 20] ^= 1;
    assert_ne!(ids.world.check_chain(&[flipped]), 200);
}

fn id_19_other_documents_do_not_count(ids: &Ids) {
    let good = ids.foreign.ec.token(|_| ());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else {
        panic!("no compact token");
    };
    let json =
        format!(r#"{{"payload":"{payload}","protected":"{header}","signature":"{signature}"}}"#);
    let oidc = ids.foreign.ec.token(|c| c["sub"] = "alice".into());
    let jwe = format!("{header}.{payload}.{signature}.{payload}.{signature}");
    for document in [json.as_str(), &oidc, &jwe, "v4.public.AAAA", "x"] {
        assert_eq!(
            code(ids.world.validate(document, AUDIENCE)),
            Code::InvalidArgument
        );
    }
}

fn id_22_an_authority_speaks_for_its_own_trust_domain_alone(ids: &Ids) {
    let ours = ids.world.domain.id("/wf");
    let token = ids.foreign.ec.token(|c| c["sub"] = ours.as_str().into());
    assert_eq!(
        code(ids.world.validate(&token, AUDIENCE)),
        Code::InvalidArgument
    );
    let pair = rcgen::KeyPair::generate().unwrap();
    let leaf = ids.foreign.root.sign(&leaf_params(&ours), &pair);
    assert_ne!(ids.world.check_chain(std::slice::from_ref(&leaf)), 200);
    assert!(!ids.world.handshake(&[leaf], &pair.serialize_der()));
    // Nor does another authority speak for f.test.
    let stranger = Ca::root(NAME).sign(&leaf_params(ID), &pair);
    assert_ne!(ids.world.check_chain(&[stranger]), 200);
}
