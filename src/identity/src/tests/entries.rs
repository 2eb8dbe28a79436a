//! Registration entries: each rule, and that sharing memory cannot be seen.

use proptest::prelude::*;

use crate::{
    Entry, EntryError, EntryFields, EntryId, MAX_DNS_NAMES, MAX_FEDERATES_WITH, MAX_HINT_BYTES,
    Selector, Selectors, SpiffeId, Timestamp, TrustDomain, ViewDigest,
};

fn td() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn good() -> EntryFields {
    EntryFields {
        id: EntryId::parse("e").unwrap(),
        spiffe_id: id("spiffe://example.org/db"),
        parent_id: id("spiffe://example.org/spire/agent/x/1"),
        selectors: Selectors::new(vec![Selector::parse("unix:uid:1").unwrap()]).unwrap(),
        x509_ttl: None,
        jwt_ttl: None,
        federates_with: vec![],
        admin: false,
        downstream: false,
        expires_at: None,
        dns_names: vec![],
        revision: 0,
        store_svid: false,
        hint: String::new(),
        created_at: Timestamp(0),
        disable_x509_prefetch: false,
        jwt_include_jti: false,
    }
}

fn with(change: impl FnOnce(&mut EntryFields)) -> Result<Entry, EntryError> {
    let mut fields = good();
    change(&mut fields);
    Entry::new(fields, &td())
}

#[test]
fn ids_and_parents() {
    assert!(with(|_| ()).is_ok());
    let spiffe_id = |text: &str| with(|f| f.spiffe_id = id(text)).unwrap_err();
    let parent = |text: &str| with(|f| f.parent_id = id(text));
    assert!(matches!(
        spiffe_id("spiffe://other.org/db"),
        EntryError::ForeignId { .. }
    ));
    assert!(matches!(
        spiffe_id("spiffe://example.org"),
        EntryError::NoPath(_)
    ));
    assert!(matches!(
        spiffe_id("spiffe://example.org/spire/agent/x/2"),
        EntryError::Reserved(_)
    ));
    assert!(matches!(
        spiffe_id("spiffe://example.org/spire/server"),
        EntryError::Reserved(_)
    ));
    assert!(matches!(
        spiffe_id("spiffe://example.org/spire"),
        EntryError::Reserved(_)
    ));
    assert!(matches!(
        parent("spiffe://other.org/spire/agent/x/1"),
        Err(EntryError::ForeignParent { .. })
    ));
    assert!(matches!(
        parent("spiffe://example.org"),
        Err(EntryError::ParentNoPath(_))
    ));
    assert!(
        parent("spiffe://example.org/spire/server")
            .unwrap()
            .is_node_alias()
    );
    assert!(
        !parent("spiffe://example.org/group")
            .unwrap()
            .is_node_alias()
    );
}

#[test]
fn a_prefix_of_the_trust_domain_is_another_trust_domain() {
    for text in [
        "spiffe://example.or/db",
        "spiffe://example.org.evil/db",
        "spiffe://xexample.org/db",
    ] {
        let error = with(|f| f.spiffe_id = id(text)).unwrap_err();
        assert!(matches!(error, EntryError::ForeignId { .. }), "{text}");
    }
}

#[test]
fn selectors_and_hints() {
    let error = with(|f| f.selectors = Selectors::default()).unwrap_err();
    assert_eq!(error, EntryError::NoSelectors);
    assert!(with(|f| f.hint = "h".repeat(MAX_HINT_BYTES)).is_ok());
    let error = with(|f| f.hint = "h".repeat(MAX_HINT_BYTES + 1)).unwrap_err();
    assert_eq!(error, EntryError::HintTooLong(1025));
    assert_eq!(
        with(|f| f.hint = "a\nb".into()).unwrap_err(),
        EntryError::HintControl
    );
}

#[test]
fn dns_names_keep_their_order_and_lose_their_repeats() {
    let names =
        |names: &[&str]| with(|f| f.dns_names = names.iter().map(ToString::to_string).collect());
    let entry = names(&["z.example.org", "a.example.org", "z.example.org"]).unwrap();
    assert_eq!(entry.dns_names, ["z.example.org", "a.example.org"]);
    for good in [
        "db",
        "db.example.org",
        "*.example.org",
        "a-b.c_d",
        "1.example",
        "xn--bcher-kva.example",
    ] {
        assert!(names(&[good]).is_ok(), "{good}");
    }
    let label = "l".repeat(64);
    let long = ["a2345678"; 32].join(".");
    for bad in [
        "",
        "a b",
        "127.0.0.1",
        "10.1",
        "-a",
        "a-",
        "a..b",
        ".a",
        "a.",
        "*",
        "*.",
        "a.*.b",
        "**.a",
        "é",
        "a/b",
        "a:1",
        "a\0",
        &label,
        &long,
    ] {
        let error = names(&[bad]).unwrap_err();
        assert!(matches!(error, EntryError::DnsName { .. }), "{bad:?}");
    }
    let many = |n: usize| with(|f| f.dns_names = (0..n).map(|i| format!("n{i}")).collect());
    assert!(many(MAX_DNS_NAMES).is_ok());
    assert_eq!(
        many(MAX_DNS_NAMES + 1).unwrap_err(),
        EntryError::TooManyDnsNames(65)
    );
}

#[test]
fn federation_is_a_set_of_others() {
    let domain = |n: usize| TrustDomain::parse(&format!("f{n}.org")).unwrap();
    let entry = with(|f| f.federates_with = vec![domain(2), domain(1), domain(2)]).unwrap();
    assert_eq!(entry.federates_with, [domain(1), domain(2)]);
    let error = with(|f| f.federates_with = vec![td()]).unwrap_err();
    assert_eq!(error, EntryError::FederatesWithSelf(td()));
    let many = |n: usize| with(|f| f.federates_with = (0..n).map(domain).collect());
    assert!(many(MAX_FEDERATES_WITH).is_ok());
    assert_eq!(
        many(MAX_FEDERATES_WITH + 1).unwrap_err(),
        EntryError::TooManyFederated(65)
    );
}

