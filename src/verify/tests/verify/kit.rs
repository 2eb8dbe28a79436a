//! A foreign trust domain whose every key the tests hold.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Bundle, JwtAuthorityKey, Timestamp, TrustDomain, X509AuthorityCertificate};
use keys::{KeyType, PublicKey, generate_pkcs8};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};

/// 2026-11-24.
pub(crate) const NOW: Timestamp = Timestamp(1_795_507_200);

pub(crate) fn rng() -> SystemRandom {
    SystemRandom::new()
}

pub(crate) fn td(name: &str) -> TrustDomain {
    TrustDomain::parse(name).unwrap()
}

pub(crate) fn san(uri: &str) -> SanType {
    SanType::URI(uri.to_owned().try_into().unwrap())
}

/// A signing certificate and its key.
pub(crate) struct Ca {
    pub(crate) params: CertificateParams,
    pub(crate) pair: KeyPair,
    pub(crate) der: Vec<u8>,
}

/// A good signing certificate's parameters.
pub(crate) fn ca_params(trust_domain: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![san(&format!("spiffe://{trust_domain}"))];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

/// A good leaf's parameters.
pub(crate) fn leaf_params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2026, 11, 1);
    params.not_after = date_time_ymd(2026, 12, 1);
    params.serial_number = Some(vec![0x2a; 18].into());
    params.subject_alt_names = vec![san(uri)];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Ca {
    pub(crate) fn root(params: CertificateParams) -> Self {
        let pair = KeyPair::generate().unwrap();
        let der = params.self_signed(&pair).unwrap().der().to_vec();
        Self { params, pair, der }
    }

    pub(crate) fn of(trust_domain: &str) -> Self {
        Self::root(ca_params(trust_domain, "root"))
    }

    pub(crate) fn sign(&self, params: &CertificateParams, pair: &KeyPair) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.pair);
        params.signed_by(pair, &issuer).unwrap().der().to_vec()
    }

    pub(crate) fn leaf(&self, params: &CertificateParams) -> Vec<u8> {
        self.sign(params, &KeyPair::generate().unwrap())
    }

    pub(crate) fn intermediate(&self, params: CertificateParams) -> Self {
        let pair = KeyPair::generate().unwrap();
        let der = self.sign(&params, &pair);
        Self { params, pair, der }
    }
}

pub(crate) fn bundle(trust_domain: &str, roots: &[&[u8]]) -> Bundle {
    let mut bundle = Bundle::empty(td(trust_domain));
    bundle.x509_authorities = roots
        .iter()
        .map(|der| X509AuthorityCertificate {
            der: (*der).into(),
            tainted: false,
        })
        .collect();
    bundle
}

/// A JWT key of the foreign trust domain.
pub(crate) struct JwtKey {
    pub(crate) pkcs8: Vec<u8>,
    pub(crate) public: PublicKey,
}

impl JwtKey {
    pub(crate) fn new(key_type: KeyType) -> Self {
        let (pkcs8, public) = generate_pkcs8(key_type, &rng()).unwrap();
        Self {
            pkcs8: pkcs8.to_vec(),
            public,
        }
    }

    pub(crate) fn authority(&self, key_id: &str) -> JwtAuthorityKey {
        JwtAuthorityKey {
            key_id: key_id.into(),
            spki: self.public.spki_der().into(),
            expires_at: None,
            tainted: false,
        }
    }

    /// Signs as a JWS algorithm wants it.
    pub(crate) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        use ring::signature as s;
        let ec = |with: &'static EcdsaSigningAlgorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(with, &self.pkcs8, &rng()).unwrap();
            pair.sign(&rng(), message).unwrap().as_ref().to_vec()
        };
        let rsa = |padding: &'static dyn RsaEncoding| {
            let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
            let mut out = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &rng(), message, &mut out).unwrap();
            out
        };
        match algorithm {
            "ES256" => ec(&s::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&s::ECDSA_P384_SHA384_FIXED_SIGNING),
            "RS256" => rsa(&s::RSA_PKCS1_SHA256),
            "RS384" => rsa(&s::RSA_PKCS1_SHA384),
            "RS512" => rsa(&s::RSA_PKCS1_SHA512),
            "PS256" => rsa(&s::RSA_PSS_SHA256),
            "PS384" => rsa(&s::RSA_PSS_SHA384),
            "PS512" => rsa(&s::RSA_PSS_SHA512),
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of those exact JSON texts.
pub(crate) fn token_of(key: &JwtKey, algorithm: &str, header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(claims));
    let signature = key.sign(algorithm, signed.as_bytes());
    format!("{signed}.{}", b64(signature))
}

pub(crate) fn good_header(algorithm: &str) -> Value {
    json!({"alg": algorithm, "kid": "k1", "typ": "JWT"})
}

pub(crate) fn good_claims() -> Value {
    json!({
        "sub": "spiffe://f.test/web",
        "aud": ["db"],
        "exp": NOW.0 + 300,
        "iat": NOW.0,
    })
}

pub(crate) fn jwt_bundle(key: &JwtKey) -> Arc<Bundle> {
    let mut bundle = Bundle::empty(td("f.test"));
    bundle.jwt_authorities = vec![key.authority("k1")];
    Arc::new(bundle)
}

/// The tag of a URI in a GeneralName.
pub(crate) const URI: u8 = 6;
/// The tag of a DNS name.
pub(crate) const DNS: u8 = 2;

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(u8::try_from(short).unwrap()),
        long => {
            out.push(0x82);
            out.extend(u16::try_from(long).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// A name constraints extension: tags and bases.
pub(crate) fn constraints(permitted: &[(u8, &str)], excluded: &[(u8, &str)]) -> CustomExtension {
    let list = |tag, bases: &[(u8, &str)]| {
        let subtrees = bases
            .iter()
            .flat_map(|(kind, base)| der(0x30, &der(0x80 | kind, base.as_bytes())));
        match bases {
            [] => Vec::new(),
            _ => der(tag, &subtrees.collect::<Vec<u8>>()),
        }
    };
    let content = [list(0xa0, permitted), list(0xa1, excluded)].concat();
    constraints_of(&content)
}

/// A name constraints extension with exactly this between its outer braces.
pub(crate) fn constraints_of(content: &[u8]) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], der(0x30, content));
    extension.set_criticality(true);
    extension
}
