//! `GET /v1/svid/x509`: the caller's X.509-SVIDs with their keys, and the bundles
//! to verify peers with, as PEM.

use std::sync::Arc;

use bytes::Bytes;
use identity::{Bundle, Timestamp};
use serde_json::{Map, Value, json};
use tonic::Code;
use workload::{Identity, X509View};

use super::conditions::{ETag, Tagger};
use super::poll::{Found, Look, Source};
use super::problem::Problem;
use super::{Call, pem};
use crate::hub::Subscription;
use crate::process::Attested;

/// The X.509-SVIDs of the caller.
pub(super) struct X509;

impl Source for X509 {
    const IS_VIEW: bool = true;

    async fn look(
        &self,
        _call: &Call<'_>,
        _attested: &Attested,
        view: &mut Subscription,
    ) -> Result<Look, Problem> {
        Ok(match view.x509() {
            Ok(Some(view)) => {
                let (body, tag) = view.document(document);
                Look::Found(Found {
                    body,
                    etag: ETag(tag),
                    stale_at: None,
                })
            }
            Ok(None) => Look::Pending,
            Err(status) => nothing(status)?,
        })
    }
}

/// A refusal that may end by itself.
pub(super) fn nothing(status: tonic::Status) -> Result<Look, Problem> {
    match status.code() {
        Code::PermissionDenied | Code::Unavailable => Ok(Look::Nothing(status.into())),
        _ => Err(status.into()),
    }
}

fn document(view: &X509View) -> (Bytes, Arc<str>) {
    let mut tagger = Tagger::new("x509");
    let svids: Vec<Value> = view
        .identities
        .iter()
        .map(|identity| {
            tag(&mut tagger, identity);
            svid(identity, &view.bundle)
        })
        .collect();
    let bundles = std::iter::once(&view.bundle).chain(&view.federated);
    bundles.for_each(|bundle| tag_bundle(&mut tagger, bundle));
    let federated: Map<String, Value> = view
        .federated
        .iter()
        .map(|b| (b.trust_domain.id().to_string(), authorities(b).into()))
        .collect();
    let svid_of = |i: &Identity| (i.issued.svid.not_after, i.issued.renewed_by());
    let times = view.identities.iter().map(svid_of);
    let (expires_at, renew_at) = earliest(times);
    let body = json!({
        "svids": svids,
        "federated_bundles": federated,
        "expires_at": expires_at,
        "renew_at": renew_at,
    });
    (super::text(&body), tagger.finish().0)
}

/// The earliest expiry and the earliest renewal.
pub(super) fn earliest(
    times: impl Iterator<Item = (Timestamp, Timestamp)>,
) -> (Option<i64>, Option<i64>) {
    let all: Vec<_> = times.collect();
    let expires_at = all.iter().map(|(expiry, _)| expiry.0).min();
    (expires_at, all.iter().map(|(_, renewal)| renewal.0).min())
}

fn svid(identity: &Identity, bundle: &Bundle) -> Value {
    let svid = &identity.issued.svid;
    let chain = svid.chain.iter().map(|der| &**der);
    let key = identity.issued.key.secret_pkcs8();
    json!({
        "spiffe_id": svid.spiffe_id.to_string(),
        "hint": identity.entry.hint,
        "x509_svid": pem::encode("CERTIFICATE", chain),
        "x509_svid_key": pem::encode("PRIVATE KEY", [key]),
        "bundle": authorities(bundle),
        "expires_at": svid.not_after.0,
        "renew_at": identity.issued.renewed_by().0,
    })
}

/// The X.509 authorities of a bundle, as PEM.
pub(super) fn authorities(bundle: &Bundle) -> String {
    let all = bundle.x509_authorities.iter().map(|a| &*a.der);
    pem::encode("CERTIFICATE", all)
}

// Each certificate has a serial number of its own, so that the key, which is secret,
// need not be in it.
fn tag(tagger: &mut Tagger, identity: &Identity) {
    tagger.add(identity.entry.hint.as_bytes());
    for der in &identity.issued.svid.chain {
        tagger.add(der);
    }
}

/// Adds the X.509 authorities of a bundle.
pub(super) fn tag_bundle(tagger: &mut Tagger, bundle: &Bundle) {
    tagger.add(bundle.trust_domain.as_str().as_bytes());
    for authority in &bundle.x509_authorities {
        tagger.add(&authority.der);
    }
}
