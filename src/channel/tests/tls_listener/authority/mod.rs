//! A certificate authority for tests, and a client that trusts anything.

pub(crate) mod listener;

use std::sync::Arc;
use std::time::Duration;

use identity::{Bundle, PrivateKeyDer, TrustDomain, X509AuthorityCertificate};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// Seconds since 1970, as rcgen wants them.
macro_rules! at {
    ($unix:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs($unix.unsigned_abs())
    };
}

/// A self-signed CA of one trust domain.
pub(crate) struct Authority {
    trust_domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A leaf and its key.
pub(crate) struct Issued {
    pub(crate) chain: Vec<Arc<[u8]>>,
    pub(crate) key: PrivateKeyDer,
}

impl Authority {
    pub(crate) fn new(trust_domain: &str, now: i64) -> Self {
        let trust_domain = TrustDomain::parse(trust_domain).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{trust_domain}"))];
        params
            .distinguished_name
            .push(DnType::OrganizationName, "test");
        params.not_before = at!(now - 3600);
        params.not_after = at!(now + 86_400);
        let key = KeyPair::generate().unwrap();
        Self {
            trust_domain,
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    pub(crate) fn issue(&self, id: &str, not_before: i64, not_after: i64) -> Issued {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![uri(id)];
        params.use_authority_key_identifier_extension = true;
        params.not_before = at!(not_before);
        params.not_after = at!(not_after);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            chain: vec![leaf.der().as_ref().into()],
            key: PrivateKeyDer::new(&key.serialize_der()),
        }
    }
}

/// The bundle that holds these authorities, all of one trust domain.
pub(crate) fn bundle(authorities: &[&Authority]) -> Arc<Bundle> {
    let mut bundle = Bundle::empty(authorities[0].trust_domain.clone());
    for authority in authorities {
        bundle.x509_authorities.push(X509AuthorityCertificate {
            der: authority.issuer.der().as_ref().into(),
            tainted: false,
        });
    }
    Arc::new(bundle)
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// Accepts any server, so that only the server's own checks are tested.
#[derive(Debug)]
pub(crate) struct TrustAnything(WebPkiSupportedAlgorithms);

impl TrustAnything {
    pub(crate) fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for TrustAnything {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
