//! The one way a credential comes to be: authorise, prepare, record, sign.
//!
//! Every API that issues calls this module: the batches of agents, the mints of
//! admins, attestation and renewal, the server's own SVID. The order is held by
//! types: only a durable record's receipt turns a prepared credential into bytes
//! to sign. Nothing here reads the store, parses keys or formats text when all
//! goes well.

mod downstream;
mod far_away;
mod jwt;
mod refusal;
mod server_svid;
mod shares;
mod x509;

use std::sync::Arc;

use authority::{Serial, SerialPrefix, SubjectKey};
use identity::{Entry, EntryId, JwtSvid, Seconds, SpiffeId, X509Svid};

use crate::audit::Audit;
use crate::authorities::Authorities;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::metrics::Meters;
use crate::state::State;

pub(crate) use far_away::{FarAway, refusal};
pub(crate) use refusal::IssueRefusal;
pub(crate) use server_svid::ServerSvid;
pub(crate) use shares::Shares;
pub(crate) use x509::not_revoked;

/// What an X.509-SVID is asked for.
#[derive(Debug)]
pub(crate) struct X509Request {
    /// By which right, and so with which contents.
    pub right: X509Right,
    /// The key to certify; its holder was checked by whoever built this.
    pub key: SubjectKey,
}

/// By which right an X.509-SVID is issued. The contents follow from it, never
/// from the requester.
#[derive(Debug, Clone)]
pub(crate) enum X509Right {
    /// An agent asks for one of the entries it is authorised for.
    Entry {
        /// The authenticated agent.
        agent: SpiffeId,
        /// The entry.
        entry: EntryId,
    },
    /// An administrator asks for this identity.
    Mint {
        /// The identity; a workload's, never a reserved one.
        spiffe_id: SpiffeId,
        /// DNS names, the first of which becomes the common name.
        dns_names: Vec<String>,
        /// Lifetime; `None` takes the default.
        ttl: Option<Seconds>,
    },
}

/// An issued X.509-SVID.
#[derive(Debug, Clone)]
pub(crate) struct IssuedX509 {
    /// The certificates.
    pub svid: X509Svid,
    /// The entry it was issued by, when it was.
    pub entry: Option<Arc<Entry>>,
}

/// An issued JWT-SVID.
#[derive(Debug, Clone)]
pub(crate) struct IssuedJwt {
    /// The token and its times.
    pub svid: JwtSvid,
    /// The entry it was issued by, when it was.
    pub entry: Option<Arc<Entry>>,
}

/// What a JWT-SVID is asked for.
#[derive(Debug, Clone)]
pub(crate) struct JwtRequest {
    /// By which right.
    pub right: JwtRight,
    /// For whom: 1 to 16 audiences.
    pub audience: Vec<String>,
}

/// By which right a JWT-SVID is issued.
#[derive(Debug, Clone)]
pub(crate) enum JwtRight {
    /// An agent asks for one of the entries it is authorised for.
    Entry {
        /// The authenticated agent.
        agent: SpiffeId,
        /// The entry.
        entry: EntryId,
    },
    /// An administrator asks for this identity.
    Mint {
        /// The identity.
        spiffe_id: SpiffeId,
        /// Lifetime; `None` takes the default.
        ttl: Option<Seconds>,
    },
}

/// Default and longest lifetimes, from the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    pub(crate) x509: Seconds,
    pub(crate) max_x509: Seconds,
    pub(crate) jwt: Seconds,
    pub(crate) max_jwt: Seconds,
}

/// Issues credentials. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) state: State,
    pub(crate) authorities: Authorities,
    pub(crate) audit: Audit,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) serials: SerialPrefix,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) meters: Meters,
    /// Signatures by agent.
    pub(crate) shares: Arc<Shares>,
    pub(crate) far: FarAway,
}

impl Issuer {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// What it stands on.
    pub(crate) fn parts(&self) -> &Parts {
        &self.0
    }

    /// A serial nobody has seen: this server's prefix and 136 random bits.
    pub(crate) fn serial(&self) -> Result<Serial, Failure> {
        Ok(Serial::new(self.0.serials, self.0.entropy.bytes()?))
    }
}

/// What was asked for, but never more than the most.
fn lifetime(asked: Option<Seconds>, default: Seconds, most: Seconds) -> Seconds {
    // Zero is what absent looks like on the wire.
    let wanted = asked.filter(|span| span.0 != 0);
    wanted.map_or(default, |span| span.min(most))
}

#[cfg(test)]
mod far_away_tests;
#[cfg(test)]
mod tests;
