//! Registration entries as the store holds them.

use identity::{
    Entry, EntryFields, EntryId, Seconds, Selector, Selectors, SpiffeId, Timestamp, TrustDomain,
};
use prost::Message;

use crate::RecordError;
use crate::envelope::{ENTRY, open, seal};
use crate::error::damaged;

#[derive(Clone, PartialEq, Message)]
struct EntryBody {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    spiffe_id: String,
    #[prost(string, tag = "3")]
    parent_id: String,
    #[prost(string, repeated, tag = "4")]
    selectors: Vec<String>,
    #[prost(uint32, optional, tag = "5")]
    x509_ttl: Option<u32>,
    #[prost(uint32, optional, tag = "6")]
    jwt_ttl: Option<u32>,
    #[prost(string, repeated, tag = "7")]
    federates_with: Vec<String>,
    #[prost(bool, tag = "8")]
    admin: bool,
    #[prost(bool, tag = "9")]
    downstream: bool,
    #[prost(int64, optional, tag = "10")]
    expires_at: Option<i64>,
    #[prost(string, repeated, tag = "11")]
    dns_names: Vec<String>,
    #[prost(int64, tag = "12")]
    revision: i64,
    #[prost(bool, tag = "13")]
    store_svid: bool,
    #[prost(string, tag = "14")]
    hint: String,
    #[prost(int64, tag = "15")]
    created_at: i64,
    #[prost(bool, tag = "16")]
    disable_x509_prefetch: bool,
    #[prost(bool, tag = "17")]
    jwt_include_jti: bool,
}

/// Encodes an entry.
///
/// # Errors
/// [`RecordError::TooLarge`]: it does not fit into one record.
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, RecordError> {
    let body = EntryBody {
        id: entry.id.as_str().into(),
        spiffe_id: entry.spiffe_id.as_str().into(),
        parent_id: entry.parent_id.as_str().into(),
        selectors: texts(&entry.selectors),
        x509_ttl: entry.x509_ttl.map(|s| s.0),
        jwt_ttl: entry.jwt_ttl.map(|s| s.0),
        federates_with: entry
            .federates_with
            .iter()
            .map(|td| td.as_str().into())
            .collect(),
        admin: entry.admin,
        downstream: entry.downstream,
        expires_at: entry.expires_at.map(|t| t.0),
        dns_names: entry.dns_names.clone(),
        revision: entry.revision,
        store_svid: entry.store_svid,
        hint: entry.hint.clone(),
        created_at: entry.created_at.0,
        disable_x509_prefetch: entry.disable_x509_prefetch,
        jwt_include_jti: entry.jwt_include_jti,
    };
    seal(ENTRY, &body)
}

/// Decodes an entry and checks it again for a server of `td`: what was valid
/// when it was stored may not be under today's rules.
///
/// # Errors
/// The bytes are no entry record, or the entry breaks a rule.
pub fn decode_entry(bytes: &[u8], td: &TrustDomain) -> Result<Entry, RecordError> {
    let body: EntryBody = open(ENTRY, bytes)?;
    let bad = |e: &dyn std::fmt::Display| damaged(ENTRY, e);
    let federates_with = body
        .federates_with
        .iter()
        .map(|name| TrustDomain::parse(name))
        .collect::<Result<_, _>>()
        .map_err(|e| bad(&e))?;
    let fields = EntryFields {
        id: EntryId::parse(&body.id).map_err(|e| bad(&e))?,
        spiffe_id: SpiffeId::parse(&body.spiffe_id).map_err(|e| bad(&e))?,
        parent_id: SpiffeId::parse(&body.parent_id).map_err(|e| bad(&e))?,
        selectors: selectors(&body.selectors).map_err(|e| bad(&e))?,
        x509_ttl: body.x509_ttl.map(Seconds),
        jwt_ttl: body.jwt_ttl.map(Seconds),
        federates_with,
        admin: body.admin,
        downstream: body.downstream,
        expires_at: body.expires_at.map(Timestamp),
        dns_names: body.dns_names,
        revision: body.revision,
        store_svid: body.store_svid,
        hint: body.hint,
        created_at: Timestamp(body.created_at),
        disable_x509_prefetch: body.disable_x509_prefetch,
        jwt_include_jti: body.jwt_include_jti,
    };
    Entry::new(fields, td).map_err(|e| bad(&e))
}

pub(crate) fn texts(selectors: &Selectors) -> Vec<String> {
    selectors.iter().map(|s| s.as_str().into()).collect()
}

pub(crate) fn selectors(texts: &[String]) -> Result<Selectors, identity::SelectorError> {
    let list = texts
        .iter()
        .map(|text| Selector::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    Selectors::new(list)
}
