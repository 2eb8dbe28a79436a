//! From the store's bytes to typed changes and back. A record that cannot be read
//! is poison: it is named, counted and left out, and never stops the others. Only of
//! what is revoked nothing may be left out: see [`unread_revocation`].

use std::sync::Arc;

use identity::{
    Bundle, EntryId, JwtAuthorityKey, Node, Revocation, Revoked, SpiffeId, Timestamp, TrustDomain,
};
use records::{
    ActivationRecord, BreakGlassRecord, JoinTokenRecord, RecordError, TokenLimitsRecord,
    TrustOwner, TrustRecord, key,
};
use registry::Change;
use store::{Key, Value, Write};

/// The kinds of records whose loss would let more through than before.
const REVOCATION: &str = "revocation";
const REVOCATION_LIST: &str = "revocation_list";
const POLICY: &str = "policy";
/// The path of a server's own ID.
const SERVER_PATH: &str = "/spire/server";
/// The end of the year 9999, where certificates end that have no end (RFC 5280
/// section 4.1.2.5).
const NEVER_SPENT: Timestamp = Timestamp(253_402_300_799);

/// What one stored record means to the in-memory view.
pub(crate) enum Stored {
    /// A change of entries, nodes or bundles.
    Registry(Change),
    /// A join token appeared (or vanished).
    Token([u8; 32], Option<JoinTokenRecord>),
    /// A signing authority's public half: read by `authorities`, not by the view.
    Authority,
    /// The server's own part of the own bundle.
    OwnBundle(Option<Bundle>),
    /// JWT keys that an authority above publishes, by the name of the record. Its roots
    /// are read by `authorities`, which puts them into the own part.
    Upstream(String, Option<Vec<JwtAuthorityKey>>),
    /// What one owner brought into the own bundle.
    Trust(TrustOwner, Option<TrustRecord>),
    /// A policy set was activated (or the activation forgotten).
    Activation(u64, Option<ActivationRecord>),
    /// A part of a policy set: read when the set is loaded.
    PolicyChunk,
    /// An entry's limits.
    Limits(EntryId, Option<TokenLimitsRecord>),
    /// Break-glass, by its id.
    Glass(String, Option<BreakGlassRecord>),
}

/// A record that this program cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poison {
    /// What its key says it is; nothing when the key is not ours.
    pub(crate) kind: String,
    /// Its key, readable.
    pub(crate) key: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// Reads one record, or the deletion of one (`value` is `None`).
pub(crate) fn decode(td: &TrustDomain, key: &[u8], value: Option<&[u8]>) -> Result<Stored, Poison> {
    let poison = |kind: &str, why: String| Poison {
        kind: kind.to_owned(),
        key: key.escape_ascii().to_string(),
        why,
    };
    let (kind, name) = split(td, key).ok_or_else(|| poison("", "its key is not ours".into()))?;
    let stored = match (kind, value) {
        ("entry", value) => entry(td, name, value),
        ("node", value) => node(td, name, value),
        ("bundle", value) => bundle(td, name, value),
        ("trust", value) => trust(td, name, value),
        ("upstream", value) => upstream(name, value),
        ("token", value) => token(name, value),
        (REVOCATION, value) => revocation(td, name, value),
        (REVOCATION_LIST, value) => revocation_sequence(value),
        ("authority", _) => Ok(Stored::Authority),
        (POLICY, value) => policy(name, value),
        ("limits", value) => limits(name, value),
        ("glass", value) => glass(name, value),
        (other, _) => Err(format!("its kind {other:?} is unknown")),
    };
    stored.map_err(|why| poison(kind, why))
}

impl Poison {
    /// The number of the activation of a policy set that it is a record of.
    pub(crate) fn activation(&self) -> Option<u64> {
        let (_, number) = self.key.rsplit_once("history-")?;
        (self.kind == POLICY).then(|| number.parse().ok())?
    }

    /// Whether it says something about what is revoked.
    pub(crate) fn is_revocation(&self) -> bool {
        self.kind == REVOCATION || self.kind == REVOCATION_LIST
    }
}

