//! Views as the Workload API sends them: encoded and framed once, for all
//! streams that share a view.

use api::workload::{JwtBundlesResponse, X509BundlesResponse, X509svid, X509svidResponse};
use bytes::Bytes;
use identity::Bundle;
use workload::{BundleView, Identity, X509View};

use crate::workload_api::frame;

/// The answer to FetchX509SVID, framed. It holds private keys.
pub(crate) fn x509(view: &X509View) -> Bytes {
    let own: Bytes = view.bundle.x509_concatenated().into();
    let svid = |identity: &Identity| X509svid {
        spiffe_id: identity.issued.svid.spiffe_id.to_string(),
        x509_svid: identity.issued.svid.chain.concat().into(),
        x509_svid_key: Bytes::copy_from_slice(identity.issued.key.secret_pkcs8()),
        bundle: own.clone(),
        hint: identity.entry.hint.clone(),
    };
    frame(&X509svidResponse {
        svids: view.identities.iter().map(svid).collect(),
        crl: view.crls.to_vec(),
        federated_bundles: view.federated.iter().map(|b| x509_authorities(b)).collect(),
    })
}

/// The answer to FetchX509Bundles, framed.
pub(crate) fn x509_bundles(view: &BundleView) -> Bytes {
    frame(&X509BundlesResponse {
        crl: view.crls.to_vec(),
        bundles: view.bundles.iter().map(|b| x509_authorities(b)).collect(),
    })
}

/// The answer to FetchJWTBundles, framed.
pub(crate) fn jwt_bundles(view: &BundleView) -> Bytes {
    frame(&JwtBundlesResponse {
        bundles: view.bundles.iter().map(|b| jwt_authorities(b)).collect(),
    })
}

/// FetchX509Bundles for a caller who may have the own bundle alone, framed.
pub(crate) fn own_x509_bundle(own: &Bundle, crls: &[Bytes]) -> Bytes {
    frame(&X509BundlesResponse {
        crl: crls.to_vec(),
        bundles: [x509_authorities(own)].into(),
    })
}

/// FetchJWTBundles for a caller who may have the own bundle alone, framed.
pub(crate) fn own_jwt_bundle(own: &Bundle) -> Bytes {
    frame(&JwtBundlesResponse {
        bundles: [jwt_authorities(own)].into(),
    })
}

fn x509_authorities(bundle: &Bundle) -> (String, Bytes) {
    (id(bundle), bundle.x509_concatenated().into())
}

fn jwt_authorities(bundle: &Bundle) -> (String, Bytes) {
    let jwks = verify::bundle_format::encode_jwt_keys(bundle);
    (id(bundle), jwks.into_bytes().into())
}

/// Bundle maps are keyed by the trust domain's SPIFFE ID.
fn id(bundle: &Bundle) -> String {
    bundle.trust_domain.id().to_string()
}
