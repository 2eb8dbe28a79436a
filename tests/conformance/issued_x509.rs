//! X509-SVID, the issuer's duties: every certificate that comes out of the
//! product, leaves and authorities, and the bundle document.

use bulla_tests::{Domain, eventually};
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::prelude::FromDer;

use crate::foreign::from_standard;
use crate::rows::rows;
use crate::world::World;

struct Issued {
    world: World,
    /// The leaves of a workload (one with DNS names), and the server's own.
    leaves: Vec<Vec<u8>>,
    authorities: Vec<Vec<u8>>,
    keys: Vec<Value>,
}

pub(crate) fn parse(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

/// Certificates that follow one another.
pub(crate) fn split(mut der: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !der.is_empty() {
        let (rest, _) = X509Certificate::from_der(der).unwrap();
        all.push(der[..der.len() - rest.len()].to_vec());
        der = rest;
    }
    all
}

pub(crate) fn uri_sans(der: &[u8]) -> Vec<String> {
    let certificate = parse(der);
    let san = certificate.subject_alternative_name().unwrap().unwrap();
    let names = san.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect()
}

/// The X.509 authorities in the bundle.
pub(crate) fn authorities(world: &World) -> Vec<Vec<u8>> {
    let bundles = world.x509_bundles().unwrap().bundles;
    split(&bundles[&format!("spiffe://{}", Domain::NAME)])
}

fn key_usage(der: &[u8]) -> (bool, KeyUsage) {
    let certificate = parse(der);
    let usage = certificate
        .key_usage()
        .unwrap()
        .expect("key usage is there");
    (usage.critical, *usage.value)
}

#[test]
fn the_issuers_rows_of_x509_svid() {
    let world = World::start();
    world.domain.register("/plain", []);
    world
        .domain
        .register("/named", ["--dns-name", "named.example.org"]);
    let svids = eventually("both are issued", || {
        let svids = world.x509().ok()?.svids;
        (svids.len() == 2).then_some(svids)
    });
    let mut leaves: Vec<Vec<u8>> = svids
        .iter()
        .map(|svid| split(&svid.x509_svid).remove(0))
        .collect();
    leaves.push(server_leaf(&world));
    let document = world.bundle_document();
    let issued = Issued {
        leaves,
        authorities: authorities(&world),
        keys: document["keys"].as_array().unwrap().clone(),
        world,
    };
    rows!(&issued;
        x509_1_there_is_one_uri_name,
        x509_3_leaves_have_a_path,
        x509_4_names_are_critical_where_the_subject_is_empty,
        x509_5_6_7_authorities_have_the_id_of_the_trust_domain,
        x509_9_10_authorities_may_sign_and_leaves_may_not,
        x509_11_12_13_14_15_30_key_usages_are_there_critical_and_apart,
        x509_16_17_leaves_serve_and_call,
        x509_23_24_25_26_27_the_bundle_document_has_one_entry_for_each_authority,
    );
}

/// What the server shows a client.
fn server_leaf(world: &World) -> Vec<u8> {
    let address = format!("127.0.0.1:{}", world.domain.port());
    let (config, captured) = channel::capture_config().unwrap();
    let options = channel::ChannelOptions::default();
    let _channel = world
        .wait(channel::tls_channel(&address, config, &options))
        .unwrap();
    captured.chain().unwrap()[0].to_vec()
}

fn x509_1_there_is_one_uri_name(issued: &Issued) {
    for der in issued.leaves.iter().chain(&issued.authorities) {
        assert_eq!(uri_sans(der).len(), 1);
    }
}

fn x509_3_leaves_have_a_path(issued: &Issued) {
    for der in &issued.leaves {
        let id = uri_sans(der).remove(0);
        assert!(
            id.starts_with("spiffe://example.org/") && id.len() > 21,
            "{id}"
        );
    }
    assert_ne!(
        issued.world.try_register("spiffe://example.org", &[]).code,
        0
    );
}

fn x509_4_names_are_critical_where_the_subject_is_empty(issued: &Issued) {
    // Leaves have a subject always, so that the rule has nothing to bite on.
    for der in &issued.leaves {
        let certificate = parse(der);
        let san = certificate.subject_alternative_name().unwrap().unwrap();
        let is_empty = certificate.subject().iter_attributes().next().is_none();
        assert!(!is_empty || san.critical);
    }
}

fn x509_5_6_7_authorities_have_the_id_of_the_trust_domain(issued: &Issued) {
    assert!(!issued.authorities.is_empty());
    for der in &issued.authorities {
        assert_eq!(uri_sans(der), ["spiffe://example.org"]);
    }
}

fn x509_9_10_authorities_may_sign_and_leaves_may_not(issued: &Issued) {
    let constraints = |der: &[u8]| {
        let certificate = parse(der);
        let explicit = certificate.basic_constraints().unwrap();
        explicit.expect("basic constraints are there").value.ca
    };
    assert!(issued.authorities.iter().all(|der| constraints(der)));
    assert!(!issued.leaves.iter().any(|der| constraints(der)));
}

fn x509_11_12_13_14_15_30_key_usages_are_there_critical_and_apart(issued: &Issued) {
    for der in &issued.authorities {
        let (critical, usage) = key_usage(der);
        assert!(critical && usage.key_cert_sign());
        let of_leaves = usage.digital_signature() || usage.key_encipherment();
        assert!(!of_leaves && !usage.key_agreement(), "{usage}");
    }
    for der in &issued.leaves {
        let (critical, usage) = key_usage(der);
        assert!(critical && usage.digital_signature());
        assert!(!usage.key_cert_sign() && !usage.crl_sign(), "{usage}");
    }
}

fn x509_16_17_leaves_serve_and_call(issued: &Issued) {
    for der in &issued.leaves {
        let certificate = parse(der);
        let usages = certificate.extended_key_usage().unwrap();
        let usages = usages.expect("extended key usage is there").value;
        assert!(usages.server_auth && usages.client_auth);
    }
}

fn x509_23_24_25_26_27_the_bundle_document_has_one_entry_for_each_authority(issued: &Issued) {
    let entries: Vec<&Value> = issued
        .keys
        .iter()
        .filter(|key| key["use"] == "x509-svid")
        .collect();
    assert_eq!(entries.len(), issued.authorities.len());
    for (entry, expected) in entries.iter().zip(&issued.authorities) {
        assert!(entry.get("kid").is_none());
        let chain = entry["x5c"].as_array().unwrap();
        assert_eq!(chain.len(), 1);
        let der = from_standard(chain[0].as_str().unwrap());
        assert_eq!(der, *expected);
        let certificate = parse(&der);
        assert_eq!(certificate.issuer(), certificate.subject());
        let point = certificate.public_key().subject_public_key.data.to_vec();
        assert_eq!(entry["kty"], "EC");
        let coordinate = |name: &str| crate::foreign::from_b64(entry[name].as_str().unwrap());
        let half = (point.len() - 1) / 2;
        assert_eq!(coordinate("x"), point[1..=half]);
        assert_eq!(coordinate("y"), point[half + 1..]);
        let key_id = certificate.extensions().iter().any(|extension| {
            matches!(
                extension.parsed_extension(),
                ParsedExtension::SubjectKeyIdentifier(_)
            )
        });
        assert!(key_id);
    }
}