#[test]
fn an_entry_expires_at_its_second() {
    let entry = with(|f| f.expires_at = Some(Timestamp(10))).unwrap();
    assert!(!entry.is_expired(Timestamp(9)) && entry.is_expired(Timestamp(10)));
    assert!(!with(|_| ()).unwrap().is_expired(Timestamp::MAX));
}

#[test]
fn registrations_are_one_by_id_parent_and_selectors_alone() {
    let base = with(|_| ()).unwrap();
    let same = with(|f| {
        f.id = EntryId::parse("other").unwrap();
        f.hint = "h".into();
        f.x509_ttl = Some(crate::Seconds(60));
    });
    assert!(base.is_same_registration(&same.unwrap()));
    let more = vec![
        Selector::parse("unix:uid:1").unwrap(),
        Selector::parse("unix:gid:1").unwrap(),
    ];
    let other = with(|f| f.selectors = Selectors::new(more).unwrap()).unwrap();
    assert!(!base.is_same_registration(&other));
}

#[test]
fn the_digest_sees_every_field_and_no_order() {
    let one = |f: &str| Selectors::new(vec![Selector::parse(f).unwrap()]).unwrap();
    type Change = fn(&mut EntryFields);
    let changes: [(&str, Change); 16] = [
        ("id", |f| f.id = EntryId::parse("f").unwrap()),
        ("spiffe_id", |f| f.spiffe_id = id("spiffe://example.org/dc")),
        ("parent_id", |f| {
            f.parent_id = id("spiffe://example.org/spire/agent/x/2")
        }),
        ("x509_ttl", |f| f.x509_ttl = Some(crate::Seconds(1))),
        ("jwt_ttl", |f| f.jwt_ttl = Some(crate::Seconds(1))),
        ("federates_with", |f| {
            f.federates_with = vec![TrustDomain::parse("f").unwrap()]
        }),
        ("admin", |f| f.admin = true),
        ("downstream", |f| f.downstream = true),
        ("expires_at", |f| f.expires_at = Some(Timestamp(1))),
        ("dns_names", |f| f.dns_names = vec!["f".into()]),
        ("revision", |f| f.revision = 1),
        ("store_svid", |f| f.store_svid = true),
        ("hint", |f| f.hint = "f".into()),
        ("created_at", |f| f.created_at = Timestamp(1)),
        ("disable_x509_prefetch", |f| f.disable_x509_prefetch = true),
        ("jwt_include_jti", |f| f.jwt_include_jti = true),
    ];
    let base = std::sync::Arc::new(with(|_| ()).unwrap());
    let mut all = vec![
        base,
        std::sync::Arc::new(with(|f| f.selectors = one("a:b")).unwrap()),
    ];
    all.extend(
        changes
            .iter()
            .map(|(_, change)| std::sync::Arc::new(with(change).unwrap())),
    );
    let digests: std::collections::HashSet<_> = all.iter().map(|e| ViewDigest::of([e])).collect();
    assert_eq!(
        digests.len(),
        18,
        "two of {:?} look the same",
        changes.map(|(name, _)| name)
    );
    assert_eq!(ViewDigest::of(&all), ViewDigest::of(all.iter().rev()));
    let mut digest = ViewDigest::of(&all);
    all.iter().for_each(|e| digest.remove(e));
    assert_eq!(digest, ViewDigest::default());
    assert_eq!(ViewDigest::from_bytes(digest.to_bytes()), digest);
}

#[test]
fn entry_ids() {
    for good in ["a", "A-b_c.9", &"x".repeat(255)] {
        assert_eq!(EntryId::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", "a/b", "a b", "é", "a\0", &"x".repeat(256)] {
        assert!(EntryId::parse(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn made_ids_are_uuids_of_version_7_that_sort_by_age(at in 0..1_i64 << 47, turn in 0..4095_usize, bytes: [u8; 8], later: [u8; 8]) {
        let id = EntryId::in_order(at, turn, bytes);
        prop_assert!(id < EntryId::in_order(at, turn + 1, later));
        prop_assert!(id < EntryId::in_order(at + 1, 0, later));
        let text = id.as_str();
        prop_assert_eq!(text.len(), 36);
        prop_assert_eq!(EntryId::parse(text)?, id.clone());
        let shape: Vec<usize> = text.split('-').map(str::len).collect();
        prop_assert_eq!(shape, [8, 4, 4, 4, 12]);
        prop_assert_eq!(text.as_bytes()[14], b'7');
        prop_assert!(b"89ab".contains(&text.as_bytes()[19]));
    }

    #[test]
    fn sharing_memory_cannot_be_seen(a in prop::collection::vec(0..6_u8, 1..5), b in prop::collection::vec(0..6_u8, 1..5), same: bool) {
        let set = |n: &[u8]| Selectors::new(n.iter().map(|n| Selector::new("t", &n.to_string()).unwrap()).collect()).unwrap();
        let sibling = with(|f| f.selectors = set(&b)).unwrap();
        let make = || with(|f| {
            f.selectors = set(&a);
            f.parent_id = id(if same { "spiffe://example.org/spire/agent/x/1" } else { "spiffe://example.org/other" });
        });
        let mut shared = make().unwrap();
        shared.share_with(&sibling);
        prop_assert_eq!(shared, make().unwrap());
    }
}
