//! X509-SVID, the validator's duties: certificates of `f.test`, shown to the
//! server's API port in a TLS handshake and to the agent's check.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType,
};
use serde_json::json;

use crate::foreign::{
    Ca, Foreign, HOUR, ID, NAME, ca_params, leaf_params, san, standard_base64, valid,
};
use crate::rows::rows;
use crate::world::World;

struct Validator {
    world: World,
    foreign: Foreign,
}

impl Validator {
    /// XV: both places must agree.
    #[track_caller]
    fn verdict(&self, leaf: &CertificateParams, issuer: &Ca, rest: &[&[u8]]) -> bool {
        let pair = KeyPair::generate().unwrap();
        let mut chain = vec![issuer.sign(leaf, &pair)];
        chain.extend(rest.iter().map(|der| der.to_vec()));
        let checked = self.world.check_chain(&chain) == 200;
        let connected = self.world.handshake(&chain, &pair.serialize_der());
        assert_eq!(
            checked, connected,
            "the agent's check and the server's handshake"
        );
        checked
    }

    #[track_caller]
    fn refused(&self, edit: impl FnOnce(&mut CertificateParams)) {
        let mut leaf = leaf_params(ID);
        edit(&mut leaf);
        assert!(!self.verdict(&leaf, &self.foreign.root, &[]));
    }

    /// A good leaf below an intermediate.
    fn below(&self, edit: impl FnOnce(&mut CertificateParams)) -> bool {
        let mut params = ca_params(NAME, "intermediate");
        edit(&mut params);
        let intermediate = self.foreign.root.intermediate(params);
        self.verdict(&leaf_params(ID), &intermediate, &[&intermediate.der])
    }
}

#[test]
fn the_validators_rows_of_x509_svid() {
    let (world, foreign) = Foreign::federated();
    let validator = Validator { world, foreign };
    rows!(&validator;
        x509_2_21_22_leaves_have_one_spiffe_id_with_a_path,
        x509_8_19_authorities_do_not_authenticate,
        x509_18_paths_are_those_of_rfc_5280,
        x509_20_leaves_do_not_sign,
        x509_28_29_the_first_certificate_of_a_bundle_entry_counts,
        x509_31_a_bundle_without_authorities_verifies_nothing,
        x509_32_names_inside_a_constraint_are_accepted_and_no_others,
    );
}

fn x509_2_21_22_leaves_have_one_spiffe_id_with_a_path(validator: &Validator) {
    assert!(validator.verdict(&leaf_params(ID), &validator.foreign.root, &[]));
    for second in ["https://x.test", "spiffe://f.test/b"] {
        validator.refused(|leaf| leaf.subject_alt_names.push(san(second)));
        validator.refused(|leaf| leaf.subject_alt_names.insert(0, san(second)));
    }
    // Names of other kinds are free.
    let mut named = leaf_params(ID);
    let dns = "web.f.test".to_owned().try_into().unwrap();
    named.subject_alt_names.push(SanType::DnsName(dns));
    assert!(validator.verdict(&named, &validator.foreign.root, &[]));
    for uri in ["https://f.test/a", "spiffe://f.test", "spiffe://f.test/"] {
        validator.refused(|leaf| leaf.subject_alt_names = vec![san(uri)]);
    }
    validator.refused(|leaf| leaf.subject_alt_names.clear());
}

