//! The template's bytes are rcgen's bytes.

use authority::{LeafSubject, SubjectKey, X509Authority};
use identity::{Seconds, SpiffeId, Timestamp};
use keys::KeyType;
use proptest::prelude::*;

use crate::kit::{self, leaf_key, record, serial, signer, subject_key, terms, trust_domain};
use crate::reference;

fn key_type() -> impl Strategy<Value = KeyType> {
    prop::sample::select(KeyType::ALL.to_vec())
}

/// Paths from a few bytes to the whole 2048 an ID may have, so that every length
/// form of DER occurs on every level.
fn path() -> impl Strategy<Value = String> {
    let segment = "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,60}";
    let short = prop::collection::vec(segment, 1..4);
    let long = prop::collection::vec(segment, 20..40);
    prop_oneof![3 => short, 1 => long].prop_map(|segments| format!("/{}", segments.join("/")))
}

fn dns_name() -> impl Strategy<Value = String> {
    let label = "[a-z0-9_]([a-z0-9-]{0,40}[a-z0-9])?";
    let labels = prop::collection::vec(label, 1..5);
    (any::<bool>(), labels).prop_map(|(wild, labels)| {
        let star = if wild { "*." } else { "" };
        format!("{star}{}.example", labels.join("."))
    })
}

/// Any time a certificate can name, and often one around the turn to 2050, where
/// the encoding changes.
fn time() -> impl Strategy<Value = i64> {
    prop_oneof![
        100_i64..250_000_000_000,
        2_524_608_000_i64 - 100_000..2_524_608_000 + 100_000,
        1_700_000_000_i64..1_900_000_000,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn template_equals_rcgen(
        issuer_type in prop::sample::select(vec![KeyType::EcP256, KeyType::EcP256, KeyType::EcP384, KeyType::Rsa2048]),
        leaf_type in key_type(),
        path in path(),
        dns_names in prop::collection::vec(dns_name(), 0..5),
        now in time(),
        ttl in 1_u32..200_000_000,
    ) {
        let now = Timestamp(now);
        let terms = terms(now, Seconds(150_000_000));
        let authority =
            X509Authority::create_self_signed(&trust_domain(), signer(issuer_type), &terms).unwrap();
        let Ok(spiffe_id) = SpiffeId::new(&trust_domain(), &path) else { return Ok(()) };
        let subject = LeafSubject { spiffe_id: &spiffe_id, dns_names: &dns_names };
        let key = subject_key(leaf_type);
        let serial = serial();
        let prepared = authority.prepare(&subject, &key, Seconds(ttl), serial, now).unwrap();
        let validity = (prepared.not_before(), prepared.not_after());
        prop_assert_eq!(validity.0, now.minus(Seconds(60)));
        prop_assert_eq!(validity.1, now.plus(Seconds(ttl.min(150_000_000))));
        let params = reference::profile(&subject, leaf_type.is_rsa(), serial, validity);
        let expected =
            reference::tbs(&params, &leaf_key(leaf_type), authority.public_key(), terms.serial);
        let recorded = record(prepared);
        prop_assert_eq!(recorded.bytes(), expected);
    }
}

/// The comparison above can fail: it sees each thing that the template could get wrong.
#[test]
fn the_comparison_sees_a_planted_difference() {
    let terms = terms(kit::NOW, kit::DAY);
    let signer = signer(KeyType::EcP256);
    let authority = X509Authority::create_self_signed(&trust_domain(), signer, &terms).unwrap();
    let dns_names = ["a.example".to_owned()];
    let spiffe_id = kit::id("spiffe://example.org/web");
    let subject = LeafSubject {
        spiffe_id: &spiffe_id,
        dns_names: &dns_names,
    };
    let serial = serial();
    let key: SubjectKey = subject_key(KeyType::EcP256);
    let prepared = authority
        .prepare(&subject, &key, kit::HOUR, serial, kit::NOW)
        .unwrap();
    let validity = (prepared.not_before(), prepared.not_after());
    let bytes = record(prepared).bytes().to_vec();
    let leaf = leaf_key(KeyType::EcP256);
    let issuer = authority.public_key();
    let good = reference::profile(&subject, false, serial, validity);
    assert_eq!(reference::tbs(&good, &leaf, issuer, terms.serial), bytes);

    let mut planted = vec![good.clone(); 7];
    planted[0].serial_number = Some(kit::serial().as_bytes().to_vec().into());
    planted[1].is_ca = rcgen::IsCa::NoCa;
    planted[2].key_usages.pop();
    planted[3].extended_key_usages.pop();
    planted[4].subject_alt_names.swap(0, 1);
    planted[5].use_authority_key_identifier_extension = false;
    planted[6].not_after += std::time::Duration::from_secs(1);
    for (i, wrong) in planted.iter().enumerate() {
        let other = reference::tbs(wrong, &leaf, issuer, terms.serial);
        assert_ne!(other, bytes, "difference {i}");
    }
    let other_leaf = reference::tbs(&good, issuer, issuer, terms.serial);
    assert_ne!(other_leaf, bytes);
    let other_issuer = reference::tbs(&good, &leaf, issuer, kit::serial());
    assert_ne!(other_issuer, bytes);
}

#[test]
fn the_longest_id_fits() {
    let authority = kit::authority(KeyType::EcP256);
    let long = format!("/{}", "a".repeat(2048 - "spiffe://example.org/".len()));
    let spiffe_id = SpiffeId::new(&trust_domain(), &long).unwrap();
    assert_eq!(spiffe_id.as_str().len(), 2048);
    let subject = LeafSubject {
        spiffe_id: &spiffe_id,
        dns_names: &[],
    };
    let key = subject_key(KeyType::EcP256);
    let prepared = authority
        .prepare(&subject, &key, kit::HOUR, serial(), kit::NOW)
        .unwrap();
    let svid = authority.sign(record(prepared)).unwrap();
    assert_eq!(svid.spiffe_id, spiffe_id);
}
