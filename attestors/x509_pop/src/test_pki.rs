//! A small PKI of an operator, for the tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber,
};

use crate::Roots;

/// A CA, perhaps under another.
pub(crate) struct Ca(pub(crate) CertifiedIssuer<'static, KeyPair>);

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Ca {
    pub(crate) fn root(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(ca_params(name), key).unwrap())
    }

    pub(crate) fn under(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(ca_params(name), key, &self.0).unwrap())
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A node's certificate for a key: PEM, and DER.
    pub(crate) fn node(
        &self,
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, Vec<u8>) {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "node-1");
        params.serial_number = Some(SerialNumber::from(vec![0x0a, 0x1b]));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.subject_alt_names = vec![SanType::URI(
            "x509pop://example.org/rack/b/12".try_into().unwrap(),
        )];
        change(&mut params);
        let certificate = params.signed_by(key, &self.0).unwrap();
        (certificate.pem(), certificate.der().to_vec())
    }
}
