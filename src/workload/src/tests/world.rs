//! Small values to fill a cache with.

use std::sync::Arc;

use identity::{
    Bundle, Entry, EntryFields, EntryId, JwtAuthorityKey, PrivateKeyDer, Selector, Selectors,
    SpiffeId, Timestamp, TrustDomain, X509AuthorityCertificate, X509Svid,
};

use crate::Issued;

pub(super) fn td() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(super) fn fed(n: u8) -> TrustDomain {
    TrustDomain::parse(&format!("fed{n}.org")).unwrap()
}

pub(super) fn entry_id(n: u8) -> EntryId {
    EntryId::parse(&format!("e{n}")).unwrap()
}

/// The selectors whose bits are set.
pub(super) fn selectors(bits: u8) -> Selectors {
    let set = (0..8_u8).filter(|n| bits & (1 << n) != 0);
    let one = |n: u8| Selector::new("t", &n.to_string()).unwrap();
    Selectors::new(set.map(one).collect()).unwrap()
}

/// Entry `n` with the SPIFFE ID `/w/<n>` for callers that have these selectors.
pub(super) fn fields(n: u8, bits: u8) -> EntryFields {
    EntryFields {
        id: entry_id(n),
        spiffe_id: SpiffeId::new(&td(), &format!("/w/{n}")).unwrap(),
        parent_id: SpiffeId::new(&td(), "/spire/agent/test/0").unwrap(),
        selectors: selectors(bits),
        x509_ttl: None,
        jwt_ttl: None,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: None,
        dns_names: Vec::new(),
        revision: 0,
        store_svid: false,
        hint: String::new(),
        created_at: Timestamp(i64::from(n)),
        disable_x509_prefetch: false,
        jwt_include_jti: false,
    }
}

pub(super) fn entry(fields: EntryFields) -> Arc<Entry> {
    Arc::new(Entry::new(fields, &td()).unwrap())
}

/// A bundle whose authorities are named by two numbers; 0 is none.
pub(super) fn bundle(of: TrustDomain, x509: u8, jwt: u8) -> Arc<Bundle> {
    let mut bundle = Bundle::empty(of);
    let numbers = |n: u8| (n > 0).then_some(n);
    bundle.x509_authorities = numbers(x509)
        .map(|n| X509AuthorityCertificate {
            der: [n].as_slice().into(),
            tainted: false,
        })
        .into_iter()
        .collect();
    bundle.jwt_authorities = numbers(jwt)
        .map(|n| JwtAuthorityKey {
            key_id: n.to_string().into(),
            spki: [n].as_slice().into(),
            expires_at: None,
            tainted: false,
        })
        .into_iter()
        .collect();
    Arc::new(bundle)
}

/// An SVID for the entry that lives from `now` for `life` seconds; `mark` tells
/// it from others.
pub(super) fn issued(entry: &Entry, mark: u64, now: i64, life: i64) -> Arc<Issued> {
    Arc::new(Issued {
        svid: X509Svid {
            spiffe_id: entry.spiffe_id.clone(),
            chain: vec![mark.to_be_bytes().as_slice().into()],
            not_before: Timestamp(now - 60),
            not_after: Timestamp(now + life),
        },
        key: PrivateKeyDer::new(b"key"),
        received_at: Timestamp(now),
    })
}
