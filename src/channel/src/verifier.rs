//! The verifiers rustls asks: of a client's chain and of a server's, be it an
//! expected server or an unknown one whose chain is only kept. All check that the
//! peer holds the leaf's key; who may be trusted is decided by crate `verify`.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use verify::RevocationSource;

use crate::peer::verify_chain;
use crate::{ClientAuth, Clock, Expect, LiveBundles};

#[derive(Debug)]
pub(crate) struct ClientVerifier {
    bundles: Arc<LiveBundles>,
    clock: Clock,
    client_auth: ClientAuth,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    pub(crate) fn new(
        bundles: Arc<LiveBundles>,
        clock: Clock,
        client_auth: ClientAuth,
        provider: &CryptoProvider,
    ) -> Self {
        Self {
            bundles,
            clock,
            client_auth,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.client_auth == ClientAuth::Required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Revocations are looked at on each call instead, by a listener that can say
        // why it refuses; it would have to ask again anyway while the connection lives.
        let known = (&*self.bundles, &None as &dyn RevocationSource);
        verify_chain(end_entity, intermediates, known, self.clock.now())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
pub(crate) struct ServerVerifier {
    accept: AcceptServer,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Which server a client goes on with.
#[derive(Debug)]
pub(crate) enum AcceptServer {
    /// The one that proves this SPIFFE ID.
    Only(Expect, Clock),
    /// Any, once; its chain is kept.
    Once(Captured),
}

impl ServerVerifier {
    pub(crate) fn new(accept: AcceptServer, provider: &CryptoProvider) -> Self {
        Self {
            accept,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl AcceptServer {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        match self {
            Self::Only(expect, clock) => {
                let known: (&LiveBundles, &dyn RevocationSource) =
                    (&expect.bundles, &*expect.bundles);
                let peer = verify_chain(end_entity, intermediates, known, clock.now())?;
                if peer.spiffe_id == expect.server {
                    Ok(())
                } else {
                    Err(CertificateError::NotValidForName.into())
                }
            }
            Self::Once(captured) => captured.keep(end_entity, intermediates),
        }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.accept.check(end_entity, intermediates)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The chain a server showed on the one connection of [`crate::capture_config`].
/// Once a call over that connection has succeeded, the server has also proved
/// that it holds the leaf's key. Nothing else about the chain was checked.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<OnceLock<Vec<Arc<[u8]>>>>);

impl Captured {
    /// The DER certificates, leaf first; `None` before the handshake.
    #[must_use]
    pub fn chain(&self) -> Option<&[Arc<[u8]>]> {
        self.0.get().map(Vec::as_slice)
    }

    /// A chain that is already there belongs to an earlier connection: what was
    /// heard on that one must not be vouched for by this one.
    fn keep(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let chain = std::iter::once(end_entity)
            .chain(intermediates)
            .map(|der| Arc::from(der.as_ref()))
            .collect();
        self.0
            .set(chain)
            .map_err(|_chain| Error::General("one connection only: it was used already".into()))
    }
}
