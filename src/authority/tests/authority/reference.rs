//! The same leaf as rcgen encodes it: the reference the template is held to.

use std::cell::RefCell;
use std::time::Duration;

use authority::{LeafSubject, Serial};
use identity::Timestamp;
use keys::{KeyType, PublicKey, spki};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm, SigningKey, date_time_ymd,
};

/// A public key as rcgen wants it; as a "signing key" it only captures what it
/// is asked to sign.
pub(crate) struct Captor<'a> {
    key: &'a PublicKey,
    captured: RefCell<Vec<u8>>,
}

impl<'a> Captor<'a> {
    pub(crate) fn new(key: &'a PublicKey) -> Self {
        Self {
            key,
            captured: RefCell::default(),
        }
    }
}

impl PublicKeyData for Captor<'_> {
    fn der_bytes(&self) -> &[u8] {
        spki::raw_key(self.key.spki_der()).unwrap()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.key.key_type() {
            KeyType::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Rsa2048 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for Captor<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        *self.captured.borrow_mut() = message.to_vec();
        Ok(vec![0])
    }
}

pub(crate) fn printable(text: &str) -> DnValue {
    DnValue::PrintableString(text.to_owned().try_into().unwrap())
}

/// The profile in rcgen's words.
pub(crate) fn profile(
    subject: &LeafSubject<'_>,
    rsa: bool,
    serial: Serial,
    (begin, end): (Timestamp, Timestamp),
) -> CertificateParams {
    let mut params = CertificateParams::default();
    let at =
        |t: Timestamp| date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(t.0).unwrap());
    params.not_before = at(begin);
    params.not_after = at(end);
    params.serial_number = Some(serial.as_bytes().to_vec().into());
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, printable("US"));
    name.push(DnType::OrganizationName, printable("SPIRE"));
    if let Some(first) = subject.dns_names.first().filter(|n| n.len() <= 64) {
        name.push(DnType::CommonName, DnValue::Utf8String(first.clone()));
    }
    params.distinguished_name = name;
    let uri = subject.spiffe_id.as_str().to_owned();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    for name in subject.dns_names {
        let name = name.clone().try_into().unwrap();
        params.subject_alt_names.push(SanType::DnsName(name));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    if !rsa {
        params.key_usages.push(KeyUsagePurpose::KeyAgreement);
    }
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

/// The TBSCertificate that rcgen makes of those parameters under an issuer whose
/// certificate has that serial as the last attribute of its subject.
pub(crate) fn tbs(
    params: &CertificateParams,
    leaf_key: &PublicKey,
    issuer_key: &PublicKey,
    issuer_serial: Serial,
) -> Vec<u8> {
    let mut issuer = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, printable("US"));
    name.push(DnType::OrganizationName, printable("SPIFFE"));
    name.push(
        DnType::CustomDnType(vec![2, 5, 4, 5]),
        printable(&issuer_serial.to_string()),
    );
    issuer.distinguished_name = name;
    let captor = Captor::new(issuer_key);
    params
        .signed_by(
            &Captor::new(leaf_key),
            &Issuer::from_params(&issuer, &captor),
        )
        .unwrap();
    captor.captured.take()
}
