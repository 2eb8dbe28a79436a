//! The signed list of what is revoked: a compact JWS with a type of its own. Not a
//! credential, so it needs no record; and since its header and the shape of its
//! claims are written here, nothing else can be signed this way.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{REVOCATION_LIST_TYPE, RevocationList, Revoked};
use serde_json::{Value, json};

use super::JwtAuthority;
use crate::signature::{jws_algorithm, to_jws};
use crate::{FinishError, IssueError};

impl JwtAuthority {
    /// Signs a list. May block for as long as the signer does.
    ///
    /// # Errors
    /// The signer fails, or what it returns does not verify.
    pub fn sign_revocations(&self, list: &RevocationList) -> Result<String, IssueError> {
        let public_key = &self.issuer.public_key;
        let header = json!({
            "typ": REVOCATION_LIST_TYPE,
            "alg": jws_algorithm(public_key.key_type()),
            "kid": *self.issuer.key_id,
        });
        let mut text = URL_SAFE_NO_PAD.encode(header.to_string());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(claims(list).to_string(), &mut text);
        let signature = self.signer.sign(text.as_bytes())?;
        public_key
            .verify(text.as_bytes(), &signature)
            .or(Err(FinishError::DoesNotVerify))?;
        let signature = to_jws(public_key.key_type(), &signature).ok_or(FinishError::Malformed)?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut text);
        Ok(text)
    }
}

/// The claims, as docs/revocation.md publishes them. Reasons stay at home.
fn claims(list: &RevocationList) -> Value {
    let (mut serials, mut jtis, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for entry in &list.entries {
        let until = entry.until.map(|until| until.0);
        match &entry.what {
            Revoked::Serial(serial) => {
                serials.push(json!({ "serial": serial.to_string(), "until": until }));
            }
            Revoked::Jti(jti) => jtis.push(json!({ "jti": **jti, "until": until })),
            Revoked::Id(id) => ids.push(match until {
                Some(until) => json!({
                    "spiffe_id": id.as_str(), "issued_until": entry.at.0, "until": until,
                }),
                None => json!({
                    "spiffe_id": id.as_str(), "issued_until": entry.at.0, "until_lifted": true,
                }),
            }),
        }
    }
    json!({
        "iss": list.trust_domain.id().as_str(),
        "sequence": list.sequence,
        "iat": list.issued_at.0,
        "next_update": list.next_update.0,
        "serials": serials,
        "jtis": jtis,
        "ids": ids,
    })
}
