//! What can be named to be revoked.

use crate::{Revoked, TrustDomain};

fn parse(kind: &str, value: &str) -> Option<String> {
    let td = TrustDomain::parse("example.org").unwrap();
    let revoked = Revoked::parse(kind, value, &td).ok()?;
    assert_eq!(revoked.kind(), kind);
    assert_eq!(
        Revoked::parse(kind, &revoked.value(), &td).as_ref(),
        Ok(&revoked),
        "its value names it"
    );
    Some(revoked.value())
}

#[test]
fn serials_are_taken_as_tools_write_them() {
    for same in ["0a0b", "A0B", "0A:0B", "00000a0b"] {
        assert_eq!(parse("serial", same).as_deref(), Some("0a0b"), "{same}");
    }
    let longest = "7f".repeat(20);
    assert_eq!(parse("serial", &longest), Some(longest.clone()));
    for bad in ["", "0", "00:00", "xyz", "0x12", "12 34", &"7f".repeat(21)] {
        assert_eq!(parse("serial", bad), None, "{bad}");
    }
}

#[test]
fn tokens_and_ids_are_named_exactly() {
    assert!(parse("jti", "5f1c").is_some());
    for bad in ["", "a b", "a\n", "\u{e9}", &"x".repeat(129)] {
        assert_eq!(parse("jti", bad), None, "{bad}");
    }
    assert!(parse("id", "spiffe://example.org/api").is_some());
    for bad in [
        "",
        "/api",
        "spiffe://example.org",
        "spiffe://other.org/api",
        "spiffe://example.org/",
    ] {
        assert_eq!(parse("id", bad), None, "{bad}");
    }
    assert_eq!(parse("key", "x"), None);
}
