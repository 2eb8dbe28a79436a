//! Trust domain names: strict in SVIDs, forgiving towards people.

use proptest::prelude::*;

use crate::{TrustDomain, TrustDomainError};

#[test]
fn names_are_not_judged_by_looking_like_addresses_or_dns() {
    for name in [
        "example.org",
        "10.0.0.1",
        "my_td",
        "a..b",
        "-x-",
        "..",
        "x",
        "1",
        &"l".repeat(255),
    ] {
        assert_eq!(TrustDomain::parse(name).unwrap().as_str(), name);
    }
}

#[test]
fn bad_names() {
    assert_eq!(TrustDomain::parse(""), Err(TrustDomainError::Empty));
    assert_eq!(
        TrustDomain::parse(&"l".repeat(256)),
        Err(TrustDomainError::TooLong(256))
    );
    for name in [
        "Example.org",
        "a/b",
        "a:1",
        "u@a",
        "a b",
        "é",
        "a%61",
        "a\0",
        "spiffe://a",
        "[::1]",
        "a?",
        "a#",
    ] {
        let error = TrustDomain::parse(name).unwrap_err();
        assert!(
            matches!(error, TrustDomainError::Character { .. }),
            "{name:?}: {error}"
        );
    }
}

#[test]
fn what_people_type_is_folded_then_checked() {
    for text in [
        "example.org",
        "Example.ORG",
        " example.org ",
        "spiffe://example.org",
        "SPIFFE://Example.org",
        "spiffe://example.org/any/path",
        "example.org/x",
    ] {
        let td = TrustDomain::from_human(text).unwrap();
        assert_eq!(td.as_str(), "example.org", "{text}");
    }
    for text in [
        "",
        " ",
        "spiffe://",
        "http://example.org",
        "exa mple",
        "é.org",
    ] {
        assert!(TrustDomain::from_human(text).is_err(), "{text:?}");
    }
}

#[test]
fn its_own_id_has_no_path() {
    let td = TrustDomain::parse("example.org").unwrap();
    assert_eq!(td.id().as_str(), "spiffe://example.org");
    assert!(!td.id().has_path() && td.id().is_member_of(&td));
}

proptest! {
    #[test]
    fn two_spellings_never_make_two_domains(name in "[a-zA-Z0-9._-]{1,20}") {
        let lower = TrustDomain::from_human(&name.to_ascii_lowercase());
        prop_assert_eq!(TrustDomain::from_human(&name), lower.clone());
        prop_assert_eq!(TrustDomain::from_human(&format!("spiffe://{name}")), lower);
    }

    #[test]
    fn the_parser_agrees_with_crate_spiffe(name in "[a-zA-Z0-9._/:@ -]{0,20}") {
        let ours = TrustDomain::parse(&name).is_ok();
        // Theirs takes IDs as well, and folds.
        let theirs = spiffe::TrustDomain::new(&name).is_ok_and(|td| td.as_str() == name);
        prop_assert_eq!(ours, theirs);
    }
}
