//! Keys, authorities and receipts for the tests.

use std::sync::{Arc, OnceLock};

use authority::{
    AuthorityTerms, BACKDATE, Jti, LeafSubject, PreparedX509, Refused, Serial, SerialPrefix,
    SubjectKey, ToBeSigned, X509Authority,
};
use identity::{Seconds, SpiffeId, Timestamp, TrustDomain, X509Svid};
use journal::Receipt;
use keys::{KeyType, MemorySigner, PublicKey, SignError, Signer, generate_pkcs8};
use ring::rand::{SecureRandom as _, SystemRandom};

/// 2026-11-24, when these tests were written.
pub(crate) const NOW: Timestamp = Timestamp(1_795_507_200);
pub(crate) const DAY: Seconds = Seconds(86_400);
pub(crate) const HOUR: Seconds = Seconds(3_600);

pub(crate) fn rng() -> SystemRandom {
    SystemRandom::new()
}

/// One signer of each type, made once: RSA keys take their time.
pub(crate) fn signer(key_type: KeyType) -> Arc<dyn Signer> {
    static MADE: OnceLock<Vec<Arc<MemorySigner>>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let make = |t| Arc::new(MemorySigner::generate(t, &rng()).unwrap());
        KeyType::ALL.into_iter().map(make).collect()
    });
    let found = made.iter().find(|s| s.public_key().key_type() == key_type);
    Arc::clone(found.unwrap()) as Arc<dyn Signer>
}

/// The public key of a leaf of each type: others than the signers'.
pub(crate) fn leaf_key(key_type: KeyType) -> PublicKey {
    static MADE: OnceLock<Vec<PublicKey>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let make = |t| generate_pkcs8(t, &rng()).unwrap().1;
        KeyType::ALL.into_iter().map(make).collect()
    });
    let found = made.iter().find(|k| k.key_type() == key_type);
    found.unwrap().clone()
}

pub(crate) fn subject_key(key_type: KeyType) -> SubjectKey {
    SubjectKey::from_spki(leaf_key(key_type).spki_der()).unwrap()
}

pub(crate) fn serial() -> Serial {
    let mut random = [0; 17];
    rng().fill(&mut random).unwrap();
    Serial::new(SerialPrefix::new(0x2a).unwrap(), random)
}

pub(crate) fn jti() -> Jti {
    let mut random = [0; 16];
    rng().fill(&mut random).unwrap();
    Jti::new(random)
}

pub(crate) fn trust_domain() -> TrustDomain {
    TrustDomain::parse("example.org").unwrap()
}

pub(crate) fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

pub(crate) fn terms(now: Timestamp, lifetime: Seconds) -> AuthorityTerms {
    AuthorityTerms {
        serial: serial(),
        now,
        lifetime,
        backdate: BACKDATE,
    }
}

pub(crate) fn authority(key_type: KeyType) -> X509Authority {
    X509Authority::create_self_signed(&trust_domain(), signer(key_type), &terms(NOW, DAY)).unwrap()
}

pub(crate) fn prepare(authority: &X509Authority, key: &SubjectKey) -> PreparedX509 {
    try_prepare(authority, "spiffe://example.org/web", &[], key).unwrap()
}

pub(crate) fn try_prepare(
    authority: &X509Authority,
    spiffe_id: &str,
    dns_names: &[String],
    key: &SubjectKey,
) -> Result<PreparedX509, Refused> {
    let subject = LeafSubject {
        spiffe_id: &id(spiffe_id),
        dns_names,
    };
    authority.prepare(&subject, key, HOUR, serial(), NOW)
}

/// Redeems with a receipt that no journal gave: these tests are about what follows.
pub(crate) fn record(prepared: PreparedX509) -> ToBeSigned {
    let receipt = Receipt::forged(prepared.binding());
    prepared.redeem(receipt).unwrap()
}

pub(crate) fn issue(authority: &X509Authority, key: &SubjectKey) -> X509Svid {
    authority.sign(record(prepare(authority, key))).unwrap()
}

/// A signer far away, which answers what it is told to.
pub(crate) struct Remote {
    pub(crate) inner: Arc<dyn Signer>,
    pub(crate) answer: fn(Vec<u8>) -> Result<Vec<u8>, SignError>,
}

impl Signer for Remote {
    fn public_key(&self) -> &PublicKey {
        self.inner.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        (self.answer)(self.inner.sign(message)?)
    }

    fn is_remote(&self) -> bool {
        true
    }
}
