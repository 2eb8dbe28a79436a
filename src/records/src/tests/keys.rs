//! Store keys: each under its trust domain, none ambiguous.

use identity::{EntryId, Revoked, SpiffeId, TrustDomain};
use proptest::prelude::*;

use super::values::{any_path, td};
use crate::{AuthorityProfile, key};

#[test]
fn keys_read_as_documented() {
    let id = EntryId::parse("abc").unwrap();
    let agent = SpiffeId::new(&td(), "/spire/agent/join_token/00ff").unwrap();
    let fed = TrustDomain::parse("other.org").unwrap();
    let keys = [
        (key::all(&td()), "example.org/"),
        (key::entry(&td(), &id), "example.org/entry/abc"),
        (
            key::node(&td(), &agent),
            "example.org/node/spire/agent/join_token/00ff",
        ),
        (key::bundle(&td(), &fed), "example.org/bundle/other.org"),
        (
            key::authority(&td(), AuthorityProfile::Jwt, "k"),
            "example.org/authority/jwt/k",
        ),
        (
            revocation("serial", "0A:0B"),
            "example.org/revocation/serial/0a0b",
        ),
        (
            revocation("jti", "a/b"),
            "example.org/revocation/jti/612f62",
        ),
        (
            revocation("id", "spiffe://example.org/a/b"),
            "example.org/revocation/id/a/b",
        ),
        (
            key::revocation_sequence(&td()),
            "example.org/revocation_list/sequence",
        ),
    ];
    for (key, text) in keys {
        assert_eq!(String::from_utf8(key).unwrap(), text);
    }
    let token = String::from_utf8(key::token(&td(), &[0xab; 32])).unwrap();
    assert_eq!(token, format!("example.org/token/{}", "ab".repeat(32)));
}

fn revocation(kind: &str, value: &str) -> Vec<u8> {
    key::revocation(&td(), &Revoked::parse(kind, value, &td()).unwrap())
}

#[test]
fn one_trust_domain_is_no_prefix_of_another() {
    let longer = TrustDomain::parse("example.org.uk").unwrap();
    let id = EntryId::parse("abc").unwrap();
    assert!(!key::entry(&longer, &id).starts_with(&key::all(&td())));
    assert!(key::entry(&td(), &id).starts_with(&key::entries(&td())));
}

proptest! {
    #[test]
    fn different_records_have_different_keys(a in any_path(), b in any_path()) {
        let node = |path: &str| {
            let id = SpiffeId::new(&td(), &format!("/spire/agent{path}")).unwrap();
            key::node(&td(), &id)
        };
        prop_assert_eq!(a == b, node(&a) == node(&b));
        prop_assert!(node(&a).starts_with(&key::nodes(&td())));
        prop_assert!(!node(&a).starts_with(&key::entries(&td())));
    }
}
