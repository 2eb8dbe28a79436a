//! The server's half.

use contract::{Exchange, Facts, Limits, Verdict, Verify, VerifyError, VerifyHost};
use identity::Timestamp;

use crate::{JoinToken, KIND, MAX_TOKEN_BYTES};

/// Verifies join tokens. Knows no tokens: it says which row must exist and be
/// used up for the facts to hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct JoinTokenVerifier;

impl Verify for JoinTokenVerifier {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn limits(&self) -> Limits {
        Limits {
            evidence_bytes: MAX_TOKEN_BYTES,
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
        // Neither error says more: the peer knows what it sent.
        let malformed = VerifyError::Malformed("it is not a join token");
        let Ok(text) = std::str::from_utf8(evidence) else {
            return Err(malformed);
        };
        let Ok(token) = JoinToken::parse(text) else {
            return Err(malformed);
        };
        let Ok(node_key) = token.node_key() else {
            return Err(malformed);
        };
        Ok(Verdict::Facts(Facts {
            node_key,
            selectors: Vec::new(),
            // The token is gone after this; a node that lost its SVID needs a new one.
            can_reattest: false,
            consume: Some(token.one_time()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JoinTokenProver;
    use contract::{Prove, ProveStep, advance, battery};
    use proptest::prelude::*;

    const TOKEN: &str = "bjt_00112233445566778899aabbccddeeff00112233";

    fn prover() -> Box<dyn Prove> {
        Box::new(JoinTokenProver::new(JoinToken::parse(TOKEN).unwrap()))
    }

    #[test]
    fn passes_the_battery() {
        battery::node(&prover, &JoinTokenVerifier, Timestamp(0));
    }

    #[test]
    fn a_challenge_is_not_answered() {
        let outcome = prover().prove(ProveStep::Challenge(b"give me the token again"));
        assert!(outcome.is_err());
    }

    #[test]
    fn the_facts_hold_only_if_the_token_is_used_up() {
        let host = battery::CountingHost::default();
        let mut exchange = Exchange::new();
        let verdict = advance(
            &JoinTokenVerifier,
            TOKEN.as_bytes(),
            &mut exchange,
            Timestamp(0),
            &host,
        );
        let Ok(Verdict::Facts(facts)) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(
            facts.consume,
            Some(JoinToken::parse(TOKEN).unwrap().one_time())
        );
        assert!(facts.selectors.is_empty() && !facts.can_reattest);
    }

    proptest! {
        #[test]
        fn no_evidence_is_taken_for_another_and_none_panics(
            evidence in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let host = battery::CountingHost::default();
            let verdict =
                advance(&JoinTokenVerifier, &evidence, &mut Exchange::new(), Timestamp(0), &host);
            if let Ok(Verdict::Facts(facts)) = verdict {
                let hash = ring::digest::digest(&ring::digest::SHA256, &evidence);
                let key = facts.consume.unwrap().key;
                prop_assert_eq!(key.as_slice(), hash.as_ref());
            }
        }
    }
}
