//! One key of a token.

use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::mechanism::Mechanism;
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use keys::{KeyType, PublicKey, SignError, Signer, der};
use ring::digest;

use crate::fault::Fault;
use crate::find::{self, Lookup};
use crate::token::Token;

/// `DigestInfo` of SHA-256 up to the digest (RFC 8017 section 9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

pub(crate) struct TokenSigner {
    pub(crate) token: Arc<Token>,
    /// The token's name in errors.
    pub(crate) name: Arc<str>,
    pub(crate) label: Vec<u8>,
    pub(crate) public_key: PublicKey,
    /// The private key's handle, and the generation of sessions in which it holds.
    pub(crate) handle: Mutex<Option<(u64, ObjectHandle)>>,
}

impl TokenSigner {
    /// The handle, looked up again after the token was.
    fn handle(&self, session: &Session, generation: u64) -> Result<ObjectHandle, Fault> {
        let known = *self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((when, handle)) = known
            && when == generation
        {
            return Ok(handle);
        }
        let found = match find::key(session, &self.label)? {
            Lookup::Found(found) if found.public_key == self.public_key => found.private,
            Lookup::Found(_) => return Err(Fault::Refused("another key has its label".into())),
            Lookup::Missing => return Err(Fault::Refused("the key is gone".into())),
            Lookup::Unfit(why) => return Err(Fault::Refused(why.into())),
        };
        *self.handle.lock().unwrap_or_else(PoisonError::into_inner) = Some((generation, found));
        Ok(found)
    }

    fn raw(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let (mechanism, input) = match self.public_key.key_type() {
            KeyType::EcP256 => (Mechanism::Ecdsa, hash(&digest::SHA256, message)),
            KeyType::EcP384 => (Mechanism::Ecdsa, hash(&digest::SHA384, message)),
            KeyType::Rsa2048 | KeyType::Rsa4096 => {
                let mut info = SHA256_INFO.to_vec();
                info.extend_from_slice(&hash(&digest::SHA256, message));
                (Mechanism::RsaPkcs, info)
            }
        };
        self.token.with(|session, generation| {
            let handle = self.handle(session, generation)?;
            Ok(session.sign(&mechanism, handle, &input)?)
        })
    }
}

fn hash(algorithm: &'static digest::Algorithm, message: &[u8]) -> Vec<u8> {
    digest::digest(algorithm, message).as_ref().to_vec()
}

impl Signer for TokenSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let wrong = |what: &str| SignError::Refused(format!("{}: {what}", self.name).into());
        let raw = self.raw(message).map_err(|fault| fault.sign(&self.name))?;
        let signature = if self.public_key.key_type().is_rsa() {
            raw
        } else {
            der::ecdsa_sig_value(&raw)
                .ok_or_else(|| wrong("its signature is no ECDSA signature"))?
        };
        // What comes from elsewhere is not believed.
        let verified = self.public_key.verify(message, &signature);
        verified.map_err(|_bad| wrong("its signature does not verify"))?;
        Ok(signature)
    }

    fn is_remote(&self) -> bool {
        true
    }
}
