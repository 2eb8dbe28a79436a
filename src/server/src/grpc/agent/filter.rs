//! Filters of agents, read off the wire.

use api::agent::{count_agents_request, list_agents_request};
use api::convert::FieldError;
use registry::NodeFilter;

use super::super::entry::selector_match;
use super::time;

/// The filter of a count.
pub(super) fn from_count(
    filter: Option<count_agents_request::Filter>,
) -> Result<NodeFilter, FieldError> {
    let filter = filter.map(|filter| list_agents_request::Filter {
        by_attestation_type: filter.by_attestation_type,
        by_selector_match: filter.by_selector_match,
        by_banned: filter.by_banned,
        by_can_reattest: filter.by_can_reattest,
        by_expires_before: filter.by_expires_before,
    });
    from_list(filter)
}

/// The filter of a list.
pub(super) fn from_list(
    filter: Option<list_agents_request::Filter>,
) -> Result<NodeFilter, FieldError> {
    let Some(filter) = filter else {
        return Ok(NodeFilter::default());
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    let selectors = filter
        .by_selector_match
        .map(|m| selector_match("filter.by_selector_match", &m));
    let before = given(filter.by_expires_before).map(|text| {
        // An unreadable time must not match every agent: purges rely on it.
        time::parse(&text).ok_or_else(|| {
            FieldError::new(
                "filter.by_expires_before",
                "it is no time; write it like 2026-01-31T23:59:59Z",
            )
        })
    });
    Ok(NodeFilter {
        attestor: given(filter.by_attestation_type),
        selectors: selectors.transpose()?,
        banned: filter.by_banned,
        can_reattest: filter.by_can_reattest,
        expires_before: before.transpose()?,
    })
}
