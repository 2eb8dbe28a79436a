//! rustls configurations by SPIFFE ID: TLS 1.2 or newer, ring, ALPN, and
//! nothing that would let a connection skip the verifier: no tickets, no session
//! cache, no early data. A resumed session takes the peer's identity from the past:
//! it would go on working after the authority that vouched for it was revoked.

use std::sync::Arc;

use identity::SpiffeId;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, ServerConfig};

use crate::verifier::{AcceptServer, ClientVerifier, ServerVerifier};
use crate::{Clock, LiveBundles, LiveIdentity};

pub use crate::verifier::Captured;

/// Whether a listener insists on a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Asked for, verified when shown; needed where strangers may enrol.
    Optional,
    /// No certificate, no connection.
    Required,
}

/// Which server a client insists on.
#[derive(Clone, Debug)]
pub struct Expect {
    /// The exact SPIFFE ID the server must prove.
    pub server: SpiffeId,
    /// Where the bundle of that ID's trust domain is looked up, at each handshake.
    pub bundles: Arc<LiveBundles>,
}

/// Why no TLS configuration could be built.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// rustls refused the parameters.
    #[error("TLS configuration could not be built")]
    Rustls(#[from] rustls::Error),
}

/// The configuration of a listener that proves itself with `identity` and
/// verifies clients against `bundles` at the time `clock` tells.
///
/// # Errors
/// rustls refuses the parameters (a defect of this build).
pub fn server_config(
    identity: Arc<LiveIdentity>,
    bundles: Arc<LiveBundles>,
    client_auth: ClientAuth,
    clock: Clock,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let provider = provider();
    let verifier = ClientVerifier::new(bundles, clock, client_auth, &provider);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(identity);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a client that accepts only the server it expects, and
/// shows `identity` when it is given and asked for.
///
/// # Errors
/// rustls refuses the parameters (a defect of this build).
pub fn client_config(
    identity: Option<Arc<LiveIdentity>>,
    expect: Expect,
    clock: Clock,
) -> Result<Arc<ClientConfig>, ConfigError> {
    let provider = provider();
    let verifier = ServerVerifier::new(AcceptServer::Only(expect, clock), &provider);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match identity {
        Some(identity) => builder.with_client_cert_resolver(identity),
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(harden(config)))
}

/// A configuration for one connection to a server that is not trusted yet: the
/// handshake proves that the server holds its leaf's key, and the chain is kept
/// in [`Captured`] for the caller to check against a pin. It serves exactly one
/// handshake: a second one could be with somebody else, so it fails.
///
/// # Errors
/// rustls refuses the parameters (a defect of this build).
pub fn capture_config() -> Result<(Arc<ClientConfig>, Captured), ConfigError> {
    let provider = provider();
    let captured = Captured::default();
    let verifier = ServerVerifier::new(AcceptServer::Once(captured.clone()), &provider);
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok((Arc::new(harden(config)), captured))
}

fn harden(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    // The name is the SPIFFE ID in the certificate; a host name would only leak.
    config.enable_sni = false;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
