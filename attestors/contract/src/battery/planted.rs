//! The battery against attestors with planted faults: each must be caught.

use identity::{Selector, Timestamp};

use super::{Ask, CountingHost, StillProcess, node, workload};
use crate::{
    Evidence, Exchange, Facts, Inspect, InspectError, Limits, NodeKey, OneTime, Process, Prove,
    ProveError, ProveStep, Verdict, Verify, VerifyError, VerifyHost, advance,
};

const SECRET: &[u8] = b"9f2c61d04b7ae835f1c6";

struct Prover;

impl Prove for Prover {
    fn kind(&self) -> &'static str {
        "planted"
    }
    fn prove(&mut self, _step: ProveStep<'_>) -> Result<Evidence, ProveError> {
        Ok(Evidence::new(SECRET.to_vec()))
    }
}

/// A verifier that is right but for one fault.
#[derive(Default)]
struct Verifier {
    ignores_the_last_byte: bool,
    repeats_the_evidence: bool,
    foreign_kind: bool,
}

impl Verify for Verifier {
    fn kind(&self) -> &'static str {
        "planted"
    }
    fn limits(&self) -> Limits {
        Limits {
            evidence_bytes: 64,
            rounds: 1,
        }
    }
    fn verify(
        &self,
        evidence: &[u8],
        _state: &mut Exchange,
        _now: Timestamp,
        _host: &dyn VerifyHost,
    ) -> Result<Verdict, VerifyError> {
        let seen = if self.ignores_the_last_byte {
            SECRET.len() - 1
        } else {
            SECRET.len().max(evidence.len())
        };
        if evidence.get(..seen) != SECRET.get(..seen) {
            return Err(if self.repeats_the_evidence {
                VerifyError::Refused(String::from_utf8_lossy(evidence).into_owned())
            } else {
                VerifyError::Malformed("not the secret")
            });
        }
        let kind = if self.foreign_kind { "unix" } else { "planted" };
        Ok(Verdict::Facts(Facts {
            node_key: NodeKey::new(&["one"]).unwrap(),
            selectors: vec![Selector::new(kind, "uid:0").unwrap()],
            can_reattest: true,
            consume: Some(OneTime { key: [7; 32] }),
        }))
    }
}

fn hold(verifier: &Verifier) {
    node(&|| Box::new(Prover), verifier, Timestamp(0));
}

#[test]
fn an_attestor_without_a_fault_passes() {
    hold(&Verifier::default());
}

#[test]
#[should_panic(expected = "tampered evidence was taken")]
fn a_verifier_that_overlooks_a_byte_is_caught() {
    hold(&Verifier {
        ignores_the_last_byte: true,
        ..Verifier::default()
    });
}

#[test]
#[should_panic(expected = "an error repeats the evidence")]
fn a_verifier_that_repeats_what_was_sent_is_caught() {
    hold(&Verifier {
        repeats_the_evidence: true,
        ..Verifier::default()
    });
}

#[test]
fn facts_of_another_kind_count_for_nothing() {
    let verifier = Verifier {
        foreign_kind: true,
        ..Verifier::default()
    };
    let host = CountingHost::default();
    let outcome = advance(&verifier, SECRET, &mut Exchange::new(), Timestamp(0), &host);
    assert!(
        matches!(outcome, Err(VerifyError::Unavailable(_))),
        "{outcome:?}"
    );
}

/// States the groups, and goes on without them when they cannot be read.
struct Swallows;

impl Inspect for Swallows {
    fn kind(&self) -> &'static str {
        "planted"
    }
    fn inspect(&self, process: &dyn Process) -> Result<Vec<Selector>, InspectError> {
        let mut stated = vec![Selector::new("planted", "here").unwrap()];
        for group in process.supplementary_groups().unwrap_or_default() {
            stated.push(Selector::new("planted", &format!("group:{group}")).unwrap());
        }
        Ok(stated)
    }
}

#[test]
#[should_panic(expected = "Groups failed and the attestor went on")]
fn an_attestor_that_states_half_of_the_facts_is_caught() {
    workload(&Swallows, &StillProcess::default(), &[Ask::Groups]);
}
