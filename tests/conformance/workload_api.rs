//! The Workload API, as this process sees it while it has no identity, one, and
//! two, and while it federates.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Mutex;

use api::workload::X509svidResponse;
use bulla_tests::{Ran, eventually, program};
use prost::Message as _;
use tonic::Code;

use crate::foreign::{AUDIENCE, Foreign, NAME};
use crate::issued_x509::{parse, split, uri_sans};
use crate::rows::rows;
use crate::world::{World, code};

struct Caller {
    world: World,
    foreign: Foreign,
    /// Entries of this process, oldest first.
    entries: Mutex<Vec<String>>,
}

impl Caller {
    /// Registers one more identity, and waits for it.
    fn gain(&self, path: &str, hint: &str) {
        let entry = self.world.domain.register(path, ["--hint", hint]);
        self.entries.lock().unwrap().push(entry);
        let id = self.world.domain.id(path);
        eventually("the identity arrives", || {
            let svids = self.world.x509().ok()?.svids;
            svids.iter().any(|svid| svid.spiffe_id == id).then_some(())
        });
    }

    fn x509(&self) -> X509svidResponse {
        self.world.x509().unwrap()
    }
}

fn ids(response: &X509svidResponse) -> Vec<&str> {
    let svids = response.svids.iter();
    svids.map(|svid| svid.spiffe_id.as_str()).collect()
}

#[test]
fn the_agents_rows_of_the_workload_api() {
    let caller = Caller {
        world: World::start(),
        foreign: Foreign::new(NAME),
        entries: Mutex::default(),
    };
    rows!(&caller;
        wapi_24_not_entitled_is_permission_denied,
        wapi_28_42_no_bundles_without_an_identity,
        wapi_38_no_token_without_an_identity,
        wapi_49_wit_is_unimplemented_for_all,
    );
    caller.gain("/one", "internal");
    rows!(&caller;
        wapi_1_both_profiles_answer,
        wapi_2_the_api_is_not_extended,
        wapi_3_the_agent_finds_out_who_calls,
        wapi_8_9_each_request_is_answered_at_once,
        wapi_18_19_20_21_fields_are_set_and_der,
        wapi_27_30_40_bundles_have_the_own_trust_domain_by_its_id,
    );
    crate::workload_tokens::rows_with_one_identity(&caller.world);
    caller.gain("/two", "external");
    rows!(&caller;
        wapi_17_32_33_34_35_one_entry_for_each_identity,
        wapi_22_36_hints_are_unique,
        wapi_62_the_first_is_the_default_and_stays_it,
        wapi_63_hints_have_1024_bytes,
        wapi_6_7_messages_are_full_sets_sent_on_change,
        wapi_25_what_is_lost_is_left_out_and_the_last_ends_the_stream,
    );
}

fn wapi_24_not_entitled_is_permission_denied(caller: &Caller) {
    assert_eq!(code(caller.world.x509()), Code::PermissionDenied);
}

fn wapi_28_42_no_bundles_without_an_identity(caller: &Caller) {
    assert_eq!(code(caller.world.x509_bundles()), Code::PermissionDenied);
    assert_eq!(code(caller.world.jwt_bundles()), Code::PermissionDenied);
}

fn wapi_38_no_token_without_an_identity(caller: &Caller) {
    assert_eq!(code(caller.world.jwt(&["a"], "")), Code::PermissionDenied);
    let other = caller.world.domain.id("/node");
    assert_eq!(
        code(caller.world.jwt(&["a"], &other)),
        Code::PermissionDenied
    );
    let malformed = code(caller.world.jwt(&["a"], "spiffe://example.org/a/"));
    assert_eq!(malformed, Code::InvalidArgument);
}

fn wapi_49_wit_is_unimplemented_for_all(caller: &Caller) {
    for method in ["FetchWITSVID", "FetchWITBundles"] {
        let path = format!("/SpiffeWorkloadAPI/{method}");
        assert_eq!(caller.world.raw(&path, &["true"]), Code::Unimplemented);
    }
}

fn wapi_1_both_profiles_answer(caller: &Caller) {
    let world = &caller.world;
    world.x509().unwrap();
    world.x509_bundles().unwrap();
    world.jwt_bundles().unwrap();
    let token = world.jwt(&["a"], "").unwrap().remove(0);
    world.validate(&token.svid, "a").unwrap();
    wapi_49_wit_is_unimplemented_for_all(caller);
}

fn wapi_2_the_api_is_not_extended(caller: &Caller) {
    let unknown = caller.world.raw("/SpiffeWorkloadAPI/Foo", &["true"]);
    assert_eq!(unknown, Code::Unimplemented);
    let set = prost_types::FileDescriptorSet::decode(api::FILE_DESCRIPTOR_SET).unwrap();
    let file = set
        .file
        .iter()
        .find(|file| file.name() == "workload.proto")
        .unwrap();
    let methods: Vec<&str> = file.service[0].method.iter().map(|m| m.name()).collect();
    let expected: BTreeSet<&str> = [
        "FetchX509SVID",
        "FetchX509Bundles",
        "FetchJWTSVID",
        "FetchJWTBundles",
        "ValidateJWTSVID",
        "FetchWITSVID",
        "FetchWITBundles",
    ]
    .into();
    assert_eq!(methods.len(), 7);
    assert_eq!(methods.into_iter().collect::<BTreeSet<_>>(), expected);
    let svid = file
        .message_type
        .iter()
        .find(|m| m.name() == "X509SVID")
        .unwrap();
    let fields: Vec<(&str, i32)> = svid.field.iter().map(|f| (f.name(), f.number())).collect();
    let expected = [
        ("spiffe_id", 1),
        ("x509_svid", 2),
        ("x509_svid_key", 3),
        ("bundle", 4),
        ("hint", 5),
    ];
    assert_eq!(fields, expected);
}

