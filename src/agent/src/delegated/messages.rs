//! What delegates are sent, in SPIRE's form.

use api::convert::{jwt_svid_to_wire, x509_svid_to_wire};
use api::delegated_identity as wire;
use bytes::Bytes;
use identity::{Bundle, Entry};
use std::sync::Arc;
use workload::X509View;

use crate::workload_api::{Granted, frame};

/// Whether a delegate may have identities of this entry: not those that can call
/// the server's API.
pub(super) fn may_be_delegated(entry: &Entry) -> bool {
    !entry.admin && !entry.downstream
}

/// A workload's X.509-SVIDs with their keys; none is an answer, too.
pub(super) fn x509_svids(view: Option<&X509View>) -> Bytes {
    let identities = view.map_or(&[][..], |view| &view.identities);
    let svids = identities
        .iter()
        .filter(|identity| may_be_delegated(&identity.entry))
        .map(|identity| wire::X509svidWithKey {
            x509_svid: Some(x509_svid_to_wire(
                &identity.issued.svid,
                &identity.entry.hint,
            )),
            x509_svid_key: Bytes::copy_from_slice(identity.issued.key.secret_pkcs8()),
        });
    let federated = view.map_or(&[][..], |view| &view.federated);
    frame(&wire::SubscribeToX509sviDsResponse {
        x509_svids: svids.collect(),
        federates_with: federated.iter().map(|bundle| id(bundle)).collect(),
    })
}

/// A workload's tokens.
pub(super) fn jwt_svids(granted: &[Granted]) -> Bytes {
    let svids = granted.iter();
    frame(&wire::FetchJwtsviDsResponse {
        svids: svids
            .map(|(entry, svid)| jwt_svid_to_wire(svid, &entry.hint))
            .collect(),
    })
}

/// X.509 authorities of all trust domains.
pub(super) fn x509_bundles(bundles: &[Arc<Bundle>]) -> Bytes {
    let all = bundles.iter();
    frame(&wire::SubscribeToX509BundlesResponse {
        ca_certificates: all
            .map(|bundle| (id(bundle), bundle.x509_concatenated().into()))
            .collect(),
    })
}

/// JWT authorities of all trust domains.
pub(super) fn jwt_bundles(bundles: &[Arc<Bundle>]) -> Bytes {
    let jwks = |bundle: &Bundle| verify::bundle_format::encode_jwt_keys(bundle).into_bytes();
    let all = bundles.iter();
    frame(&wire::SubscribeToJwtBundlesResponse {
        bundles: all
            .map(|bundle| (id(bundle), jwks(bundle).into()))
            .collect(),
    })
}

fn id(bundle: &Bundle) -> String {
    bundle.trust_domain.id().to_string()
}
