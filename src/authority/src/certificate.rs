//! Signing certificates: made with rcgen, read with x509-parser. Both are rare,
//! so they go through general libraries.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use identity::{Timestamp, TrustDomain};
use keys::{KeyType, PublicKey, SignError, Signer, spki};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa, KeyUsagePurpose,
    PublicKeyData, SanType, SignatureAlgorithm, SigningKey, date_time_ymd,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::template::authority_key_id;
use crate::time::LAST;
use crate::x509::Issuer;
use crate::{AuthorityError, AuthorityTerms};

/// The attribute `serialNumber` (X.520), which keeps subjects of successive authorities apart.
const SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// The most certificates above an intermediate authority.
const MAX_CHAIN: usize = 6;

/// Makes a self-signed signing certificate.
pub(crate) fn self_signed(
    trust_domain: &TrustDomain,
    signer: &Arc<dyn Signer>,
    terms: &AuthorityTerms,
) -> Result<Vec<u8>, AuthorityError> {
    if terms.lifetime.0 == 0 {
        return Err(AuthorityError::Terms("lifetime is zero"));
    }
    let mut params = CertificateParams::default();
    params.serial_number = Some(terms.serial.as_bytes().to_vec().into());
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_epoch(terms.now.minus(terms.backdate))?;
    params.not_after = epoch + since_epoch(terms.now.plus(terms.lifetime))?;
    params.distinguished_name = subject(&terms.serial.to_string())?;
    let uri = trust_domain.id().as_str().to_owned();
    params.subject_alt_names = vec![SanType::URI(
        uri.try_into()
            .or(Err(AuthorityError::Terms("trust domain is not ASCII")))?,
    )];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = RcgenKey {
        signer: signer.as_ref(),
        failure: Mutex::new(None),
    };
    if let Ok(certificate) = params.self_signed(&key) {
        return Ok(certificate.der().to_vec());
    }
    Err(key.failure().map_or(
        AuthorityError::Terms("they cannot be encoded"),
        AuthorityError::Sign,
    ))
}

/// A request to have a key certified as an authority's.
pub(crate) fn request(
    trust_domain: &TrustDomain,
    signer: &Arc<dyn Signer>,
) -> Result<Vec<u8>, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let uri = trust_domain.id().as_str().to_owned();
    params.subject_alt_names = vec![SanType::URI(
        uri.try_into()
            .or(Err(AuthorityError::Terms("trust domain is not ASCII")))?,
    )];
    let key = RcgenKey {
        signer: signer.as_ref(),
        failure: Mutex::new(None),
    };
    if let Ok(request) = params.serialize_request(&key) {
        return Ok(request.der().to_vec());
    }
    Err(key.failure().map_or(
        AuthorityError::Terms("they cannot be encoded"),
        AuthorityError::Sign,
    ))
}

fn subject(serial: &str) -> Result<DistinguishedName, AuthorityError> {
    let printable = |text: &str| {
        text.to_owned()
            .try_into()
            .map(DnValue::PrintableString)
            .or(Err(AuthorityError::Terms("subject is not printable")))
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::CountryName, printable("US")?);
    name.push(DnType::OrganizationName, printable("SPIFFE")?);
    name.push(
        DnType::CustomDnType(SERIAL_NUMBER.to_vec()),
        printable(serial)?,
    );
    Ok(name)
}

/// Seconds after 1970 that a certificate can express.
fn since_epoch(at: Timestamp) -> Result<Duration, AuthorityError> {
    match u64::try_from(at.0) {
        Ok(seconds) if at <= LAST => Ok(Duration::from_secs(seconds)),
        _ => Err(AuthorityError::Terms(
            "its times are outside 1970 to 9999; correct the clock",
        )),
    }
}

/// Reads a signing certificate and checks that it may sign X.509-SVIDs with that
/// key. Whether it is valid now is for the caller to see.
pub(crate) fn read(
    der: &[u8],
    chain: &[&[u8]],
    public_key: &PublicKey,
) -> Result<Issuer, AuthorityError> {
    let certificate = parse(der)?;
    let tbs = &certificate.tbs_certificate;
    if tbs.subject_pki.raw != public_key.spki_der() {
        return Err(AuthorityError::OtherKey);
    }
    let trust_domain = check_profile(&certificate)?;
    let key_id = certificate
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
        .filter(|id| (1..=64).contains(&id.len()))
        .ok_or(AuthorityError::Profile("it has no subject key identifier"))?;
    let self_signed = tbs.subject.as_raw() == tbs.issuer.as_raw();
    let mut issuer = Issuer {
        trust_domain,
        name: tbs.subject.as_raw().to_vec(),
        key_id: key_id.to_vec(),
        authority_key_id: authority_key_id(key_id),
        id: hex(key_id).into(),
        public_key: public_key.clone(),
        certificate: der.into(),
        chain: Vec::new(),
        not_before: Timestamp(tbs.validity.not_before.timestamp()),
        not_after: Timestamp(tbs.validity.not_after.timestamp()),
        room: path_length(&certificate),
    };
    if self_signed {
        if !chain.is_empty() {
            return Err(AuthorityError::Chain(
                "a self-signed authority has nothing above it",
            ));
        }
        certificate
            .verify_signature(None)
            .or(Err(AuthorityError::Encoding(
                "its signature does not verify",
            )))?;
    } else {
        add_chain(&mut issuer, &certificate, chain)?;
    }
    Ok(issuer)
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, AuthorityError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(AuthorityError::Encoding("bytes follow it")),
        Err(_) => Err(AuthorityError::Encoding("it is not DER of a certificate")),
    }
}

