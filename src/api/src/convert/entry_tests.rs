//! What must hold of entries on the wire: nothing is lost on the way, masks are
//! obeyed both ways, and what the server decides cannot be sent.

use identity::{EntryError, TrustDomain};

use super::*;

fn full() -> types::Entry {
    let id = |path: &str| {
        Some(types::Spiffeid {
            trust_domain: "example.org".into(),
            path: path.into(),
        })
    };
    types::Entry {
        id: "e1".into(),
        spiffe_id: id("/web"),
        parent_id: id("/spire/agent/join_token/a"),
        selectors: vec![types::Selector {
            r#type: "unix".into(),
            value: "uid:1000".into(),
        }],
        x509_svid_ttl: 60,
        jwt_svid_ttl: 30,
        federates_with: vec!["spiffe://other.test/".into()],
        admin: true,
        downstream: true,
        expires_at: 5000,
        dns_names: vec!["b.test".into(), "a.test".into()],
        revision_number: 99,
        store_svid: true,
        hint: "internal".into(),
        created_at: 99,
        additional_attributes: Some(AdditionalAttributes {
            disable_x509_svid_prefetch: true,
            jwt_svid_include_jti: true,
        }),
    }
}

fn parse(wire: &types::Entry) -> EntryFields {
    let context = EntryContext {
        id: EntryId::parse("e1").unwrap(),
        created_at: Timestamp(1000),
    };
    entry_from_wire(wire, context).unwrap()
}

fn checked(fields: EntryFields) -> Result<Entry, EntryError> {
    Entry::new(fields, &TrustDomain::parse("example.org").unwrap())
}

#[test]
fn nothing_is_lost_but_what_the_server_decides() {
    let entry = checked(parse(&full())).unwrap();
    let expected = types::Entry {
        federates_with: vec!["other.test".into()],
        revision_number: 0,
        created_at: 1000,
        ..full()
    };
    assert_eq!(entry_to_wire(&entry, None), expected);
}

#[test]
fn an_empty_output_mask_answers_the_id_alone() {
    let entry = checked(parse(&full())).unwrap();
    let expected = types::Entry {
        id: "e1".into(),
        ..Default::default()
    };
    assert_eq!(entry_to_wire(&entry, Some(&EntryMask::default())), expected);
}

#[test]
fn only_masked_fields_are_merged() {
    let base = parse(&full());
    let change = types::Entry {
        hint: "external".into(),
        x509_svid_ttl: -1,
        revision_number: 7,
        ..Default::default()
    };
    let mask = EntryMask {
        hint: true,
        revision_number: true,
        created_at: true,
        ..Default::default()
    };
    let merged = merge_entry(base.clone(), &change, Some(&mask)).unwrap();
    let expected = EntryFields {
        hint: "external".into(),
        ..base.clone()
    };
    assert_eq!(merged, expected);
    // Without a mask everything counts, and nothing names a SPIFFE ID here.
    let error = merge_entry(base, &change, None).unwrap_err();
    assert_eq!(error.field(), "entry.spiffe_id");
}

#[test]
fn odd_numbers_are_refused_by_name() {
    let context = || EntryContext {
        id: EntryId::parse("e1").unwrap(),
        created_at: Timestamp(1000),
    };
    let negative_ttl = types::Entry {
        jwt_svid_ttl: -5,
        ..full()
    };
    let error = entry_from_wire(&negative_ttl, context()).unwrap_err();
    assert_eq!(error.field(), "entry.jwt_svid_ttl");
    let before_1970 = types::Entry {
        expires_at: -5,
        ..full()
    };
    let error = entry_from_wire(&before_1970, context()).unwrap_err();
    assert_eq!(error.field(), "entry.expires_at");
}
