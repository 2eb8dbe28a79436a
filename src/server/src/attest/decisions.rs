//! What becomes of a node's row: decided on the row as it is stored, by functions that
//! do nothing else. They run inside [`crate::state::State::decide`].

use identity::{CertificateSerial, Node, Timestamp};
use records::JoinTokenRecord;

use super::AgentDenied;
use super::renew::MUST_REATTEST;
use crate::failure::{Failure, Kind};

/// What an attestation that proved itself asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proved {
    /// It rests on a join token, which it uses up.
    pub(super) by_token: bool,
    /// The same key used the token up a moment ago and never saw the answer.
    pub(super) asks_again: bool,
}

/// Whether a proved node may attest, and whether its join token is used up by that.
///
/// # Errors
/// The node is banned, has attested and may not again, or the token is not valid.
pub(super) fn attest(
    node: Option<&Node>,
    token: Option<&JoinTokenRecord>,
    proved: Proved,
    now: Timestamp,
) -> Result<bool, Failure> {
    if node.is_some_and(|node| node.banned) {
        return Err(banned());
    }
    if !proved.by_token {
        return match node {
            Some(node) if !node.can_reattest => Err(Failure::denied(
                "agent has attested already and may not do so again; an admin must evict it first",
            )),
            _ => Ok(false),
        };
    }
    if node.is_some() && proved.asks_again {
        return Ok(false);
    }
    match token {
        Some(token) if token.expires_at > now => Ok(true),
        _ => Err(no_such_token()),
    }
}

/// The node once it is banned; `None` when it is already.
pub(super) fn ban(mut node: Node) -> Option<Node> {
    if node.banned {
        return None;
    }
    node.banned = true;
    node.next = None;
    Some(node)
}

/// The node with its next SVID on record.
///
/// # Errors
/// It is gone, banned, or must attest again instead.
pub(super) fn renew(
    node: Option<Node>,
    next: (CertificateSerial, Timestamp),
) -> Result<Node, Failure> {
    let mut node = node.ok_or_else(|| Failure::denied("agent is not attested"))?;
    if node.banned {
        return Err(Failure::denied("agent is banned"));
    }
    if node.can_reattest {
        // What it was attested by may have expired since.
        return Err(Failure::denied(MUST_REATTEST));
    }
    node.next = Some(next);
    Ok(node)
}

/// How a node's row stands to a serial that was shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the one in use.
    Current,
    /// It is the renewed one, used for the first time.
    Next,
    /// It is refused.
    Denied(AgentDenied),
}

pub(super) fn standing(node: Option<&Node>, serial: &CertificateSerial) -> Standing {
    let Some(node) = node else {
        return Standing::Denied(AgentDenied::NotAttested);
    };
    if node.banned {
        return Standing::Denied(AgentDenied::Banned);
    }
    if node.serial == *serial {
        return Standing::Current;
    }
    match &node.next {
        Some((next, _)) if next == serial => Standing::Next,
        _ => Standing::Denied(AgentDenied::NotActive),
    }
}

/// The node once its renewed SVID is the one in use; `None` when this serial is that
/// already.
///
/// # Errors
/// See [`AgentDenied`].
pub(super) fn promote(
    node: Option<Node>,
    serial: &CertificateSerial,
) -> Result<Option<Node>, AgentDenied> {
    match standing(node.as_ref(), serial) {
        Standing::Current => return Ok(None),
        Standing::Denied(denied) => return Err(denied),
        Standing::Next => {}
    }
    Ok(node.and_then(|mut node| {
        let (serial, expires_at) = node.next.take()?;
        node.serial = serial;
        node.expires_at = expires_at;
        Some(node)
    }))
}

/// A banned node is told so, however it comes.
pub(super) fn banned() -> Failure {
    Failure::denied("agent is banned; an admin must evict it before it may attest again")
}

/// One answer for unknown, used and expired tokens: a guesser learns nothing.
pub(super) fn no_such_token() -> Failure {
    Failure::new(
        Kind::Invalid,
        "join token is not valid: it does not exist, was used, or has expired; make a new one with `bulla token create`",
    )
}

#[cfg(test)]
mod tests {
    use identity::{Selectors, SpiffeId};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn serial(n: u8) -> CertificateSerial {
        CertificateSerial::new(&[n])
    }