/// What a revocation comes to whose record cannot be read: its key still names what is
/// revoked, and that is refused until an administrator lifts it. `None` when the key
/// names nothing either.
pub(crate) fn unread_revocation(
    td: &TrustDomain,
    key: &[u8],
    now: Timestamp,
) -> Option<Revocation> {
    let Ok(Stored::Registry(Change::DeleteRevocation(what))) = decode(td, key, None) else {
        return None;
    };
    // Agents could not reach a server whose own ID is refused for good, and such a
    // revocation is never made.
    let is_server = matches!(&what, Revoked::Id(id) if id.path() == SERVER_PATH);
    let is_id = matches!(what, Revoked::Id(_));
    Some(Revocation {
        what,
        at: now,
        until: (is_server || !is_id).then_some(NEVER_SPENT),
        authority: "".into(),
        reason: "its record cannot be read, so it stays in force until it is lifted".into(),
    })
}

/// `<td>/<kind>/<name>` as kind and name.
fn split<'k>(td: &TrustDomain, key: &'k [u8]) -> Option<(&'k str, &'k str)> {
    let text = std::str::from_utf8(key).ok()?;
    let rest = text.strip_prefix(td.as_str())?.strip_prefix('/')?;
    rest.split_once('/')
}

fn entry(td: &TrustDomain, name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let id = EntryId::parse(name).map_err(text)?;
    let Some(bytes) = value else {
        return Ok(Stored::Registry(Change::DeleteEntry(id)));
    };
    let entry = records::decode_entry(bytes, td).map_err(text)?;
    if entry.id != id {
        return Err(format!("it says it is entry {}", entry.id));
    }
    Ok(Stored::Registry(Change::PutEntry(Arc::new(entry))))
}

fn node(td: &TrustDomain, name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let id = SpiffeId::new(td, &format!("/{name}")).map_err(text)?;
    let Some(bytes) = value else {
        return Ok(Stored::Registry(Change::DeleteNode(id)));
    };
    let node = records::decode_node(bytes).map_err(text)?;
    if node.id != id {
        return Err(format!("it says it is node {}", node.id));
    }
    Ok(Stored::Registry(Change::PutNode(Arc::new(node))))
}

fn bundle(td: &TrustDomain, name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let of = TrustDomain::parse(name).map_err(text)?;
    let Some(bytes) = value else {
        if of == *td {
            return Ok(Stored::OwnBundle(None));
        }
        return Ok(Stored::Registry(Change::DeleteBundle(of)));
    };
    let bundle = records::decode_bundle(bytes).map_err(text)?;
    if bundle.trust_domain != of {
        return Err(format!(
            "it says it is the bundle of {}",
            bundle.trust_domain
        ));
    }
    if of == *td {
        return Ok(Stored::OwnBundle(Some(bundle)));
    }
    Ok(Stored::Registry(Change::PutBundle(Arc::new(bundle))))
}

fn upstream(name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let known = value.map(records::decode_bundle).transpose();
    let keys = known.map_err(text)?.map(|known| known.jwt_authorities);
    Ok(Stored::Upstream(name.to_owned(), keys))
}

fn trust(td: &TrustDomain, name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let owner = TrustOwner::parse(name).ok_or("its key names no owner")?;
    let record = value.map(|bytes| records::decode_trust(bytes, td));
    let record = record.transpose().map_err(text)?;
    if record.as_ref().is_some_and(|record| record.owner != owner) {
        return Err("it says it is another owner's".into());
    }
    Ok(Stored::Trust(owner, record))
}

fn token(name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let mut sha256 = [0; 32];
    hex::decode_to_slice(name, &mut sha256).map_err(text)?;
    let Some(bytes) = value else {
        return Ok(Stored::Token(sha256, None));
    };
    let token = records::decode_token(bytes).map_err(text)?;
    if token.sha256 != sha256 {
        return Err("its key is another token's".into());
    }
    Ok(Stored::Token(sha256, Some(token)))
}

fn policy(name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let Some(number) = name.strip_prefix("history-") else {
        return Ok(Stored::PolicyChunk);
    };
    let number = number.parse().map_err(text)?;
    let Some(bytes) = value else {
        return Ok(Stored::Activation(number, None));
    };
    let activation = records::decode_activation(bytes).map_err(text)?;
    if activation.number != number {
        return Err(format!("it says it is activation {}", activation.number));
    }
    Ok(Stored::Activation(number, Some(activation)))
}

fn limits(name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let id = EntryId::parse(name).map_err(text)?;
    let limits = value.map(records::decode_token_limits).transpose();
    let limits = limits.map_err(text)?;
    if limits.as_ref().is_some_and(|limits| limits.entry != id) {
        return Err("it says it is another entry's".into());
    }
    Ok(Stored::Limits(id, limits))
}

