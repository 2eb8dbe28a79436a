//! Filters of entries, read off the wire.

use api::convert::{
    FieldError, optional_id_from_wire, selectors_from_wire, trust_domain_from_wire,
};
use api::entry::{count_entries_request, list_entries_request};
use api::types::{FederatesWithMatch, SelectorMatch, federates_with_match, selector_match};
use identity::{Selectors, TrustDomain};
use registry::{EntryFilter, Match};

/// The filter of a count.
pub(super) fn from_count(
    filter: Option<count_entries_request::Filter>,
) -> Result<EntryFilter, FieldError> {
    let Some(filter) = filter else {
        return Ok(EntryFilter::default());
    };
    from_list(Some(list_entries_request::Filter {
        by_spiffe_id: filter.by_spiffe_id,
        by_parent_id: filter.by_parent_id,
        by_selectors: filter.by_selectors,
        by_federates_with: filter.by_federates_with,
        by_hint: filter.by_hint,
        by_downstream: filter.by_downstream,
    }))
}

/// The filter of a list.
pub(super) fn from_list(
    filter: Option<list_entries_request::Filter>,
) -> Result<EntryFilter, FieldError> {
    let Some(filter) = filter else {
        return Ok(EntryFilter::default());
    };
    Ok(EntryFilter {
        spiffe_id: optional_id_from_wire("filter.by_spiffe_id", filter.by_spiffe_id.as_ref())?,
        parent_id: optional_id_from_wire("filter.by_parent_id", filter.by_parent_id.as_ref())?,
        selectors: filter
            .by_selectors
            .map(|m| selector_match("filter.by_selectors", &m))
            .transpose()?,
        federates_with: filter
            .by_federates_with
            .map(|m| federates_with(&m))
            .transpose()?,
        hint: filter.by_hint,
        // Stock tools always send the flag; false means that they do not care.
        downstream: filter.by_downstream.filter(|downstream| *downstream),
    })
}

/// A comparison of selector sets; an empty set would match by accident.
pub(in crate::grpc) fn selector_match(
    field: &'static str,
    wire: &SelectorMatch,
) -> Result<(Match, Selectors), FieldError> {
    use selector_match::MatchBehavior;
    let how = match MatchBehavior::try_from(wire.r#match) {
        Ok(MatchBehavior::MatchExact) => Match::Exact,
        Ok(MatchBehavior::MatchSubset) => Match::Subset,
        Ok(MatchBehavior::MatchSuperset) => Match::Superset,
        Ok(MatchBehavior::MatchAny) => Match::Any,
        Err(_) => return Err(unknown_match(field, wire.r#match)),
    };
    let selectors = selectors_from_wire(field, &wire.selectors)?;
    if selectors.is_empty() {
        return Err(FieldError::new(
            field,
            "no selectors are given to compare with",
        ));
    }
    Ok((how, selectors))
}

fn federates_with(wire: &FederatesWithMatch) -> Result<(Match, Vec<TrustDomain>), FieldError> {
    use federates_with_match::MatchBehavior;
    const FIELD: &str = "filter.by_federates_with";
    let how = match MatchBehavior::try_from(wire.r#match) {
        Ok(MatchBehavior::MatchExact) => Match::Exact,
        Ok(MatchBehavior::MatchSubset) => Match::Subset,
        Ok(MatchBehavior::MatchSuperset) => Match::Superset,
        Ok(MatchBehavior::MatchAny) => Match::Any,
        Err(_) => return Err(unknown_match(FIELD, wire.r#match)),
    };
    let names = wire.trust_domains.iter();
    let mut trust_domains = names
        .map(|name| trust_domain_from_wire(FIELD, name))
        .collect::<Result<Vec<_>, _>>()?;
    if trust_domains.is_empty() {
        return Err(FieldError::new(
            FIELD,
            "no trust domains are given to compare with",
        ));
    }
    trust_domains.sort();
    trust_domains.dedup();
    Ok((how, trust_domains))
}

fn unknown_match(field: &'static str, number: i32) -> FieldError {
    FieldError::new(field, format!("comparison {number} is unknown"))
}
