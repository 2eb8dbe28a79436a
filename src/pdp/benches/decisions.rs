//! Decisions a second at 10, 1,000 and 10,000 policies, as they are and against
//! what one raw ECDSA P-256 signature costs on the same machine: a token needs
//! one of each. `cargo bench -p pdp`; one JSON line a figure.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints"
)]

use std::time::Instant;

use identity::{EntryId, Selectors, SpiffeId, Timestamp};
use pdp::Engine;
use policy::{
    Binding, EntryLimits, NodeFacts, Principal, RequestContext, SourceFile, Sources, TokenRequest,
    admit,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

const NOW: Timestamp = Timestamp(1_795_512_600);
/// Permits of one service, each for another caller.
const PER_SERVICE: usize = 10;

fn main() {
    let signature = signature_ns();
    println!("{{\"bench\":\"raw signature\",\"ns\":{signature}}}");
    for policies in [10, 1_000, 10_000] {
        let started = Instant::now();
        let engine = Engine::load(&sources(policies)).unwrap();
        let load_ms = started.elapsed().as_millis();
        let granted = decision_ns(&engine, "spiffe://example.org/caller3/web", 1);
        let refused = decision_ns(&engine, "spiffe://example.org/nobody", 0);
        println!(
            "{{\"bench\":\"decision\",\"policies\":{policies},\"granted_ns\":{granted},\"refused_ns\":{refused},\"per_second\":{},\"of_a_signature\":{}.{:02},\"load_ms\":{load_ms}}}",
            1_000_000_000 / granted.max(1),
            granted / signature,
            granted * 100 / signature % 100,
        );
    }
}

fn sources(policies: usize) -> Sources {
    let file = |name: String, text: String| SourceFile { name, text };
    let mut sources = Sources::default();
    for service in 0..policies.div_ceil(PER_SERVICE) {
        let text = format!(
            "{{audience: s{service}, owner: t, permissions: [{{name: 's{service}:read', risk: low}}, {{name: 's{service}:write', risk: high}}]}}"
        );
        sources
            .catalogue
            .push(file(format!("catalogue/s{service}.yaml"), text));
        let permit = |caller: usize| {
            format!(
                "@id(\"p{service}-{caller}\") @owner(\"t\") @rationale(\"r\") @max_ttl(\"5m\") permit (principal in Path::\"spiffe://example.org/caller{caller}\", action == Action::\"s{service}:read\", resource == Audience::\"s{service}\") when {{ context.weekday <= 5 && context.now.toTime() >= duration(\"8h\") }};\n"
            )
        };
        let text: String = (0..PER_SERVICE).map(permit).collect();
        sources
            .policies
            .push(file(format!("policies/s{service}.cedar"), text));
    }
    let guard = "@id(\"guard\") @owner(\"t\") @rationale(\"r\") forbid (principal, action, resource) when { context.mints5m > 100 };";
    sources
        .guardrails
        .push(file("guardrails/g.cedar".into(), guard.into()));
    sources
}

fn caller(id: &str) -> Principal {
    Principal {
        spiffe_id: SpiffeId::parse(id).unwrap(),
        entry_id: EntryId::parse("e").unwrap(),
        limits: EntryLimits::default(),
        selectors: Selectors::default(),
        attested_at: NOW,
        node: NodeFacts {
            spiffe_id: SpiffeId::parse("spiffe://example.org/spire/agent/n").unwrap(),
            attestor: "join_token".into(),
            selectors: Selectors::default(),
            attested_at: NOW,
        },
    }
}

fn decision_ns(engine: &Engine, id: &str, expected: usize) -> u128 {
    let who = caller(id);
    let context = RequestContext {
        now: NOW,
        source_ip: None,
        binding: Some(Binding::Certificate([1; 32])),
        mints_5m: 3,
        break_glass: None,
    };
    let request = TokenRequest {
        audience: "s0".into(),
        permissions: vec!["s0:read".into()],
        ..TokenRequest::default()
    };
    let decide = || {
        let wanted = admit(&request, engine.catalogue(), &who, &context).unwrap();
        engine.decide(&who, &context, &wanted).granted.len()
    };
    assert_eq!(decide(), expected);
    fastest(3, 2_000, || {
        std::hint::black_box(decide());
    })
}

fn signature_ns() -> u128 {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let key = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap();
    fastest(3, 5_000, || {
        std::hint::black_box(key.sign(&random, &[7; 200]).unwrap());
    })
}

/// Nanoseconds a call in the fastest of several rounds.
fn fastest(rounds: u32, calls: u32, mut call: impl FnMut()) -> u128 {
    let round = |_| {
        let started = Instant::now();
        for _ in 0..calls {
            call();
        }
        started.elapsed().as_nanos() / u128::from(calls)
    };
    (0..rounds).map(round).min().unwrap_or_default()
}
