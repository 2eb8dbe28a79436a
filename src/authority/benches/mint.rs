//! How much of the raw signing rate is left of issuing.
//!
//! Short rounds of every path are interleaved with raw ring P-256 signing, so that
//! a changing clock rate hits both alike, and measured in the thread's own CPU time,
//! so that neighbours on the machine do not count. A figure is the median of the
//! per-round ratios. One JSON line for each path.
//!
//! `cargo bench -p authority --bench mint`; run by anything but `cargo bench` it does
//! a single short round, to see that it works.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures, prints and fails loudly"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use authority::{
    AccessAuthority, AuthorityTerms, BACKDATE, Confirmation, DecisionMark, Jti, JwtAuthority,
    LeafSubject, Scoped, Serial, SerialPrefix, SubjectKey, X509Authority,
};
use identity::{Seconds, SpiffeId, Timestamp, TrustDomain};
use journal::Receipt;
use keys::{KeyType, MemorySigner, generate_pkcs8};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

const NOW: Timestamp = Timestamp(1_795_507_200);

/// One path: its name, the share of raw signing it must reach, and one call.
struct Path {
    name: &'static str,
    aim: f64,
    call: Box<dyn FnMut()>,
}

fn random<const N: usize>(rng: &SystemRandom) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill(&mut bytes).unwrap();
    bytes
}

fn raw(rng: SystemRandom) -> Path {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng).unwrap();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
    let message = [7; 450];
    Path {
        name: "raw_sign",
        aim: 1.0,
        call: Box::new(move || {
            black_box(pair.sign(&rng, black_box(&message)).unwrap());
        }),
    }
}

fn x509(rng: &SystemRandom) -> Arc<X509Authority> {
    let signer = Arc::new(MemorySigner::generate(KeyType::EcP256, rng).unwrap());
    let terms = AuthorityTerms {
        serial: Serial::new(SerialPrefix::new(1).unwrap(), random(rng)),
        now: NOW,
        lifetime: Seconds(86_400),
        backdate: BACKDATE,
    };
    let trust_domain = TrustDomain::parse("example.org").unwrap();
    Arc::new(X509Authority::create_self_signed(&trust_domain, signer, &terms).unwrap())
}

/// Everything a request costs in this crate: the key is checked, the leaf prepared,
/// linted, redeemed, signed, assembled and linted again.
fn mint(authority: &X509Authority, id: &SpiffeId, key: &SubjectKey, rng: &SystemRandom) {
    let serial = Serial::new(SerialPrefix::new(1).unwrap(), random(rng));
    let subject = LeafSubject {
        spiffe_id: id,
        dns_names: &[],
    };
    let ttl = Seconds(3_600);
    let prepared = authority.prepare(&subject, key, ttl, serial, NOW).unwrap();
    let receipt = Receipt::forged(prepared.binding());
    let recorded = prepared.redeem(receipt).unwrap();
    black_box(authority.sign(recorded).unwrap());
}

fn vouched(rng: SystemRandom) -> Path {
    let authority = x509(&rng);
    let id = SpiffeId::parse("spiffe://example.org/payments/api").unwrap();
    let spki = generate_pkcs8(KeyType::EcP256, &rng).unwrap().1;
    Path {
        name: "x509_vouched_key",
        aim: 0.90,
        call: Box::new(move || {
            let key = SubjectKey::from_spki(black_box(spki.spki_der())).unwrap();
            mint(&authority, &id, &key, &rng);
        }),
    }
}

fn with_csr(rng: SystemRandom) -> Path {
    let authority = x509(&rng);
    let id = SpiffeId::parse("spiffe://example.org/payments/api").unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&pair)
        .unwrap();
    Path {
        name: "x509_csr",
        aim: 0.19,
        call: Box::new(move || {
            let key = SubjectKey::from_csr(black_box(csr.der())).unwrap();
            mint(&authority, &id, &key, &rng);
        }),
    }
}

