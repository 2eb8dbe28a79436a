//! TLS for those who know nothing of SPIFFE: a listener with a certificate of the
//! Web PKI, from PEM. It asks nobody for a certificate.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::ConfigError;

/// The certificate that a web listener shows now; set it again when it changes.
#[derive(Debug, Default)]
pub struct WebIdentity(ArcSwapOption<CertifiedKey>);

/// Why PEM files are no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebIdentityError {
    /// No certificate, or one that cannot be read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// No private key, or one that cannot be read.
    #[error("private key: {0}")]
    Key(String),
    /// They do not belong together.
    #[error("the private key is not the certificate's")]
    Mismatch,
}

impl WebIdentity {
    /// Takes a chain, leaf first, and its private key.
    ///
    /// # Errors
    /// They cannot be read or do not belong together; what was shown stays.
    pub fn set(&self, chain: &[u8], key: &[u8]) -> Result<(), WebIdentityError> {
        let certificates = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let certificates =
            certificates.map_err(|error| WebIdentityError::Certificate(error.to_string()))?;
        if certificates.is_empty() {
            return Err(WebIdentityError::Certificate("there is none".into()));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| WebIdentityError::Key(error.to_string()))?;
        let signer = ring::sign::any_supported_type(&key)
            .map_err(|error| WebIdentityError::Key(error.to_string()))?;
        let certified = CertifiedKey::new(certificates, signer);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(WebIdentityError::Mismatch),
            Err(error) => return Err(WebIdentityError::Certificate(error.to_string())),
        }
        self.0.store(Some(Arc::new(certified)));
        Ok(())
    }
}

impl ResolvesServerCert for WebIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

/// The configuration of a listener for the Web PKI. No tickets and no early data
/// here either: nothing on it is worth a second rule.
///
/// # Errors
/// rustls refuses the parameters (a defect of this build).
pub fn web_config(identity: Arc<WebIdentity>) -> Result<Arc<ServerConfig>, ConfigError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
