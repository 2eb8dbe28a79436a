//! Node attestation: the agent proves, the server verifies.

use std::fmt;

use identity::{Selector, Timestamp};
use zeroize::Zeroizing;

use crate::NodeKey;

/// The agent's half of a node attestor.
pub trait Prove: Send {
    /// The attestor's name on the wire and in agent IDs, such as `join_token`.
    fn kind(&self) -> &'static str;

    /// Gives the first evidence, or answers the server's challenge.
    ///
    /// # Errors
    /// The evidence cannot be given, or the challenge makes no sense here.
    fn prove(&mut self, step: ProveStep<'_>) -> Result<Evidence, ProveError>;
}

/// What the agent is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProveStep<'a> {
    /// The first evidence.
    Start,
    /// An answer to these bytes of the server's.
    Challenge(&'a [u8]),
}

/// What an agent sends to prove itself. It may be a secret (a join token is),
/// so it is wiped when dropped and never shown.
pub struct Evidence(Zeroizing<Vec<u8>>);

impl Evidence {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for sending.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({} bytes)", self.0.len())
    }
}

/// Why an agent gave no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// What the attestor needs is not there.
    #[error("{0}")]
    Unavailable(String),
    /// The server sent a challenge that this attestor does not answer.
    #[error("the server sent a challenge that the attestor {0} does not know")]
    UnexpectedChallenge(&'static str),
}

/// The server's half of a node attestor. Call it through [`advance`], which
/// holds the limits.
///
/// An implementation looks at bounded bytes only, does its cheap checks before
/// any cryptography, and keeps nothing between calls but what it puts into the
/// [`Exchange`].
pub trait Verify: Send + Sync {
    /// The attestor's name on the wire and in agent IDs.
    fn kind(&self) -> &'static str;

    /// How much an unauthenticated peer may send.
    fn limits(&self) -> Limits;

    /// Judges evidence.
    ///
    /// # Errors
    /// The evidence does not prove anything; the text may be shown to the peer
    /// and never holds what the peer sent.
    fn verify(
        &self,
        evidence: &[u8],
        state: &mut Exchange,
        now: Timestamp,
        host: &dyn VerifyHost,
    ) -> Result<Verdict, VerifyError>;
}

/// The bounds of one attestation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of evidence in one message.
    pub evidence_bytes: usize,
    /// The most messages of evidence, the first included.
    pub rounds: u32,
}

/// What a verifier remembers between the messages of one attestation. The
/// server makes one for each stream and drops it with the stream.
#[derive(Default)]
pub struct Exchange {
    rounds: u32,
    /// The verifier's own notes, such as the challenge it has sent.
    pub notes: Zeroizing<Vec<u8>>,
    /// Which node the evidence so far says it is from. Unproven: a certificate is
    /// shown before its key has signed anything. A verifier sets it before it
    /// returns a challenge, as soon as the evidence names a node, so that the
    /// server can refuse a banned node and count open challenges by node. The node
    /// key of the [`Facts`] must then be the same one.
    pub claimed: Option<NodeKey>,
}

impl Exchange {
    /// An exchange in which nothing was sent yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages of evidence were let through so far.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange(round {})", self.rounds)
    }
}

/// What evidence led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The node is who it says, and this is what is known of it.
    Facts(Facts),
    /// The peer must answer these bytes first.
    Challenge(Vec<u8>),
}

/// What a verifier found out about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which node it is, among all nodes of this attestor.
    pub node_key: NodeKey,
    /// What it has; each of the attestor's own kind.
    pub selectors: Vec<Selector>,
    /// Whether the node may attest again by itself when its SVID has expired.
    pub can_reattest: bool,
    /// What must exist, unexpired, and be used up in the same commit that
    /// makes the node. The facts hold only if that commit does.
    pub consume: Option<OneTime>,
}

/// A thing that works once: the server looks it up by its key, checks that it
/// has not expired, and deletes it in the commit that makes the node.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OneTime {
    /// SHA-256 of the secret; the secret itself is stored nowhere.
    pub key: [u8; 32],
}

impl fmt::Debug for OneTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTime(..)")
    }
}

/// Why evidence was not accepted. No variant holds bytes of the peer's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// More bytes than [`Limits::evidence_bytes`].
    #[error("the evidence has {got} bytes; at most {most} are allowed")]
    TooLarge {
        /// How many came.
        got: usize,
        /// How many may come.
        most: usize,
    },
    /// More messages than [`Limits::rounds`].
    #[error("the attestation took more than {0} messages")]
    TooManyRounds(u32),
    /// The bytes are not what this attestor's evidence looks like.
    #[error("the evidence is malformed: {0}")]
    Malformed(&'static str),
    /// Well formed, but it proves nothing.
    #[error("the evidence was not accepted: {0}")]
    Refused(String),
    /// The verifier could not do its work; try again later.
    #[error("the evidence cannot be checked now: {0}")]
    Unavailable(String),
}

/// What a verifier may ask of the server.
pub trait VerifyHost: Sync {
    /// Fills `out` with random bytes, for challenges.
    ///
    /// # Errors
    /// The source of randomness failed.
    fn random(&self, out: &mut [u8]) -> Result<(), HostError>;
}

/// A capability of the host failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host could not {what}")]
pub struct HostError {
    /// What it was asked for, such as "make random bytes".
    pub what: &'static str,
}

/// Gives one message of evidence to a verifier, within its limits, which are
/// held before the verifier sees a byte.
///
/// # Errors
/// A limit is exceeded, or the verifier's own error.
pub fn advance(
    verifier: &dyn Verify,
    evidence: &[u8],
    exchange: &mut Exchange,
    now: Timestamp,
    host: &dyn VerifyHost,
) -> Result<Verdict, VerifyError> {
    let limits = verifier.limits();
    if evidence.len() > limits.evidence_bytes {
        return Err(VerifyError::TooLarge {
            got: evidence.len(),
            most: limits.evidence_bytes,
        });
    }
    if exchange.rounds >= limits.rounds {
        return Err(VerifyError::TooManyRounds(limits.rounds));
    }
    exchange.rounds += 1;
    let verdict = verifier.verify(evidence, exchange, now, host)?;
    if let Verdict::Facts(facts) = &verdict
        && facts.selectors.iter().any(|s| s.kind() != verifier.kind())
    {
        // A verifier that states facts of another's kind is broken; nothing it says counts.
        return Err(VerifyError::Unavailable(format!(
            "the verifier {} stated a selector of another kind",
            verifier.kind()
        )));
    }
    Ok(verdict)
}