fn jwt(rng: SystemRandom) -> Path {
    let signer = Arc::new(MemorySigner::generate(KeyType::EcP256, &rng).unwrap());
    let end = NOW.plus(Seconds(86_400));
    let authority = JwtAuthority::new("0123456789abcdef", signer, end).unwrap();
    let id = SpiffeId::parse("spiffe://example.org/payments/api").unwrap();
    let audience = ["spiffe://example.org/payments/db".to_owned()];
    Path {
        name: "jwt",
        aim: 0.95,
        call: Box::new(move || {
            let jti = Jti::new(random(&rng));
            let prepared = authority
                .prepare(black_box(&id), &audience, Seconds(300), jti, NOW)
                .unwrap();
            let receipt = Receipt::forged(prepared.binding());
            let recorded = prepared.redeem(receipt).unwrap();
            black_box(authority.sign(recorded).unwrap());
        }),
    }
}

fn access(rng: SystemRandom) -> Path {
    let signer = Arc::new(MemorySigner::generate(KeyType::EcP256, &rng).unwrap());
    let (end, issuer) = (NOW.plus(Seconds(86_400)), "https://issuer.example.org");
    let authority = AccessAuthority::new("0123456789abcdef", signer, issuer, end).unwrap();
    let id = SpiffeId::parse("spiffe://example.org/payments/api").unwrap();
    Path {
        name: "access_token",
        aim: 0.90,
        call: Box::new(move || {
            let scoped = Scoped {
                audience: "payments",
                scope: "payments:charge.create payments:charge.read",
                authorization_details: &[],
                confirmation: Some(Confirmation::Certificate([7; 32])),
                decision: DecisionMark {
                    id: "dec_0193a4b5c6d70123456789abcdef",
                    policy_set: "0123456789abcdef",
                    authority: "spiffe://example.org/spire/server",
                },
            };
            let (life, jti) = ((NOW, NOW.plus(Seconds(300))), Jti::new(random(&rng)));
            let prepared = authority
                .prepare(black_box(&id), &scoped, life, jti)
                .unwrap();
            let receipt = Receipt::forged(prepared.binding());
            let recorded = prepared.redeem(receipt).unwrap();
            black_box(authority.sign(recorded).unwrap());
        }),
    }
}

/// CPU time that this thread has used.
fn used() -> Duration {
    let at = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(at).unwrap()
}

fn time(path: &mut Path, calls: u32) -> Duration {
    let start = used();
    for _ in 0..calls {
        (path.call)();
    }
    used() - start
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    // cargo bench says so; cargo test --benches does not, and wants it to be short.
    let measuring = std::env::args().any(|argument| argument == "--bench");
    let (rounds, calls) = if measuring { (1_501, 20) } else { (1, 2) };
    let rng = SystemRandom::new();
    let mut base = raw(rng.clone());
    let mut paths = [
        vouched(rng.clone()),
        jwt(rng.clone()),
        access(rng.clone()),
        with_csr(rng),
    ];
    for path in &mut paths {
        time(path, calls);
    }
    let mut ratios = vec![Vec::new(); paths.len()];
    let mut absolute = vec![Vec::new(); paths.len()];
    for _ in 0..rounds {
        for (path, (ratios, absolute)) in paths.iter_mut().zip(ratios.iter_mut().zip(&mut absolute))
        {
            // Before and after, so that a drift in between cancels out.
            let before = time(&mut base, calls);
            let spent = time(path, calls).as_secs_f64();
            let raw = (before + time(&mut base, calls)).as_secs_f64() / 2.0;
            ratios.push(raw / spent);
            absolute.push(f64::from(calls) / spent);
        }
    }
    for (path, (ratios, absolute)) in paths.iter().zip(ratios.into_iter().zip(absolute)) {
        let (ratio, rate) = (median(ratios), median(absolute));
        println!(
            "{{\"bench\":\"{}\",\"of_raw_sign\":{ratio:.3},\"aim\":{:.2},\"per_second\":{rate:.0},\"rounds\":{rounds}}}",
            path.name, path.aim
        );
    }
}
