//! A trust domain's keys, as a server has them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use identity::{
    Bundle, JwtAuthorityKey, PrivateKeyDer, Timestamp, TrustDomain, X509AuthorityCertificate,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SignatureAlgorithm,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};

use crate::entropy::Entropy;

pub(super) const TRUST_DOMAIN: &str = "example.org";
const KEY_ID: &str = "jwt-1";

/// Signs X.509-SVIDs and JWT-SVIDs of `example.org`.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    jwt: EcdsaKeyPair,
    jwt_spki: Arc<[u8]>,
}

/// The raw point of a P-256 SubjectPublicKeyInfo.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

macro_rules! at {
    ($at:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs($at.0.unsigned_abs())
    };
}

impl Authority {
    pub(super) fn new(now: Timestamp) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri("spiffe://example.org")];
        params
            .distinguished_name
            .push(DnType::OrganizationName, "test");
        params.not_before = at!(Timestamp(now.0 - 3600));
        params.not_after = at!(Timestamp(now.0 + 864_000));
        let key = KeyPair::generate().unwrap();
        let entropy = Entropy::system();
        let (pkcs8, public) = keys::generate_pkcs8(keys::KeyType::EcP256, entropy.rng()).unwrap();
        let jwt = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, entropy.rng());
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).unwrap(),
            jwt: jwt.unwrap(),
            jwt_spki: public.spki_der().into(),
        }
    }

    pub(super) fn root(&self) -> &[u8] {
        self.issuer.der()
    }

    pub(super) fn bundle(&self, sequence: u64) -> Bundle {
        let mut bundle = Bundle::empty(TrustDomain::parse(TRUST_DOMAIN).unwrap());
        bundle.sequence = sequence;
        bundle.x509_authorities.push(X509AuthorityCertificate {
            der: self.root().into(),
            tainted: false,
        });
        bundle.jwt_authorities.push(JwtAuthorityKey {
            key_id: KEY_ID.into(),
            spki: Arc::clone(&self.jwt_spki),
            expires_at: None,
            tainted: false,
        });
        bundle
    }

    /// A leaf for a P-256 key.
    pub(super) fn leaf(&self, id: &str, spki: &[u8], from: Timestamp, to: Timestamp) -> Bytes {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.subject_alt_names = vec![uri(id)];
        params.use_authority_key_identifier_extension = true;
        params.not_before = at!(from);
        params.not_after = at!(to);
        let point = Point(spki[spki.len() - 65..].to_vec());
        let leaf = params.signed_by(&point, &self.issuer).unwrap();
        Bytes::copy_from_slice(leaf.der())
    }

    /// A leaf with a key of its own, for the server's listener.
    pub(super) fn leaf_with_key(
        &self,
        id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> (Vec<Arc<[u8]>>, PrivateKeyDer) {
        let entropy = Entropy::system();
        let (pkcs8, public) = keys::generate_pkcs8(keys::KeyType::EcP256, entropy.rng()).unwrap();
        let leaf = self.leaf(id, public.spki_der(), from, to);
        (vec![Arc::from(leaf.as_ref())], PrivateKeyDer::new(&pkcs8))
    }

    pub(super) fn token(
        &self,
        id: &str,
        audience: &[String],
        from: Timestamp,
        to: Timestamp,
    ) -> String {
        let claims = serde_json::json!({
            "sub": id, "aud": audience, "iat": from.0, "exp": to.0,
        });
        self.jws("JWT", &claims)
    }

    /// A signed list of revocations.
    pub(super) fn revocations(&self, sequence: u64, ids: &[&str], at: Timestamp) -> String {
        let ids: Vec<_> = ids
            .iter()
            .map(|id| serde_json::json!({ "spiffe_id": id, "issued_until": at.0 }))
            .collect();
        let claims = serde_json::json!({
            "iss": "spiffe://example.org", "sequence": sequence, "iat": at.0,
            "next_update": at.0 + 600, "serials": [], "jtis": [], "ids": ids,
        });
        self.jws("bulla-revocations+jwt", &claims)
    }

    fn jws(&self, kind: &str, claims: &serde_json::Value) -> String {
        let encode = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let header = encode(&serde_json::json!({"alg": "ES256", "kid": KEY_ID, "typ": kind}));
        let claims = encode(claims);
        let signed = format!("{header}.{claims}");
        let signature = self
            .jwt
            .sign(Entropy::system().rng(), signed.as_bytes())
            .unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
