//! Why enrolment fails, and what to do about it.

use std::path::PathBuf;

use contract::ProveError;
use identity::SpiffeId;
use tonic::Status;

use crate::disk::DiskError;
use crate::server_link::LinkError;

/// Why an agent has no identity of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// Nothing says which server to trust.
    #[error(
        "nothing says which server to trust, and an agent does not trust the first that answers. \
         On the server, run `bulla token create`: it prints one command for this node, with the \
         bundle's SHA-256 (trust.bundle_sha256). A bundle file (trust.bundle_file) does as well"
    )]
    NoAnchor,
    /// Nothing to prove the node with.
    #[error(
        "{0}, and there is no join token to enrol with. On the server, run `bulla token create`, \
         and start the agent with the command it prints (the token goes in BULLA_JOIN_TOKEN or \
         join_token_file)"
    )]
    NoToken(&'static str),
    /// The token file cannot be used.
    #[error("the join token file {path} cannot be used: {why}")]
    TokenFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The node's certificate or its key cannot be used.
    #[error("attestors.x509_pop: {path} cannot be used: {why}")]
    NodeCertificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The bundle file cannot be used.
    #[error("trust.bundle_file {path} cannot be used: {why}")]
    BundleFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No authority of the server matches a pin.
    #[error(
        "no authority of the server matches trust.bundle_sha256: this is another server, or its \
         authorities have changed since the pin was taken. It offers SHA-256 {}. Compare with \
         `bulla bundle show` on the server",
        offered.join(", ")
    )]
    PinMismatch {
        /// What the server's authorities hash to.
        offered: Vec<String>,
    },
    /// The chain of the server's TLS certificate does not lead to the pinned authority.
    #[error("the server's certificate does not come from the pinned authority: {0}")]
    ServerChain(verify::X509Fault),
    /// A certificate of the right authority that is not the server's.
    #[error("the peer is {0}, which is not the server of this trust domain")]
    NotTheServer(SpiffeId),
    /// The server's bundle cannot be used.
    #[error("the server's trust bundle cannot be used: {0}")]
    Bundle(String),
    /// The server did not take the evidence.
    #[error(
        "the server did not accept the join token: {0}. A token works once and expires; \
         make another with `bulla token create`"
    )]
    Evidence(String),
    /// The server did not take the node's certificate.
    #[error(
        "the server did not accept this node's certificate: {0}. Its CA must be in the server's \
         attestors.x509_pop.ca_bundle_file"
    )]
    CertificateRefused(String),
    /// The server knows this node and does not want it.
    #[error("the server refuses this node: {0}")]
    Banned(String),
    /// The evidence cannot be given.
    #[error("the node cannot prove itself: {0}")]
    Prove(#[from] ProveError),
    /// The answer makes no sense.
    #[error("the server's answer cannot be used: {0}")]
    Answer(&'static str),
    /// The certificate in the answer is not what was asked for.
    #[error("the server's certificate for this agent cannot be used: {0}")]
    OwnChain(verify::X509Fault),
    /// The server could not answer now.
    #[error("the server could not enrol this agent now: {}", .0.message())]
    Refused(Status),
    /// There is no connection.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No key could be made.
    #[error("no key could be made for this agent: {0}")]
    Key(String),
}

impl EnrolError {
    /// Whether the same attempt may succeed later.
    pub(crate) const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Link(LinkError::Connect { .. }) | Self::Refused(_)
        )
    }
}
