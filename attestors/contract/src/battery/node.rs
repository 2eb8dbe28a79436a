//! What each node attestor must do, whatever its evidence.

use std::sync::atomic::{AtomicU8, Ordering};

use identity::Timestamp;

use crate::{
    Exchange, Facts, HostError, Prove, ProveStep, Verdict, Verify, VerifyError, VerifyHost, advance,
};

/// A host whose "random" bytes count upwards, so that runs repeat and two
/// challenges differ.
#[derive(Default)]
pub struct CountingHost(AtomicU8);

impl VerifyHost for CountingHost {
    fn random(&self, out: &mut [u8]) -> Result<(), HostError> {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

/// Holds both halves of a node attestor to the contract. `prover` makes a
/// fresh prover of one and the same node.
///
/// # Panics
/// When a half breaks the contract; the message says how.
pub fn node(prover: &dyn Fn() -> Box<dyn Prove>, verifier: &dyn Verify, now: Timestamp) {
    let (facts, messages) = attest(prover().as_mut(), verifier, now);
    for selector in &facts.selectors {
        assert_eq!(
            selector.kind(),
            verifier.kind(),
            "a foreign kind: {selector:?}"
        );
    }
    let (again, _) = attest(prover().as_mut(), verifier, now);
    assert_eq!(facts.node_key, again.node_key, "one node, two keys");
    assert_eq!(
        facts.consume, again.consume,
        "one secret, two one-time keys"
    );

    let Some(first) = messages.first() else {
        unreachable!("facts without evidence");
    };
    let evidence_bytes = verifier.limits().evidence_bytes;
    assert!(
        first.len() <= evidence_bytes,
        "honest evidence over the limit"
    );
    assert!(
        verifier.limits().rounds <= 8,
        "no attestation needs so many messages"
    );
    holds_limits(verifier, first, now);
    for cut in 0..first.len() {
        judge(verifier, first.get(..cut).unwrap_or_default(), &facts, now);
    }
    for at in 0..first.len() {
        for flip in [0x01, 0x20, 0x80, 0xff] {
            let mut changed = first.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= flip;
            }
            judge(verifier, &changed, &facts, now);
        }
    }
    for extra in [b'\0', b' ', b'\n', b'a', 0xff] {
        let mut longer = first.clone();
        longer.push(extra);
        judge(verifier, &longer, &facts, now);
    }
}

fn attest(prover: &mut dyn Prove, verifier: &dyn Verify, now: Timestamp) -> (Facts, Vec<Vec<u8>>) {
    assert_eq!(
        prover.kind(),
        verifier.kind(),
        "the halves have different names"
    );
    let host = CountingHost::default();
    let mut exchange = Exchange::new();
    let mut messages = Vec::new();
    let mut challenge = None;
    loop {
        let step = challenge
            .as_deref()
            .map_or(ProveStep::Start, ProveStep::Challenge);
        let evidence = match prover.prove(step) {
            Ok(evidence) => evidence,
            Err(error) => unreachable!("an honest prover failed: {error}"),
        };
        messages.push(evidence.as_bytes().to_vec());
        match advance(verifier, evidence.as_bytes(), &mut exchange, now, &host) {
            Ok(Verdict::Facts(facts)) => {
                let claimed = exchange.claimed.as_ref();
                assert!(
                    claimed.is_none_or(|claimed| *claimed == facts.node_key),
                    "the evidence claimed one node and proved another"
                );
                return (facts, messages);
            }
            Ok(Verdict::Challenge(bytes)) => challenge = Some(bytes),
            Err(error) => unreachable!("honest evidence was refused: {error}"),
        }
    }
}

fn holds_limits(verifier: &dyn Verify, first: &[u8], now: Timestamp) {
    let host = CountingHost::default();
    let limits = verifier.limits();
    let large = vec![b'a'; limits.evidence_bytes + 1];
    let refused = advance(verifier, &large, &mut Exchange::new(), now, &host);
    assert!(
        matches!(refused, Err(VerifyError::TooLarge { .. })),
        "no limit on bytes"
    );
    let mut exchange = Exchange::new();
    for _ in 0..limits.rounds {
        let _any = advance(verifier, first, &mut exchange, now, &host);
    }
    let refused = advance(verifier, first, &mut exchange, now, &host);
    assert!(
        matches!(refused, Err(VerifyError::TooManyRounds(_))),
        "no limit on messages"
    );
}

// Evidence that was tampered with may be refused or may lead to another node
// (another token is another node); it never leads to the honest one.
fn judge(verifier: &dyn Verify, evidence: &[u8], honest: &Facts, now: Timestamp) {
    let host = CountingHost::default();
    match advance(verifier, evidence, &mut Exchange::new(), now, &host) {
        Ok(Verdict::Facts(facts)) => {
            assert!(
                facts.node_key != honest.node_key && facts.consume != honest.consume,
                "tampered evidence was taken for the honest node's"
            );
            assert!(
                facts.consume.is_some(),
                "tampered evidence led to facts that nothing else must confirm"
            );
        }
        Ok(Verdict::Challenge(_)) => {}
        Err(error) => {
            let text = error.to_string();
            let sent = String::from_utf8_lossy(evidence);
            assert!(
                evidence.len() < 8 || !text.contains(sent.as_ref()),
                "an error repeats the evidence"
            );
        }
    }
}
