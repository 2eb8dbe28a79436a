//! What is written is read back the same; what is damaged is refused.

use identity::{EntryFields, Selector, Selectors, TrustDomain};
use proptest::prelude::*;

use super::values::{
    any_authority, any_bundle, any_entry, any_node, any_revocation, any_token, any_trust, td,
};
use crate::{
    MAX_RECORD_BYTES, RecordError, decode_authority, decode_bundle, decode_entry, decode_node,
    decode_own_bundle, decode_revocation, decode_revocation_sequence, decode_token, decode_trust,
    encode_authority, encode_bundle, encode_entry, encode_node, encode_own_bundle,
    encode_revocation, encode_revocation_sequence, encode_token, encode_trust,
};

proptest! {
    #[test]
    fn entries_round_trip(entry in any_entry()) {
        prop_assert_eq!(decode_entry(&encode_entry(&entry)?, &td())?, entry);
    }

    #[test]
    fn nodes_round_trip(node in any_node()) {
        prop_assert_eq!(decode_node(&encode_node(&node)?)?, node);
    }

    #[test]
    fn bundles_round_trip(bundle in any_bundle()) {
        prop_assert_eq!(decode_bundle(&encode_bundle(&bundle)?)?, bundle);
    }

    #[test]
    fn own_bundles_round_trip(bundle in any_bundle()) {
        prop_assert_eq!(decode_own_bundle(&encode_own_bundle(&bundle)?)?, (bundle.clone(), true));
        prop_assert_eq!(decode_own_bundle(&encode_bundle(&bundle)?)?, (bundle, false));
    }

    #[test]
    fn owned_authorities_round_trip(trust in any_trust()) {
        prop_assert_eq!(decode_trust(&encode_trust(&trust)?, &td())?, trust);
    }

    #[test]
    fn tokens_round_trip(token in any_token()) {
        prop_assert_eq!(decode_token(&encode_token(&token)?)?, token);
    }

    #[test]
    fn authorities_round_trip(authority in any_authority()) {
        prop_assert_eq!(decode_authority(&encode_authority(&authority)?)?, authority);
    }

    #[test]
    fn revocations_round_trip(revocation in any_revocation(), sequence in any::<u64>()) {
        prop_assert_eq!(decode_revocation(&encode_revocation(&revocation)?, &td())?, revocation);
        let bytes = encode_revocation_sequence(sequence)?;
        prop_assert_eq!(decode_revocation_sequence(&bytes)?, sequence);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_entry(&bytes, &td());
        let _ = decode_node(&bytes);
        let _ = decode_bundle(&bytes);
        let _ = decode_trust(&bytes, &td());
        let _ = decode_token(&bytes);
        let _ = decode_authority(&bytes);
        let _ = decode_revocation(&bytes, &td());
        let _ = decode_revocation_sequence(&bytes);
        let _ = crate::AuditRecord::decode(&bytes);
    }

    #[test]
    fn a_record_cut_short_is_refused(entry in any_entry(), at in any::<prop::sample::Index>()) {
        let bytes = encode_entry(&entry)?;
        let cut = bytes.get(..at.index(bytes.len())).unwrap_or_default();
        prop_assert!(decode_entry(cut, &td()).is_err());
    }

    #[test]
    fn one_kind_is_never_taken_for_another(entry in any_entry(), node in any_node()) {
        let wrong = |e: RecordError| matches!(e, RecordError::WrongKind { .. });
        prop_assert!(decode_node(&encode_entry(&entry)?).is_err_and(wrong));
        prop_assert!(decode_entry(&encode_node(&node)?, &td()).is_err_and(wrong));
    }
}

fn sample() -> EntryFields {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let tree = any_entry().new_tree(&mut runner).unwrap();
    proptest::strategy::ValueTree::current(&tree).into_fields()
}

#[test]
fn an_entry_of_another_trust_domain_is_refused() {
    let entry = identity::Entry::new(sample(), &td()).unwrap();
    let other = TrustDomain::parse("other.org").unwrap();
    let error = decode_entry(&encode_entry(&entry).unwrap(), &other).unwrap_err();
    assert!(error.to_string().contains("other.org"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let mut fields = sample();
    let long = |n: usize| Selector::new("t", &format!("{n}-{}", "x".repeat(4_000))).unwrap();
    fields.selectors = Selectors::new((0..10).map(long).collect()).unwrap();
    let entry = identity::Entry::new(fields, &td()).unwrap();
    let error = encode_entry(&entry).unwrap_err();
    assert!(
        matches!(error, RecordError::TooLarge { bytes, .. } if bytes > MAX_RECORD_BYTES),
        "{error}"
    );
}