fn wapi_3_the_agent_finds_out_who_calls(caller: &Caller) {
    // Another program of the same user, by its path.
    let world = &caller.world;
    let copy = world.domain.path("other-program");
    std::fs::copy(program("bulla"), &copy).unwrap();
    let selector = format!("unix:path:{}", copy.display());
    let (node, id) = (world.domain.id("/node"), world.domain.id("/by-path"));
    let args = [
        "entry",
        "create",
        "--spiffe-id",
        &id,
        "--parent-id",
        &node,
        "--selector",
        &selector,
    ];
    let created = world.domain.admin(args.into_iter().chain(["--json"])).ok();
    let theirs = eventually("the other program has its own and the user's", || {
        let mut command = Command::new(&copy);
        command
            .args(["fetch", "x509", "--json"])
            .env("SPIFFE_ENDPOINT_SOCKET", world.domain.endpoint());
        let ran = Ran::of(&mut command);
        (ran.code == 0 && ran.out.contains("/by-path")).then_some(ran.out)
    });
    assert!(theirs.contains("/one"));
    assert_eq!(ids(&caller.x509()), [world.domain.id("/one")]);
    // Saying who one is changes nothing.
    let mut client = world.client();
    let mut request = tonic::Request::new(api::workload::X509svidRequest {});
    for (name, value) in [
        ("pid", "1"),
        ("x-spiffe-id", "spiffe://example.org/by-path"),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let mut stream = world
        .wait(client.fetch_x509svid(request))
        .unwrap()
        .into_inner();
    assert_eq!(
        ids(&world.next(&mut stream).unwrap()),
        [world.domain.id("/one")]
    );
    world.delete(created.json()["id"].as_str().unwrap());
}

fn wapi_8_9_each_request_is_answered_at_once(caller: &Caller) {
    let mut first = caller.world.x509_stream().unwrap();
    let one = caller.world.next(&mut first).unwrap();
    let mut second = caller.world.x509_stream().unwrap();
    let two = caller.world.next(&mut second).unwrap();
    assert_eq!(one, two);
}

fn wapi_18_19_20_21_fields_are_set_and_der(caller: &Caller) {
    for svid in caller.x509().svids {
        let chain = split(&svid.x509_svid);
        assert_eq!(uri_sans(&chain[0]), std::slice::from_ref(&svid.spiffe_id));
        let bundle = split(&svid.bundle);
        let leaf = parse(&chain[0]);
        let is_signed = bundle.iter().any(|root| {
            let root = parse(root);
            leaf.verify_signature(Some(root.public_key())).is_ok()
        });
        assert!(is_signed || chain.len() > 1);
        // PKCS#8 of the leaf's own key.
        let key: Vec<u8> = svid.x509_svid_key.to_vec();
        let pair = rcgen::KeyPair::try_from(key).unwrap();
        let public = leaf.public_key().subject_public_key.data.to_vec();
        assert_eq!(pair.public_key_raw(), public);
        for field in [&svid.x509_svid, &svid.x509_svid_key, &svid.bundle] {
            assert_eq!(field[0], 0x30, "DER begins with a sequence");
        }
    }
}

fn wapi_27_30_40_bundles_have_the_own_trust_domain_by_its_id(caller: &Caller) {
    let Caller { world, foreign, .. } = caller;
    let x509 = world.x509_bundles().unwrap().bundles;
    let jwt = world.jwt_bundles().unwrap().bundles;
    assert!(!x509["spiffe://example.org"].is_empty());
    assert!(!jwt["spiffe://example.org"].is_empty());
    world.federate(&foreign.bundle(NAME));
    let ran = world
        .try_register("spiffe://example.org/wf", &["--federates-with", NAME])
        .ok();
    world.await_bundle("spiffe://f.test", |der| der == foreign.root.der);
    let federated = eventually("the SVID comes with it", || {
        let federated = world.x509().ok()?.federated_bundles;
        (!federated.is_empty()).then_some(federated)
    });
    let keys: Vec<&String> = federated.keys().collect();
    assert_eq!(keys, ["spiffe://f.test"]);
    let keys: Vec<String> = world.jwt_bundles().unwrap().bundles.into_keys().collect();
    assert_eq!(keys, ["spiffe://example.org", "spiffe://f.test"]);
    let token = foreign.ec.token(|_| ());
    assert!(world.validate(&token, AUDIENCE).is_ok());
    world.delete(ran.json()["id"].as_str().unwrap());
    eventually("and goes with it", || {
        let answer = world.x509().ok()?;
        let is_gone = answer.svids.len() == 1 && answer.federated_bundles.is_empty();
        is_gone.then_some(())
    });
}

fn wapi_17_32_33_34_35_one_entry_for_each_identity(caller: &Caller) {
    let world = &caller.world;
    let both = [world.domain.id("/one"), world.domain.id("/two")];
    assert_eq!(ids(&caller.x509()), both);
    let tokens = world.jwt(&["a"], "").unwrap();
    let of: Vec<&str> = tokens
        .iter()
        .map(|token| token.spiffe_id.as_str())
        .collect();
    assert_eq!(of, both);
    assert!(tokens.iter().all(|token| !token.svid.is_empty()));
    let second = world.jwt(&["a"], &both[1]).unwrap();
    assert_eq!((second.len(), &second[0].spiffe_id), (1, &both[1]));
}

fn wapi_22_36_hints_are_unique(caller: &Caller) {
    // A third identity with the hint of the first.
    let world = &caller.world;
    let ran = world.try_register("spiffe://example.org/three", &["--hint", "internal"]);
    if ran.code != 0 {
        return;
    }
    let id = ran.json()["id"].as_str().unwrap().to_owned();
    // What comes after it has arrived, so it has too.
    let marker = world.domain.register("/marker", ["--hint", "marker"]);
    eventually("the agent knows of both", || {
        let hints = world.x509().ok()?.svids;
        hints.iter().any(|svid| svid.hint == "marker").then_some(())
    });
    let is_unique = |hints: Vec<String>| {
        let set: Vec<&String> = hints.iter().filter(|hint| !hint.is_empty()).collect();
        set.len() == set.iter().collect::<BTreeSet<_>>().len()
    };
    let x509 = caller.x509().svids;
    assert!(is_unique(x509.into_iter().map(|svid| svid.hint).collect()));
    let jwt = world.jwt(&["a"], "").unwrap();
    assert!(is_unique(jwt.into_iter().map(|svid| svid.hint).collect()));
    world.delete(&id);
    world.delete(&marker);
    eventually("both are gone", || {
        (world.x509().ok()?.svids.len() == 2).then_some(())
    });
}

fn wapi_62_the_first_is_the_default_and_stays_it(caller: &Caller) {
    let first = caller.world.domain.id("/one");
    for _ in 0..3 {
        assert_eq!(caller.x509().svids[0].spiffe_id, first);
        assert_eq!(caller.world.jwt(&["a"], "").unwrap()[0].spiffe_id, first);
    }
}

fn wapi_63_hints_have_1024_bytes(caller: &Caller) {
    let world = &caller.world;
    // Bytes, not characters.
    let (fits, long) = ("\u{e9}".repeat(512), format!("{}x", "\u{e9}".repeat(512)));
    assert_ne!(
        world
            .try_register("spiffe://example.org/h", &["--hint", &long])
            .code,
        0
    );
    let ran = world
        .try_register("spiffe://example.org/h", &["--hint", &fits])
        .ok();
    eventually("the hint arrives whole", || {
        let svids = world.x509().ok()?.svids;
        svids.iter().any(|svid| svid.hint == fits).then_some(())
    });
    world.delete(ran.json()["id"].as_str().unwrap());
    eventually("it is gone", || {
        (world.x509().ok()?.svids.len() == 2).then_some(())
    });
}

fn wapi_6_7_messages_are_full_sets_sent_on_change(caller: &Caller) {
    let world = &caller.world;
    let mut stream = world.x509_stream().unwrap();
    let before = world.next(&mut stream).unwrap();
    assert_eq!(before.svids.len(), 2);
    // The next message comes because something changed, and has all there is.
    let entry = world.domain.register("/six", ["--x509-ttl", "6"]);
    let mut after = world.next(&mut stream).unwrap();
    while after.svids.len() != 3 {
        after = world.next(&mut stream).unwrap();
    }
    let renewed = world.next(&mut stream).unwrap();
    assert_eq!(ids(&renewed), ids(&after));
    assert_eq!(renewed.svids[0].x509_svid, before.svids[0].x509_svid);
    assert_ne!(renewed.svids[2].x509_svid, after.svids[2].x509_svid);
    assert!(renewed.svids.iter().all(|svid| !svid.bundle.is_empty()));
    world.delete(&entry);
    let mut last = world.next(&mut stream).unwrap();
    while last.svids.len() != 2 {
        last = world.next(&mut stream).unwrap();
    }
}

fn wapi_25_what_is_lost_is_left_out_and_the_last_ends_the_stream(caller: &Caller) {
    let world = &caller.world;
    let mut stream = world.x509_stream().unwrap();
    assert_eq!(world.next(&mut stream).unwrap().svids.len(), 2);
    let entries = caller.entries.lock().unwrap().clone();
    world.delete(&entries[0]);
    assert_eq!(
        ids(&world.next(&mut stream).unwrap()),
        [world.domain.id("/two")]
    );
    world.delete(&entries[1]);
    assert_eq!(code(world.next(&mut stream)), Code::PermissionDenied);
}
