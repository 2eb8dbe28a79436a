//! Planted faults: whatever is wrong with a certificate, the lint turns red.

use std::sync::Arc;

use identity::{Seconds, SpiffeId, Timestamp, TrustDomain};
use journal::Receipt;
use keys::{KeyType, MemorySigner, Signer, der};
use proptest::prelude::*;

use super::{Lint, to_be_signed};
use crate::{
    AuthorityTerms, BACKDATE, FinishError, LeafSubject, PreparedX509, Serial, SerialPrefix,
    SubjectKey, X509Authority,
};

const NOW: Timestamp = Timestamp(1_795_507_200);

fn signer() -> Arc<dyn Signer> {
    #[expect(clippy::disallowed_methods, reason = "tests make their own randomness")]
    let rng = ring::rand::SystemRandom::new();
    Arc::new(MemorySigner::generate(KeyType::EcP256, &rng).unwrap())
}

fn serial(byte: u8) -> Serial {
    Serial::new(SerialPrefix::new(1).unwrap(), [byte; 17])
}

fn key() -> SubjectKey {
    SubjectKey::from_spki(signer().public_key().spki_der()).unwrap()
}

fn authority(signer: Arc<dyn Signer>) -> X509Authority {
    let terms = AuthorityTerms {
        serial: serial(1),
        now: NOW,
        lifetime: Seconds(86_400),
        backdate: BACKDATE,
    };
    let trust_domain = TrustDomain::parse("example.org").unwrap();
    X509Authority::create_self_signed(&trust_domain, signer, &terms).unwrap()
}

fn prepared() -> PreparedX509 {
    let subject = LeafSubject {
        spiffe_id: &SpiffeId::parse("spiffe://example.org/web").unwrap(),
        dns_names: &["web.example".to_owned(), "b.example".to_owned()],
    };
    let authority = authority(signer());
    authority
        .prepare(&subject, &key(), Seconds(3_600), serial(2), NOW)
        .unwrap()
}

fn check(prepared: &PreparedX509) -> Result<(), Lint> {
    to_be_signed(&prepared.tbs, &prepared.issuer, &prepared.leaf)
}

#[test]
fn every_flipped_bit_is_seen() {
    let mut prepared = prepared();
    for at in 0..prepared.tbs.len() {
        for bit in 0..8 {
            prepared.tbs[at] ^= 1 << bit;
            assert!(check(&prepared).is_err(), "byte {at} bit {bit}");
            prepared.tbs[at] ^= 1 << bit;
        }
    }
    assert_eq!(check(&prepared), Ok(()));
}

#[test]
fn every_cut_and_every_addition_is_seen() {
    let prepared = prepared();
    for length in 0..prepared.tbs.len() {
        let cut = &prepared.tbs[..length];
        assert!(to_be_signed(cut, &prepared.issuer, &prepared.leaf).is_err());
    }
    let mut longer = prepared.tbs.clone();
    longer.push(0);
    assert!(to_be_signed(&longer, &prepared.issuer, &prepared.leaf).is_err());
}

/// A template that writes something else than it was told: named by what is wrong.
#[test]
fn each_wrong_field_is_named() {
    type Plant = fn(&mut PreparedX509);
    let plants: [(Plant, Lint); 8] = [
        (|p| p.leaf.serial = serial(3), Lint::Serial),
        (
            |p| p.leaf.not_after = p.leaf.not_after.plus(Seconds(1)),
            Lint::Validity,
        ),
        (
            |p| p.leaf.not_before = p.leaf.not_before.minus(Seconds(1)),
            Lint::Validity,
        ),
        (|p| p.leaf.key = key(), Lint::PublicKey),
        (|p| p.leaf.dns_names.swap(0, 1), Lint::Subject),
        (|p| p.leaf.dns_names.truncate(1), Lint::Names),
        (
            |p| p.leaf.spiffe_id = SpiffeId::parse("spiffe://example.org/wed").unwrap(),
            Lint::Names,
        ),
        (|p| p.issuer = prepared().issuer, Lint::Issuer),
    ];
    for (plant, expected) in plants {
        let mut prepared = prepared();
        plant(&mut prepared);
        // The issuer's subject holds only the serial, equal in each of these tests.
        if expected == Lint::Issuer {
            assert_eq!(check(&prepared), Err(Lint::KeyId));
        } else {
            assert_eq!(check(&prepared), Err(expected));
        }
    }
}

