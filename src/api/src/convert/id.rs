//! SPIFFE IDs, trust domains and selectors.

use identity::{Selector, Selectors, SpiffeId, TrustDomain};

use super::FieldError;
use crate::types;

/// Parses a trust domain as stock tools send it: bare, as `spiffe://name`, or
/// with a path, which is dropped.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn trust_domain_from_wire(field: &'static str, text: &str) -> Result<TrustDomain, FieldError> {
    TrustDomain::from_human(text).map_err(|error| FieldError::new(field, error))
}

/// Parses a SPIFFE ID that must be there.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn id_from_wire(
    field: &'static str,
    wire: Option<&types::Spiffeid>,
) -> Result<SpiffeId, FieldError> {
    optional_id_from_wire(field, wire)?
        .ok_or_else(|| FieldError::new(field, "a SPIFFE ID is required"))
}

/// Parses a SPIFFE ID that may be absent.
///
/// # Errors
/// Names the field and the rule that is broken.
pub fn optional_id_from_wire(
    field: &'static str,
    wire: Option<&types::Spiffeid>,
) -> Result<Option<SpiffeId>, FieldError> {
    let Some(wire) = wire else {
        return Ok(None);
    };
    let trust_domain = trust_domain_from_wire(field, &wire.trust_domain)?;
    SpiffeId::new(&trust_domain, &wire.path)
        .map(Some)
        .map_err(|error| FieldError::new(field, error))
}

/// The wire form of a SPIFFE ID.
#[must_use]
pub fn id_to_wire(id: &SpiffeId) -> types::Spiffeid {
    types::Spiffeid {
        trust_domain: id.trust_domain_str().to_owned(),
        path: id.path().to_owned(),
    }
}

/// Parses a selector set.
///
/// # Errors
/// Names the field and what is wrong with the first bad selector.
pub fn selectors_from_wire(
    field: &'static str,
    wire: &[types::Selector],
) -> Result<Selectors, FieldError> {
    let list = wire
        .iter()
        .map(|s| Selector::new(&s.r#type, &s.value))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| FieldError::new(field, error))?;
    Selectors::new(list).map_err(|error| FieldError::new(field, error))
}

/// The wire form of a selector set.
#[must_use]
pub fn selectors_to_wire(selectors: &Selectors) -> Vec<types::Selector> {
    selectors
        .iter()
        .map(|s| types::Selector {
            r#type: s.kind().to_owned(),
            value: s.value().to_owned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(trust_domain: &str, path: &str) -> types::Spiffeid {
        types::Spiffeid {
            trust_domain: trust_domain.into(),
            path: path.into(),
        }
    }

    #[test]
    fn trust_domains_arrive_in_three_shapes() {
        for shape in [
            "example.org",
            "spiffe://example.org",
            "spiffe://example.org/x",
        ] {
            let id = id_from_wire("id", Some(&wire(shape, "/web"))).unwrap();
            assert_eq!(id.as_str(), "spiffe://example.org/web", "{shape}");
        }
    }

    #[test]
    fn refusals_name_the_field() {
        let bad = [
            (None, "id: a SPIFFE ID is required"),
            (Some(wire("", "/web")), "id: trust domain name is empty"),
            (Some(wire("a b", "/web")), "id: trust domain name has"),
            (Some(wire("example.org", "web")), "id: "),
            (Some(wire("example.org", "/a//b")), "id: "),
            (Some(wire("example.org", "/../b")), "id: "),
            (Some(wire("example.org", "/")), "id: "),
        ];
        for (wire, start) in bad {
            let error = id_from_wire("id", wire.as_ref()).unwrap_err().to_string();
            assert!(error.starts_with(start), "{wire:?}: {error}");
        }
    }

    #[test]
    fn selectors_are_checked_one_by_one() {
        let one = |kind: &str, value: &str| types::Selector {
            r#type: kind.into(),
            value: value.into(),
        };
        let good = [
            one("unix", "uid:1"),
            one("unix", "gid:1"),
            one("unix", "uid:1"),
        ];
        assert_eq!(selectors_from_wire("s", &good).unwrap().len(), 2);
        for bad in [
            one("", "x"),
            one("a:b", "x"),
            one("unix", ""),
            one("unix", "a\n"),
        ] {
            let error = selectors_from_wire("entry.selectors", &[bad]).unwrap_err();
            assert_eq!(error.field(), "entry.selectors");
        }
    }
}
