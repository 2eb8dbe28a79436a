//! Registration entries, with the masks that say which fields count.

use identity::{Entry, EntryFields, EntryId, Seconds, Timestamp};

use super::id::{id_from_wire, id_to_wire, selectors_from_wire, selectors_to_wire};
use super::{FieldError, trust_domain_from_wire};
use crate::types::{self, EntryMask, entry::AdditionalAttributes};

/// What the server, not the caller, says of a new entry.
pub struct EntryContext {
    /// The entry's name: the caller's own choice or a random one.
    pub id: EntryId,
    /// Now.
    pub created_at: Timestamp,
}

const EVERY_FIELD: EntryMask = EntryMask {
    spiffe_id: true,
    parent_id: true,
    selectors: true,
    x509_svid_ttl: true,
    federates_with: true,
    admin: true,
    downstream: true,
    expires_at: true,
    dns_names: true,
    revision_number: true,
    store_svid: true,
    jwt_svid_ttl: true,
    hint: true,
    created_at: true,
    additional_attributes: true,
};

/// The fields of a new entry; `Entry::new` still checks them against the trust
/// domain. Revision and creation time are the server's.
///
/// # Errors
/// Names the first field that cannot be parsed.
pub fn entry_from_wire(
    wire: &types::Entry,
    context: EntryContext,
) -> Result<EntryFields, FieldError> {
    let attributes = wire.additional_attributes.unwrap_or_default();
    Ok(EntryFields {
        id: context.id,
        spiffe_id: id_from_wire("entry.spiffe_id", wire.spiffe_id.as_ref())?,
        parent_id: id_from_wire("entry.parent_id", wire.parent_id.as_ref())?,
        selectors: selectors_from_wire("entry.selectors", &wire.selectors)?,
        x509_ttl: ttl("entry.x509_svid_ttl", wire.x509_svid_ttl)?,
        jwt_ttl: ttl("entry.jwt_svid_ttl", wire.jwt_svid_ttl)?,
        federates_with: federates_with(wire)?,
        admin: wire.admin,
        downstream: wire.downstream,
        expires_at: expiry(wire.expires_at)?,
        dns_names: wire.dns_names.clone(),
        revision: 0,
        store_svid: wire.store_svid,
        hint: wire.hint.clone(),
        created_at: context.created_at,
        disable_x509_prefetch: attributes.disable_x509_svid_prefetch,
        jwt_include_jti: attributes.jwt_svid_include_jti,
    })
}

/// An existing entry's fields with those of `wire` that the mask names (all
/// without a mask). Id, creation time and revision never come from the caller.
///
/// # Errors
/// Names the first masked field that cannot be parsed.
pub fn merge_entry(
    base: EntryFields,
    wire: &types::Entry,
    mask: Option<&EntryMask>,
) -> Result<EntryFields, FieldError> {
    let mask = mask.unwrap_or(&EVERY_FIELD);
    let mut merged = base;
    if mask.spiffe_id {
        merged.spiffe_id = id_from_wire("entry.spiffe_id", wire.spiffe_id.as_ref())?;
    }
    if mask.parent_id {
        merged.parent_id = id_from_wire("entry.parent_id", wire.parent_id.as_ref())?;
    }
    if mask.selectors {
        merged.selectors = selectors_from_wire("entry.selectors", &wire.selectors)?;
    }
    if mask.x509_svid_ttl {
        merged.x509_ttl = ttl("entry.x509_svid_ttl", wire.x509_svid_ttl)?;
    }
    if mask.jwt_svid_ttl {
        merged.jwt_ttl = ttl("entry.jwt_svid_ttl", wire.jwt_svid_ttl)?;
    }
    if mask.federates_with {
        merged.federates_with = federates_with(wire)?;
    }
    if mask.admin {
        merged.admin = wire.admin;
    }
    if mask.downstream {
        merged.downstream = wire.downstream;
    }
    if mask.expires_at {
        merged.expires_at = expiry(wire.expires_at)?;
    }
    if mask.dns_names {
        merged.dns_names.clone_from(&wire.dns_names);
    }
    if mask.store_svid {
        merged.store_svid = wire.store_svid;
    }
    if mask.hint {
        merged.hint.clone_from(&wire.hint);
    }
    if mask.additional_attributes {
        let attributes = wire.additional_attributes.unwrap_or_default();
        merged.disable_x509_prefetch = attributes.disable_x509_svid_prefetch;
        merged.jwt_include_jti = attributes.jwt_svid_include_jti;
    }
    Ok(merged)
}