/// X509-SVID sections 3.2, 4.1 and 4.3; answers whose authority it is.
fn check_profile(certificate: &X509Certificate<'_>) -> Result<TrustDomain, AuthorityError> {
    const MALFORMED: AuthorityError =
        AuthorityError::Encoding("an extension is malformed or repeated");
    let constraints = certificate.basic_constraints().or(Err(MALFORMED))?;
    if !constraints.is_some_and(|c| c.value.ca) {
        return Err(AuthorityError::Profile("its CA flag is not set"));
    }
    let usage = certificate.key_usage().or(Err(MALFORMED))?;
    match usage {
        Some(u) if !u.critical => Err(AuthorityError::Profile("its key usage is not critical")),
        Some(u) if !u.value.key_cert_sign() => {
            Err(AuthorityError::Profile("it may not sign certificates"))
        }
        Some(u) if u.value.digital_signature() => Err(AuthorityError::Profile(
            "its key usage has digitalSignature, which is for leaves",
        )),
        Some(_) => Ok(()),
        None => Err(AuthorityError::Profile("it has no key usage")),
    }?;
    let names = certificate.subject_alternative_name().or(Err(MALFORMED))?;
    let names = names.map_or(&[][..], |extension| &extension.value.general_names);
    let uris: Vec<&str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris[..] else {
        return Err(AuthorityError::Profile("it has not exactly one URI name"));
    };
    uri.strip_prefix("spiffe://")
        .and_then(|name| TrustDomain::parse(name).ok())
        .ok_or(AuthorityError::Profile(
            "its URI name is not spiffe:// and a trust domain, without a path",
        ))
}

/// How many authorities may follow, when the certificate says so.
fn path_length(certificate: &X509Certificate<'_>) -> Option<u32> {
    let constraints = certificate.basic_constraints().ok()??;
    constraints.value.path_len_constraint
}

/// Takes in what stands above an intermediate: each certificate signs the one
/// below, and their validities bound what the authority may promise.
fn add_chain(
    issuer: &mut Issuer,
    authority: &X509Certificate<'_>,
    chain: &[&[u8]],
) -> Result<(), AuthorityError> {
    if chain.len() > MAX_CHAIN {
        return Err(AuthorityError::Chain("it is too long"));
    }
    issuer.chain.push(Arc::clone(&issuer.certificate));
    let mut below = authority.clone();
    for (between, der) in (1..).zip(chain) {
        let above = parse(der)?;
        let signs = above.subject().as_raw() == below.issuer().as_raw()
            && below.verify_signature(Some(above.public_key())).is_ok();
        if !signs {
            return Err(AuthorityError::Chain(
                "a certificate is not signed by the one after it",
            ));
        }
        let validity = above.validity();
        issuer.not_before = issuer
            .not_before
            .max(Timestamp(validity.not_before.timestamp()));
        issuer.not_after = issuer
            .not_after
            .min(Timestamp(validity.not_after.timestamp()));
        if let Some(limit) = path_length(&above) {
            let left = limit.saturating_sub(between);
            issuer.room = Some(issuer.room.map_or(left, |room| room.min(left)));
        }
        issuer.chain.push((*der).into());
        below = above;
    }
    Ok(())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A [`Signer`] in the shape rcgen asks for. Its errors are kept aside, since
/// rcgen's own carry no detail.
struct RcgenKey<'a> {
    signer: &'a dyn Signer,
    failure: Mutex<Option<SignError>>,
}

impl RcgenKey<'_> {
    fn failure(self) -> Option<SignError> {
        self.failure.into_inner().unwrap_or_default()
    }
}

impl PublicKeyData for RcgenKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        spki::raw_key(self.signer.public_key().spki_der()).unwrap_or_default()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self.signer.public_key().key_type() {
            KeyType::EcP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyType::EcP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyType::Rsa2048 | KeyType::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl SigningKey for RcgenKey<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signer.sign(message).map_err(|error| {
            if let Ok(mut slot) = self.failure.lock() {
                *slot = Some(error);
            }
            rcgen::Error::RemoteKeyError
        })
    }
}
