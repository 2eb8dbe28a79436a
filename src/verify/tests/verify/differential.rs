//! SPIFFE IDs and subject alternative names, read by us and by crate `spiffe`. Where the
//! two disagree, the case belongs to a class that is listed here with its reason.
//!
//! `BULLA_DIFFERENTIAL_CASES=1000000` makes a longer run.

use identity::SpiffeId;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rcgen::{KeyPair, SanType};
use verify::{LeafIdentity, leaf_identity};

use crate::kit::{Ca, leaf_params};

/// Cases of each kind, unless the environment asks for others.
const IDS: u32 = 20_000;
const CERTIFICATES: u32 = 4_000;

fn cases(usual: u32) -> u32 {
    let asked = std::env::var("BULLA_DIFFERENTIAL_CASES");
    asked.map_or(usual, |text| text.parse().unwrap())
}

/// A disagreement that is known: its name, its reason, and whether a text is such. In
/// all of them we refuse and `spiffe` accepts.
type Class = (&'static str, &'static str, fn(&str) -> bool);

const CLASSES: [Class; 2] = [
    (
        "upper case in scheme or trust domain",
        "SPIFFE-ID 2.1 wants lower case, 2.4 compares without case: refusing is right under both, and two \
         spellings never make two trust domains. `spiffe` folds.",
        |text| {
            let end = text.find("://").map_or(0, |at| at + 3);
            let end = text[end..].find('/').map_or(text.len(), |at| end + at);
            let folded = format!("{}{}", text[..end].to_ascii_lowercase(), &text[end..]);
            folded != text && SpiffeId::parse(&folded).is_ok()
        },
    ),
    (
        "longer than 2048 bytes",
        "SPIFFE-ID 2.3 asks for no more, and nobody may generate more. `spiffe` limits what it builds, not what \
         it parses.",
        |text| text.len() > 2048,
    ),
];

fn class_of(text: &str) -> Option<usize> {
    CLASSES.iter().position(|(_, _, applies)| applies(text))
}

/// How often each thing happened: a comparison that never sees one shows nothing.
#[derive(Debug, Default)]
struct Seen {
    accepted: u32,
    refused: u32,
    classes: [u32; CLASSES.len()],
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

/// Texts that are IDs, or nearly.
fn near_ids() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        12 => Just("spiffe://".to_owned()),
        1 => one_of(&["", "spiffe:/", "spiffe:", "spiffe:///", "SPIFFE://", "Spiffe://", "spiffe//", "http://", " spiffe://", "spiffes://"]),
    ];
    let domain = prop_oneof![
        8 => "[a-z0-9._-]{1,12}",
        1 => "[a-zA-Z0-9._-]{0,12}",
        1 => one_of(&["", "user@f.test", "f.test:443", "f.test:", "[::1]", "10.0.0.1", "a..b", ".", "f%2etest", "xn--a", "\u{e9}.test", "f.test\\", "F.TEST"]),
        1 => (250_usize..260).prop_map(|n| "a".repeat(n)),
    ];
    let segment = prop_oneof![
        12 => "[a-zA-Z0-9._-]{1,8}",
        1 => one_of(&["", ".", "..", "...", "%61", "a b", "a:b", "~", "\u{e9}", "a\0", "a?b", "a#", "*"]),
    ];
    let end = prop_oneof![
        16 => Just(String::new()),
        1 => one_of(&["/", "?", "#", "?a=b", "#f", "//", "\n", " ", "/.", "/.."]),
    ];
    let long = prop_oneof![
        30 => Just(String::new()),
        1 => (1990_usize..2060).prop_map(|n| format!("/{}", "a".repeat(n))),
    ];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0_u8..3), 0..2);
    let edits = prop_oneof![4 => Just(Vec::new()), 1 => edits];
    (
        scheme,
        domain,
        prop::collection::vec(segment, 0..4),
        end,
        long,
        edits,
    )
        .prop_map(|(scheme, domain, segments, end, long, edits)| {
            let path: String = segments.iter().map(|s| format!("/{s}")).collect();
            let mut text: Vec<char> = format!("{scheme}{domain}{path}{long}{end}")
                .chars()
                .collect();
            for (at, character, kind) in edits {
                let at = at.index(text.len() + 1);
                match kind {
                    0 => text.insert(at, character),
                    1 if at < text.len() => text[at] = character,
                    _ if at < text.len() => drop(text.remove(at)),
                    _ => {}
                }
            }
            text.into_iter().collect()
        })
}

/// What both say of a text; counts it, and answers a disagreement that is in no class.
fn compare_ids(text: &str, seen: &mut Seen) -> Result<(), String> {
    match (SpiffeId::parse(text), spiffe::SpiffeId::new(text)) {
        (Ok(ours), Ok(theirs)) => {
            seen.accepted += 1;
            let same = ours.as_str() == theirs.to_string()
                && ours.path() == theirs.path()
                && ours.trust_domain_str() == theirs.trust_domain().as_str();
            if same {
                Ok(())
            } else {
                Err(format!("{ours} {theirs}"))
            }
        }
        (Err(_), Err(_)) => {
            seen.refused += 1;
            Ok(())
        }
        (Err(_), Ok(_)) if class_of(text).is_some() => {
            class_of(text)
                .into_iter()
                .for_each(|at| seen.classes[at] += 1);
            Ok(())
        }
        (ours, theirs) => Err(format!("{text:?}: {ours:?} {theirs:?}")),
    }
}

fn runner(usual: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: cases(usual),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    })
}