/// The wire form of an entry: its id and the fields the mask names (all without
/// a mask).
#[must_use]
pub fn entry_to_wire(entry: &Entry, mask: Option<&EntryMask>) -> types::Entry {
    let mask = mask.unwrap_or(&EVERY_FIELD);
    let mut wire = types::Entry {
        id: entry.id.as_str().to_owned(),
        ..Default::default()
    };
    if mask.spiffe_id {
        wire.spiffe_id = Some(id_to_wire(&entry.spiffe_id));
    }
    if mask.parent_id {
        wire.parent_id = Some(id_to_wire(&entry.parent_id));
    }
    if mask.selectors {
        wire.selectors = selectors_to_wire(&entry.selectors);
    }
    if mask.x509_svid_ttl {
        wire.x509_svid_ttl = ttl_to_wire(entry.x509_ttl);
    }
    if mask.jwt_svid_ttl {
        wire.jwt_svid_ttl = ttl_to_wire(entry.jwt_ttl);
    }
    if mask.federates_with {
        let names = entry.federates_with.iter();
        wire.federates_with = names.map(|td| td.as_str().to_owned()).collect();
    }
    wire.admin = mask.admin && entry.admin;
    wire.downstream = mask.downstream && entry.downstream;
    if mask.expires_at {
        wire.expires_at = entry.expires_at.unwrap_or_default().0;
    }
    if mask.dns_names {
        wire.dns_names.clone_from(&entry.dns_names);
    }
    if mask.revision_number {
        wire.revision_number = entry.revision;
    }
    wire.store_svid = mask.store_svid && entry.store_svid;
    if mask.hint {
        wire.hint.clone_from(&entry.hint);
    }
    if mask.created_at {
        wire.created_at = entry.created_at.0;
    }
    if mask.additional_attributes {
        wire.additional_attributes = attributes(entry);
    }
    wire
}

fn attributes(entry: &Entry) -> Option<AdditionalAttributes> {
    let set = entry.disable_x509_prefetch || entry.jwt_include_jti;
    set.then_some(AdditionalAttributes {
        disable_x509_svid_prefetch: entry.disable_x509_prefetch,
        jwt_svid_include_jti: entry.jwt_include_jti,
    })
}

fn ttl(field: &'static str, seconds: i32) -> Result<Option<Seconds>, FieldError> {
    match u32::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(Seconds(seconds))),
        Err(_) => Err(FieldError::new(
            field,
            format!("a lifetime of {seconds} seconds is negative; 0 is the default"),
        )),
    }
}

fn ttl_to_wire(ttl: Option<Seconds>) -> i32 {
    ttl.map_or(0, |ttl| i32::try_from(ttl.0).unwrap_or(i32::MAX))
}

fn expiry(at: i64) -> Result<Option<Timestamp>, FieldError> {
    match at {
        0 => Ok(None),
        at if at < 0 => Err(FieldError::new(
            "entry.expires_at",
            format!("{at} is before 1970; 0 is never"),
        )),
        at => Ok(Some(Timestamp(at))),
    }
}

fn federates_with(wire: &types::Entry) -> Result<Vec<identity::TrustDomain>, FieldError> {
    let names = wire.federates_with.iter();
    names
        .map(|name| trust_domain_from_wire("entry.federates_with", name))
        .collect()
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
