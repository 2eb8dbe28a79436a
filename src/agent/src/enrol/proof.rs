//! What this node proves itself with: a certificate of the operator's CA when the
//! configuration names one, else a join token.

use std::path::Path;

use contract::Prove;
use join_token::JoinTokenProver;
use x509_pop::{NodeCertificate, X509PopProver};

use super::{EnrolError, Enroller};
use crate::config::{JoinToken, X509PopConfig};
use crate::disk::{read_limited, read_secret};
use crate::limits;

impl Enroller<'_> {
    /// The prover for one attestation. Files are read each time: the node's
    /// certificate is renewed by somebody else.
    pub(super) fn prover(&self, why: &'static str) -> Result<Box<dyn Prove>, EnrolError> {
        if let Some(files) = &self.settings.config.attestors.x509_pop {
            return self.certificate(files);
        }
        let token = self.token(why)?;
        let token = join_token::JoinToken::parse(token.secret())
            .or(Err(EnrolError::NoToken("the join token cannot be one")))?;
        Ok(Box::new(JoinTokenProver::new(token)))
    }

    fn certificate(&self, files: &X509PopConfig) -> Result<Box<dyn Prove>, EnrolError> {
        let unusable = |path: &Path, why: String| EnrolError::NodeCertificate {
            path: path.to_owned(),
            why,
        };
        let read = |path: &Path| {
            read_limited(path, limits::SMALL_FILE_BYTES)?
                .ok_or_else(|| unusable(path, "there is no such file".to_owned()))
        };
        let certificate = read(&files.certificate_file)?;
        let key = read_secret(&files.key_file)?;
        let parsed = NodeCertificate::from_pem(&certificate, &key, self.entropy.rng());
        let parsed = parsed.map_err(|e| unusable(&files.certificate_file, e.to_string()))?;
        Ok(Box::new(X509PopProver::new(parsed, self.entropy.source())))
    }

    fn token(&self, why: &'static str) -> Result<JoinToken, EnrolError> {
        let config = &self.settings.config;
        if let Some(token) = &config.join_token {
            return Ok(token.clone());
        }
        let Some(path) = &config.join_token_file else {
            return Err(EnrolError::NoToken(why));
        };
        let unusable = |why: String| EnrolError::TokenFile {
            path: path.clone(),
            why,
        };
        let bytes = read_secret(path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| unusable(format!("it is not text: {error}")))?;
        JoinToken::new(text).map_err(|e| unusable(e.to_string()))
    }
}