#[test]
fn ids_are_read_as_crate_spiffe_reads_them() {
    let seen = std::cell::RefCell::new(Seen::default());
    runner(IDS)
        .run(&near_ids(), |text| {
            compare_ids(&text, &mut seen.borrow_mut()).map_err(TestCaseError::fail)
        })
        .unwrap();
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(seen.accepted > 1_000 && seen.refused > 1_000, "{seen:?}");
    assert!(
        seen.classes.iter().all(|n| *n > 0),
        "a class nobody is in: {seen:?}"
    );
}

/// Where the names stand in a certificate: the content of the extension's OCTET STRING.
fn san_range(der: &[u8]) -> Option<std::ops::Range<usize>> {
    let oid = [0x06, 3, 0x55, 0x1d, 0x11];
    let at = der.windows(oid.len()).position(|window| window == oid)? + oid.len();
    let at = if der.get(at) == Some(&1) { at + 3 } else { at };
    let header = match der.get(at + 1)? {
        0x82 => 4,
        0x81 => 3,
        _ => 2,
    };
    let length = match header {
        4 => usize::from(u16::from_be_bytes([der[at + 2], der[at + 3]])),
        3 => usize::from(der[at + 2]),
        _ => usize::from(der[at + 1]),
    };
    Some(at + header..at + header + length)
}

fn names() -> impl Strategy<Value = Vec<SanType>> {
    let uri = near_ids().prop_filter_map("URIs are ASCII", |text| {
        Some(SanType::URI(text.try_into().ok()?))
    });
    let good = Just(SanType::URI("spiffe://f.test/web".try_into().unwrap()));
    let other = prop_oneof![
        "[a-z]{1,8}".prop_map(|name| SanType::DnsName(name.try_into().unwrap())),
        "[a-z]{1,8}".prop_map(|name| SanType::Rfc822Name(name.try_into().unwrap())),
        any::<[u8; 4]>().prop_map(|address| SanType::IpAddress(address.into())),
    ];
    (
        prop_oneof![2 => uri, 1 => good],
        prop::collection::vec(other, 0..2),
        any::<bool>(),
        prop::option::weighted(0.1, near_ids()),
    )
        .prop_map(|(uri, mut names, first, second)| {
            names.insert(if first { 0 } else { names.len() }, uri);
            names.extend(second.and_then(|text| Some(SanType::URI(text.try_into().ok()?))));
            names
        })
}

/// The URIs of a certificate that both could parse.
fn uris(der: &[u8]) -> Vec<String> {
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let uri = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(uri).collect()
}

/// Of names that are not what their tag says: we refuse the certificate, `spiffe` looks
/// at the URIs alone. RFC 5280 4.2.1.6 gives every kind a form, and what breaks it was
/// made to be read differently by different readers.
const MALFORMED: &str = "malformed or repeated subject alternative name";

fn compare_leaves(
    der: &[u8],
    key: &[u8],
    seen: &mut Seen,
    malformed: &mut u32,
) -> Result<(), String> {
    let ours = leaf_identity(der).map(|LeafIdentity { spiffe_id, .. }| spiffe_id);
    let theirs = spiffe::X509Svid::parse_from_der(der, key);
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            seen.accepted += 1;
            let same = ours.as_str() == theirs.spiffe_id().to_string();
            if same {
                Ok(())
            } else {
                Err(format!("{ours} {}", theirs.spiffe_id()))
            }
        }
        (Err(_), Err(_)) => {
            seen.refused += 1;
            Ok(())
        }
        (Err(fault), Ok(_)) if fault.to_string().contains(MALFORMED) => {
            *malformed += 1;
            Ok(())
        }
        (Err(fault), Ok(_)) => match &uris(der)[..] {
            [uri] if class_of(uri).is_some() => {
                class_of(uri)
                    .into_iter()
                    .for_each(|at| seen.classes[at] += 1);
                Ok(())
            }
            uris => Err(format!("we refuse {uris:?}: {fault}")),
        },
        (Ok(ours), Err(theirs)) => Err(format!("they refuse {ours}: {theirs}")),
    }
}

#[test]
fn names_of_certificates_are_read_as_crate_spiffe_reads_them() {
    let ca = Ca::of("f.test");
    let pair = KeyPair::generate().unwrap();
    let key = pair.serialize_der();
    let state = std::cell::RefCell::new((Seen::default(), 0));
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    runner(CERTIFICATES)
        .run(&(names(), edits), |(names, edits)| {
            let mut params = leaf_params("spiffe://f.test/web");
            params.subject_alt_names = names;
            let mut der = ca.sign(&params, &pair);
            let range = san_range(&der).unwrap();
            for (at, byte) in edits {
                let at = range.start + at.index(range.len());
                der[at] = byte;
            }
            let (seen, malformed) = &mut *state.borrow_mut();
            compare_leaves(&der, &key, seen, malformed).map_err(TestCaseError::fail)
        })
        .unwrap();
    let (seen, malformed) = state.into_inner();
    println!("{seen:?}, malformed names: {malformed}");
    assert!(seen.accepted > 300 && seen.refused > 300, "{seen:?}");
    assert!(malformed > 0);
}

/// The comparison itself can fail.
#[test]
fn the_comparison_turns_red_when_a_disagreement_is_in_no_class() {
    let mut seen = Seen::default();
    assert!(compare_ids("SPIFFE://F.test/web", &mut seen).is_ok());
    assert_eq!(seen.classes[0], 1);
    assert_eq!(
        class_of("SPIFFE://F.test/web/"),
        None,
        "wrong in another way, too"
    );
    assert_eq!(class_of("spiffe://f.test/web"), None);
}