/// Rebuilds the TBSCertificate with other extensions.
fn with_extensions(prepared: &PreparedX509, change: fn(&mut Vec<Vec<u8>>)) -> Vec<u8> {
    let (content, _) = der::take(&prepared.tbs, 0x30).unwrap();
    let at = content
        .windows(prepared.leaf.key.spki_der().len())
        .position(|w| w == prepared.leaf.key.spki_der())
        .unwrap()
        + prepared.leaf.key.spki_der().len();
    let (explicit, _) = der::take(&content[at..], 0xa3).unwrap();
    let (mut rest, _) = der::take(explicit, 0x30).unwrap();
    let mut extensions = Vec::new();
    while let Some((extension, after)) = der::take_whole(rest, 0x30) {
        extensions.push(extension.to_vec());
        rest = after;
    }
    change(&mut extensions);
    let (mut sequence, mut tagged, mut out) = (Vec::new(), Vec::new(), Vec::new());
    der::put(&mut sequence, 0x30, &extensions.concat());
    der::put(&mut tagged, 0xa3, &sequence);
    der::put(&mut out, 0x30, &[&content[..at], &tagged].concat());
    out
}

#[test]
fn missing_repeated_and_unknown_extensions_are_seen() {
    let prepared = prepared();
    let verdict = |change| {
        let tbs = with_extensions(&prepared, change);
        to_be_signed(&tbs, &prepared.issuer, &prepared.leaf)
    };
    assert_eq!(verdict(|_| ()), Ok(()));
    assert_eq!(verdict(|e| drop(e.pop())), Err(Lint::Extensions));
    assert_eq!(verdict(|e| e.push(e[0].clone())), Err(Lint::Extensions));
    assert_eq!(verdict(Vec::clear), Err(Lint::Extensions));
    // A netscape comment, and name constraints.
    assert_eq!(
        verdict(|e| e.push(vec![
            0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x86, 0xf8, 0x42, 0x01, 0x0d, 0x04,
            0x00
        ])),
        Err(Lint::Extensions)
    );
    assert_eq!(
        verdict(|e| e.push(vec![
            0x30, 0x09, 0x06, 0x03, 0x55, 0x1d, 0x1e, 0x04, 0x02, 0x30, 0x00
        ])),
        Err(Lint::Extensions)
    );
    // A CA flag: critical, SEQUENCE { TRUE }.
    assert_eq!(
        verdict(|e| *e.last_mut().unwrap() = vec![
            0x30, 0x0f, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05, 0x30, 0x03,
            0x01, 0x01, 0xff
        ]),
        Err(Lint::Uses)
    );
    // Basic constraints that are not critical.
    assert_eq!(
        verdict(|e| *e.last_mut().unwrap() = vec![
            0x30, 0x09, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x04, 0x02, 0x30, 0x00
        ]),
        Err(Lint::Extensions)
    );
}

/// Memory that changed between preparing and signing does not become a certificate.
#[test]
fn finish_refuses_what_was_not_prepared() {
    let signer = signer();
    let authority = authority(Arc::clone(&signer));
    let subject = LeafSubject {
        spiffe_id: &SpiffeId::parse("spiffe://example.org/web").unwrap(),
        dns_names: &[],
    };
    let mut prepared = authority
        .prepare(&subject, &key(), Seconds(3_600), serial(2), NOW)
        .unwrap();
    let at = prepared.tbs.windows(4).position(|w| w == b"/web").unwrap();
    prepared.tbs[at + 3] = b'x';
    let receipt = Receipt::forged(prepared.binding());
    let recorded = prepared.redeem(receipt).unwrap();
    let signature = signer.sign(recorded.bytes()).unwrap();
    assert_eq!(
        recorded.finish(&signature).err(),
        Some(FinishError::Lint(Lint::Names))
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let prepared = prepared();
        prop_assert!(to_be_signed(&bytes, &prepared.issuer, &prepared.leaf).is_err());
        prop_assert!(super::certificate(&bytes, &prepared.issuer, &prepared.leaf).is_err());
    }
}
