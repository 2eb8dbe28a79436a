//! The foreign trust domain `f.test`, whose every key the tests hold: it makes
//! what no issuer should make.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
pub(crate) use bulla_tests::now;
use identity::{Bundle, JwtAuthorityKey, TrustDomain, X509AuthorityCertificate};
use keys::{KeyType, PublicKey, generate_pkcs8};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature as s;
use serde_json::{Value, json};

use crate::world::World;

pub(crate) const NAME: &str = "f.test";
pub(crate) const ID: &str = "spiffe://f.test/web";
pub(crate) const AUDIENCE: &str = "db";
pub(crate) const HOUR: i64 = 3600;

#[expect(
    clippy::disallowed_methods,
    reason = "keys of a trust domain of the tests"
)]
pub(crate) fn rng() -> SystemRandom {
    SystemRandom::new()
}

pub(crate) fn standard_base64(bytes: &Vec<u8>) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_b64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub(crate) fn from_standard(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

pub(crate) fn san(uri: &str) -> SanType {
    SanType::URI(uri.to_owned().try_into().unwrap())
}

/// A certificate that signs others, with its key.
pub(crate) struct Ca {
    params: CertificateParams,
    pub(crate) pair: KeyPair,
    pub(crate) der: Vec<u8>,
}

pub(crate) fn valid(params: &mut CertificateParams, from: i64, to: i64) {
    let at = |offset: i64| {
        let seconds = u64::try_from(now().0 + offset).unwrap();
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (at(from), at(to));
}

pub(crate) fn ca_params(trust_domain: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    valid(&mut params, -HOUR, 24 * HOUR);
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![san(&format!("spiffe://{trust_domain}"))];
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

pub(crate) fn leaf_params(uri: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    valid(&mut params, -HOUR, HOUR);
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
    pub(crate) fn root(trust_domain: &str) -> Self {
        let params = ca_params(trust_domain, "root");
        let pair = KeyPair::generate().unwrap();
        let der = params.self_signed(&pair).unwrap().der().to_vec();
        Self { params, pair, der }
    }

    pub(crate) fn sign(&self, params: &CertificateParams, pair: &KeyPair) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.params, &self.pair);
        params.signed_by(pair, &issuer).unwrap().der().to_vec()
    }

    pub(crate) fn intermediate(&self, params: CertificateParams) -> Self {
        let pair = KeyPair::generate().unwrap();
        let der = self.sign(&params, &pair);
        Self { params, pair, der }
    }
}

/// A JWT key.
pub(crate) struct JwtKey {
    pkcs8: Vec<u8>,
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

    fn authority(&self, key_id: &str) -> JwtAuthorityKey {
        JwtAuthorityKey {
            key_id: key_id.into(),
            spki: self.public.spki_der().into(),
            expires_at: None,
            tainted: false,
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let ec = |with| {
            let pair = s::EcdsaKeyPair::from_pkcs8(with, &self.pkcs8, &rng()).unwrap();
            pair.sign(&rng(), message).unwrap().as_ref().to_vec()
        };
        let rsa = |padding: &'static dyn s::RsaEncoding| {
            let pair = s::RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
            let mut out = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &rng(), message, &mut out).unwrap();
            out
        };
        match algorithm {
            "ES384" => ec(&s::ECDSA_P384_SHA384_FIXED_SIGNING),
            "RS256" => rsa(&s::RSA_PKCS1_SHA256),
            "RS384" => rsa(&s::RSA_PKCS1_SHA384),
            "RS512" => rsa(&s::RSA_PKCS1_SHA512),
            "PS256" => rsa(&s::RSA_PSS_SHA256),
            "PS384" => rsa(&s::RSA_PSS_SHA384),
            "PS512" => rsa(&s::RSA_PSS_SHA512),
            // Algorithms that are refused before their signature is looked at too.
            _ => ec(&s::ECDSA_P256_SHA256_FIXED_SIGNING),
        }
    }

    /// A token of exactly these JSON texts.
    pub(crate) fn token_of(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let signature = self.sign(algorithm, signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    /// A good token but for what `edit` does to its claims.
    pub(crate) fn token(&self, edit: impl FnOnce(&mut Value)) -> String {
        let mut claims = claims();
        edit(&mut claims);
        self.token_of("ES256", &header("ES256", "ec"), &claims.to_string())
    }
}

pub(crate) fn header(algorithm: &str, key_id: &str) -> String {
    json!({"alg": algorithm, "kid": key_id, "typ": "JWT"}).to_string()
}

pub(crate) fn claims() -> Value {
    json!({"sub": ID, "aud": [AUDIENCE], "exp": now().0 + 300, "iat": now().0})
}

/// All keys of `f.test`: EC P-256 is `ec`, P-384 `ec384`, RSA `rsa`.
pub(crate) struct Foreign {
    pub(crate) root: Ca,
    pub(crate) ec: JwtKey,
    pub(crate) ec384: JwtKey,
    pub(crate) rsa: JwtKey,
}

impl Foreign {
    pub(crate) fn new(trust_domain: &str) -> Self {
        Self {
            root: Ca::root(trust_domain),
            ec: JwtKey::new(KeyType::EcP256),
            ec384: JwtKey::new(KeyType::EcP384),
            rsa: JwtKey::new(KeyType::Rsa2048),
        }
    }

    /// A world with a workload that federates with `f.test` and knows its keys.
    pub(crate) fn federated() -> (World, Self) {
        let (world, foreign) = (World::start(), Self::new(NAME));
        world.federate(&foreign.bundle(NAME));
        world.domain.register("/wf", ["--federates-with", NAME]);
        world.await_bundle("spiffe://f.test", |der| der == foreign.root.der);
        (world, foreign)
    }

    pub(crate) fn bundle(&self, trust_domain: &str) -> Bundle {
        let mut bundle = Bundle::empty(TrustDomain::parse(trust_domain).unwrap());
        bundle.x509_authorities = vec![X509AuthorityCertificate {
            der: self.root.der.as_slice().into(),
            tainted: false,
        }];
        bundle.jwt_authorities = vec![
            self.ec.authority("ec"),
            self.ec384.authority("ec384"),
            self.rsa.authority("rsa"),
        ];
        bundle
    }
}
