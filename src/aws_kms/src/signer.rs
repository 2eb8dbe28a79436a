//! One key in KMS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use keys::{KeyType, PublicKey, SignError, Signer};
use ring::digest;
use serde_json::{Value, json};

use crate::call::Kms;
use crate::fault::NAME;
use crate::limits;

pub(crate) struct KmsSigner {
    pub(crate) kms: Arc<Kms>,
    /// The key's own id: an alias can be moved.
    pub(crate) key_id: String,
    pub(crate) public_key: PublicKey,
    pub(crate) budget: Duration,
}

/// What KMS is asked. It hashes short messages itself; of long ones it takes the
/// digest.
fn request(key_id: &str, key_type: KeyType, message: &[u8]) -> Value {
    let (algorithm, hash) = match key_type {
        KeyType::EcP256 => ("ECDSA_SHA_256", &digest::SHA256),
        KeyType::EcP384 => ("ECDSA_SHA_384", &digest::SHA384),
        KeyType::Rsa2048 | KeyType::Rsa4096 => ("RSASSA_PKCS1_V1_5_SHA_256", &digest::SHA256),
    };
    let (kind, message) = if message.len() <= limits::MAX_RAW_BYTES {
        ("RAW", BASE64_STANDARD.encode(message))
    } else {
        let digest = digest::digest(hash, message);
        ("DIGEST", BASE64_STANDARD.encode(digest))
    };
    json!({
        "KeyId": key_id,
        "Message": message,
        "MessageType": kind,
        "SigningAlgorithm": algorithm,
    })
}

impl Signer for KmsSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let wrong = |what: &str| SignError::Refused(format!("{NAME}: {what}").into());
        let asked = request(&self.key_id, self.public_key.key_type(), message);
        let answer = self.kms.call("Sign", &asked, self.budget);
        let answer = answer.map_err(crate::fault::Fault::sign)?;
        let signature = answer.get("Signature").and_then(Value::as_str);
        let signature = signature.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let signature = signature.ok_or_else(|| wrong("its answer holds no signature"))?;
        // What comes from elsewhere is not believed.
        let verified = self.public_key.verify(message, &signature);
        verified.map_err(|_bad| wrong("its signature does not verify"))?;
        Ok(signature)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_messages_go_raw_and_of_long_ones_the_digest() {
        let short = request("k", KeyType::EcP384, b"message");
        assert_eq!(short["MessageType"], "RAW");
        assert_eq!(short["Message"], BASE64_STANDARD.encode(b"message"));
        assert_eq!(short["SigningAlgorithm"], "ECDSA_SHA_384");
        let message = [7; limits::MAX_RAW_BYTES + 1];
        for (kind, hash) in [
            (KeyType::EcP256, &digest::SHA256),
            (KeyType::EcP384, &digest::SHA384),
            (KeyType::Rsa2048, &digest::SHA256),
        ] {
            let long = request("k", kind, &message);
            assert_eq!(long["MessageType"], "DIGEST");
            let digest = BASE64_STANDARD.encode(digest::digest(hash, &message));
            assert_eq!(long["Message"], digest);
        }
    }
}
