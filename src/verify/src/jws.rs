//! A signature without a meaning: one JWS against one key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::JwtAuthorityKey;

use crate::JwtFault;
use crate::jwt::{Parts, check_header, decode_object, verify_signature};

/// Verifies a compact JWS against one key and answers its payload, whatever that is.
///
/// The rules for the form, the header and the algorithm are those of
/// [`crate::verify_jwt_svid`], which is what a relying party wants: here nobody is
/// identified, and no audience and no time is checked. This is for what is signed by
/// the same keys and is no JWT-SVID, and for test vectors.
///
/// # Errors
/// The first rule broken.
pub fn verify_jws(token: &str, key: &JwtAuthorityKey) -> Result<Vec<u8>, JwtFault> {
    let parts = Parts::split(token)?;
    let (algorithm, key_id) = check_header(&decode_object(parts.header)?)?;
    if *key_id != *key.key_id {
        return Err(JwtFault::Header("kid is of another key"));
    }
    let payload = URL_SAFE_NO_PAD
        .decode(parts.claims)
        .or(Err(JwtFault::Encoding("a part is not canonical base64url")))?;
    verify_signature(&parts, &algorithm, key)?;
    Ok(payload)
}