    fn node(change: impl FnOnce(&mut Node)) -> Node {
        let mut node = Node {
            id: SpiffeId::parse("spiffe://example.org/spire/agent/x/1").unwrap(),
            attestor: "x".into(),
            selectors: Selectors::new(Vec::new()).unwrap(),
            serial: serial(1),
            expires_at: Timestamp(2_000),
            next: None,
            banned: false,
            can_reattest: false,
            agent_version: String::new(),
            attested_at: Timestamp(0),
        };
        change(&mut node);
        node
    }

    fn token(expires_at: i64) -> JoinTokenRecord {
        JoinTokenRecord {
            sha256: [1; 32],
            expires_at: Timestamp(expires_at),
            agent_alias: None,
            created_at: Timestamp(0),
            created_by: String::new(),
        }
    }

    const BY_TOKEN: Proved = Proved {
        by_token: true,
        asks_again: false,
    };
    const AGAIN: Proved = Proved {
        by_token: true,
        asks_again: true,
    };
    const BY_PROOF: Proved = Proved {
        by_token: false,
        asks_again: false,
    };

    #[test]
    fn a_banned_node_attests_by_nothing() {
        let banned = node(|node| {
            node.banned = true;
            node.can_reattest = true;
        });
        for proved in [BY_TOKEN, AGAIN, BY_PROOF] {
            let refused = attest(Some(&banned), Some(&token(9_999)), proved, NOW).unwrap_err();
            assert_eq!(refused.kind(), Kind::Denied);
        }
    }

    #[test]
    fn a_token_is_used_up_once_and_only_while_it_is_valid() {
        assert_eq!(attest(None, Some(&token(1_001)), BY_TOKEN, NOW), Ok(true));
        for gone in [None, Some(&token(1_000))] {
            let refused = attest(None, gone, BY_TOKEN, NOW);
            assert_eq!(refused, Err(no_such_token()));
        }
        let there = node(|_| {});
        assert_eq!(attest(Some(&there), None, AGAIN, NOW), Ok(false));
        assert_eq!(
            attest(Some(&there), None, BY_TOKEN, NOW),
            Err(no_such_token())
        );
        assert_eq!(
            attest(None, None, AGAIN, NOW),
            Err(no_such_token()),
            "it was evicted"
        );
    }

    #[test]
    fn only_what_may_attest_again_does() {
        assert_eq!(attest(None, None, BY_PROOF, NOW), Ok(false));
        let again = node(|node| node.can_reattest = true);
        assert_eq!(attest(Some(&again), None, BY_PROOF, NOW), Ok(false));
        let once = node(|_| {});
        assert!(attest(Some(&once), None, BY_PROOF, NOW).is_err());
    }

    #[test]
    fn a_ban_takes_the_next_svid_with_it_and_is_made_once() {
        let next = Some((serial(2), NOW));
        let banned = ban(node(|node| node.next = next)).unwrap();
        assert!(banned.banned && banned.next.is_none());
        assert_eq!(ban(banned.clone()), None);
        assert_eq!(
            promote(Some(banned.clone()), &serial(2)),
            Err(AgentDenied::Banned)
        );
        assert!(renew(Some(banned), (serial(3), NOW)).is_err());
    }

    #[test]
    fn a_renewed_svid_is_promoted_by_its_first_use() {
        let renewed = renew(Some(node(|_| {})), (serial(2), Timestamp(3_000))).unwrap();
        assert_eq!(standing(Some(&renewed), &serial(1)), Standing::Current);
        assert_eq!(promote(Some(renewed.clone()), &serial(1)), Ok(None));
        assert_eq!(
            promote(Some(renewed.clone()), &serial(3)),
            Err(AgentDenied::NotActive)
        );
        let promoted = promote(Some(renewed), &serial(2)).unwrap().unwrap();
        assert_eq!((promoted.serial, promoted.next), (serial(2), None));
        assert_eq!(promoted.expires_at, Timestamp(3_000));
        assert_eq!(promote(None, &serial(2)), Err(AgentDenied::NotAttested));
    }

    #[test]
    fn who_can_attest_again_does_not_renew() {
        let again = node(|node| node.can_reattest = true);
        let refused = renew(Some(again), (serial(2), NOW)).unwrap_err();
        assert_eq!(refused.message(), MUST_REATTEST);
        assert!(renew(None, (serial(2), NOW)).is_err());
    }
}