fn x509_8_19_authorities_do_not_authenticate(validator: &Validator) {
    let root = &validator.foreign.root;
    let chain = [root.der.clone()];
    assert_ne!(validator.world.check_chain(&chain), 200);
    assert!(
        !validator
            .world
            .handshake(&chain, &root.pair.serialize_der())
    );
    validator.refused(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
}

fn x509_18_paths_are_those_of_rfc_5280(validator: &Validator) {
    validator.refused(|leaf| valid(leaf, -2 * HOUR, -HOUR));
    validator.refused(|leaf| valid(leaf, HOUR, 2 * HOUR));
    assert!(validator.below(|_| ()), "a good chain with an intermediate");
    assert!(
        !validator.below(|ca| valid(ca, -2 * HOUR, -HOUR)),
        "expired"
    );
    assert!(
        !validator.below(|ca| ca.is_ca = IsCa::ExplicitNoCa),
        "no authority"
    );
    assert!(
        !validator.below(|ca| ca.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        "may not sign"
    );
    // The intermediate is not sent.
    let root = &validator.foreign.root;
    let intermediate = root.intermediate(ca_params(NAME, "intermediate"));
    assert!(!validator.verdict(&leaf_params(ID), &intermediate, &[]));
    // Two below one that allows none.
    let mut params = ca_params(NAME, "first");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let first = root.intermediate(params);
    let second = first.intermediate(ca_params(NAME, "second"));
    assert!(!validator.verdict(&leaf_params(ID), &second, &[&second.der, &first.der]));
    // An extension that nobody knows and nobody may skip.
    validator.refused(|leaf| {
        let mut unknown =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        unknown.set_criticality(true);
        leaf.custom_extensions.push(unknown);
    });
    // Another root of the same name; a flipped signature.
    assert!(!validator.verdict(&leaf_params(ID), &Ca::root(NAME), &[]));
    let mut leaf = root.sign(&leaf_params(ID), &KeyPair::generate().unwrap());
    let last = leaf.len() - 1;
    leaf[last] ^= 1;
    assert_ne!(validator.world.check_chain(&[leaf]), 200);
}

fn x509_20_leaves_do_not_sign(validator: &Validator) {
    for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
        validator.refused(|leaf| leaf.key_usages.push(usage));
    }
}

/// As a consumer: `bulla bundle append` reads a document, and workloads are given what
/// it took.
fn x509_28_29_the_first_certificate_of_a_bundle_entry_counts(validator: &Validator) {
    let world = &validator.world;
    let id = world.domain.id("/x");
    let own = id.trim_start_matches("spiffe://").trim_end_matches("/x");
    let [first, second] = [0, 1].map(|_| Ca::root(own).der);
    let entry = |x5c: serde_json::Value| json!({"use": "x509-svid", "kty": "EC", "x5c": x5c});
    let document = json!({"keys": [
        {"use": "x509-svid", "kty": "EC"},
        entry(json!([])),
        entry(json!([standard_base64(&first), standard_base64(&second)])),
    ]});
    let file = world.domain.path("more.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let appended = world
        .domain
        .admin(["bundle", "append", file.to_str().unwrap()]);
    assert_eq!(appended.code, 0, "{}", appended.err);
    let holds = |bundle: &[u8], der: &[u8]| bundle.windows(der.len()).any(|part| part == der);
    let own = format!("spiffe://{own}");
    world.await_bundle(&own, |bundle| holds(bundle, &first));
    assert!(!holds(
        &world.x509_bundles().unwrap().bundles[&own],
        &second
    ));
}

fn x509_31_a_bundle_without_authorities_verifies_nothing(validator: &Validator) {
    let Validator { world, foreign } = validator;
    let pair = KeyPair::generate().unwrap();
    let chain = [foreign.root.sign(&leaf_params(ID), &pair)];
    assert_eq!(world.check_chain(&chain), 200);
    let mut bundle = foreign.bundle(NAME);
    bundle.x509_authorities.clear();
    bundle.sequence += 1;
    world.federate(&bundle);
    bulla_tests::eventually("certificates are no longer of that trust domain", || {
        (world.check_chain(&chain) != 200).then_some(())
    });
    assert!(!world.handshake(&chain, &pair.serialize_der()));
    let bundles = world.x509_bundles().unwrap().bundles;
    assert!(
        bundles
            .get("spiffe://f.test")
            .is_none_or(|der| der.is_empty())
    );
    let mut bundle = foreign.bundle(NAME);
    bundle.sequence += 2;
    world.federate(&bundle);
    world.await_bundle("spiffe://f.test", |der| der == foreign.root.der);
}

fn x509_32_names_inside_a_constraint_are_accepted_and_no_others(validator: &Validator) {
    let constrained = |permitted: &str| {
        validator.below(|ca| {
            ca.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(permitted.to_owned())],
                excluded_subtrees: Vec::new(),
            });
        })
    };
    // A constraint on other kinds of names says nothing of a SPIFFE ID.
    assert!(constrained("f.test"));
    // On URIs (tag 6 of a general name): the host is the trust domain.
    for (host, inside) in [("f.test", true), ("other.test", false), (".f.test", false)] {
        let mut subtree = vec![0x86, u8::try_from(host.len()).unwrap()];
        subtree.extend_from_slice(host.as_bytes());
        let wrap = |tag: u8, content: &[u8]| {
            let mut out = vec![tag, u8::try_from(content.len()).unwrap()];
            out.extend_from_slice(content);
            out
        };
        let constraints = wrap(0x30, &wrap(0xa0, &wrap(0x30, &subtree)));
        let is_accepted = validator.below(|ca| {
            let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], constraints);
            extension.set_criticality(true);
            ca.custom_extensions.push(extension);
        });
        assert_eq!(is_accepted, inside, "{host}");
    }
}
