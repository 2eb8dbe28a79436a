//! Issued SVIDs, as the server API answers them: the entry's hint rides along.

use bytes::Bytes;
use identity::{JwtSvid, X509Svid};

use super::id::id_to_wire;
use crate::types;

/// The wire form of an X.509-SVID. The expiry is the leaf's own, not rounded.
#[must_use]
pub fn x509_svid_to_wire(svid: &X509Svid, hint: &str) -> types::X509svid {
    let certificates = svid.chain.iter();
    types::X509svid {
        cert_chain: certificates
            .map(|der| Bytes::copy_from_slice(der))
            .collect(),
        id: Some(id_to_wire(&svid.spiffe_id)),
        expires_at: svid.not_after.0,
        hint: hint.to_owned(),
    }
}

/// The wire form of a JWT-SVID.
#[must_use]
pub fn jwt_svid_to_wire(svid: &JwtSvid, hint: &str) -> types::Jwtsvid {
    types::Jwtsvid {
        token: svid.token.as_ref().to_owned(),
        id: Some(id_to_wire(&svid.spiffe_id)),
        expires_at: svid.expires_at.0,
        issued_at: svid.issued_at.0,
        hint: hint.to_owned(),
    }
}