fn glass(name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let glass = value.map(records::decode_break_glass).transpose();
    let glass = glass.map_err(text)?;
    if glass.as_ref().is_some_and(|glass| glass.id != name) {
        return Err("it says it is another one".into());
    }
    Ok(Stored::Glass(name.to_owned(), glass))
}

fn revocation(td: &TrustDomain, name: &str, value: Option<&[u8]>) -> Result<Stored, String> {
    let Some(bytes) = value else {
        return Ok(Stored::Registry(Change::DeleteRevocation(revoked(
            td, name,
        )?)));
    };
    let revocation = records::decode_revocation(bytes, td).map_err(text)?;
    if revocation.what != revoked(td, name)? {
        return Err(format!("it says it revokes {}", revocation.what));
    }
    Ok(Stored::Registry(Change::PutRevocation(Arc::new(
        revocation,
    ))))
}

/// What the key of a revocation names.
fn revoked(td: &TrustDomain, name: &str) -> Result<Revoked, String> {
    let (kind, value) = name.split_once('/').ok_or("its key names nothing")?;
    let value = match kind {
        "jti" => String::from_utf8(hex::decode(value).map_err(text)?).map_err(text)?,
        "id" => SpiffeId::new(td, &format!("/{value}"))
            .map_err(text)?
            .to_string(),
        _ => value.to_owned(),
    };
    Revoked::parse(kind, &value, td).map_err(text)
}

fn revocation_sequence(value: Option<&[u8]>) -> Result<Stored, String> {
    // It is never deleted; what is known of it stays.
    let sequence = value.map_or(Ok(0), records::decode_revocation_sequence);
    let sequence = sequence.map_err(text)?;
    Ok(Stored::Registry(Change::RevocationSequence(sequence)))
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// The write that stores an entry, with its key.
pub(crate) fn put_entry(
    td: &TrustDomain,
    entry: &identity::Entry,
) -> Result<(Key, Write), RecordError> {
    put(key::entry(td, &entry.id), records::encode_entry(entry)?)
}

/// The write that stores a node, with its key.
pub(crate) fn put_node(td: &TrustDomain, node: &Node) -> Result<(Key, Write), RecordError> {
    put(key::node(td, &node.id), records::encode_node(node)?)
}

/// The write that stores a join token, with its key.
pub(crate) fn put_token(
    td: &TrustDomain,
    token: &JoinTokenRecord,
) -> Result<(Key, Write), RecordError> {
    put(key::token(td, &token.sha256), records::encode_token(token)?)
}

/// The write that stores a bundle, with its key.
pub(crate) fn put_bundle(td: &TrustDomain, bundle: &Bundle) -> Result<(Key, Write), RecordError> {
    put(
        key::bundle(td, &bundle.trust_domain),
        records::encode_bundle(bundle)?,
    )
}

/// The write that stores the server's own part of the own bundle.
pub(crate) fn put_own_bundle(bundle: &Bundle) -> Result<Write, RecordError> {
    let td = &bundle.trust_domain;
    let value = records::encode_own_bundle(bundle)?;
    put(key::bundle(td, td), value).map(|(_, write)| write)
}

/// The write that stores an activation, with its key.
pub(crate) fn put_activation(
    td: &TrustDomain,
    activation: &ActivationRecord,
) -> Result<(Key, Write), RecordError> {
    let key = key::activation(td, activation.number);
    put(key, records::encode_activation(activation)?)
}

/// The write that stores an entry's limits, with its key.
pub(crate) fn put_limits(
    td: &TrustDomain,
    limits: &TokenLimitsRecord,
) -> Result<(Key, Write), RecordError> {
    let key = key::token_limits(td, &limits.entry);
    put(key, records::encode_token_limits(limits)?)
}

/// The write that stores break-glass, with its key.
pub(crate) fn put_glass(
    td: &TrustDomain,
    glass: &BreakGlassRecord,
) -> Result<(Key, Write), RecordError> {
    let key = key::break_glass(td, &glass.id);
    put(key, records::encode_break_glass(glass)?)
}

fn put(key: Vec<u8>, value: Vec<u8>) -> Result<(Key, Write), RecordError> {
    let key: Key = key.into();
    let value: Value = value.into();
    Ok((Arc::clone(&key), Write::Put(key, value)))
}
