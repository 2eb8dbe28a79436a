//! Who may call what. One table names the roles of every RPC ([`table`]), one
//! gate finds out on each call which roles the caller has ([`gate`]), and one
//! layer before all services lets through what both agree on ([`layer`]), at no more
//! than the call may cost ([`cost`]) and its caller may have in progress ([`accounts`]).
//! No service decides on its own; what is not said to be allowed is refused.

mod accounts;
mod body;
mod cost;
mod coverage;
mod gate;
mod grpc_only;
mod layer;
mod origin;
mod owner;
mod quota;
mod roles;
mod table;

use identity::{CertificateSerial, Timestamp};
use tonic::{Request, Status};

use crate::caller::Caller;

pub(crate) use accounts::Accounts;
pub(crate) use cost::Cost;
pub(crate) use coverage::check_coverage;
pub(crate) use gate::{Gate, reason};
pub(crate) use layer::Guard;
#[cfg(test)]
pub(crate) use origin::TestPeer;
pub(crate) use roles::Roles;
pub(crate) use table::TABLE;

/// A caller that the gate let through; the layer puts it into the request.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// Who.
    pub(crate) caller: Caller,
    /// What proves it.
    origin: origin::Origin,
}

/// The caller's certificate, for streams that outlive the check of their opening.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// Its serial number.
    pub(crate) serial: CertificateSerial,
    /// When it began.
    pub(crate) not_before: Timestamp,
    /// When it expires.
    pub(crate) not_after: Timestamp,
}

/// The caller of a request.
///
/// # Errors
/// `Internal`: the request did not pass the gate, so nothing may be done for it.
pub(crate) fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let admitted = request.extensions().get::<Admitted>();
    admitted
        .map(|admitted| admitted.caller.clone())
        .ok_or_else(|| Status::internal("the call did not pass the gate"))
}

/// The agent that makes a request; for RPCs that agents alone may call.
///
/// # Errors
/// As [`caller`]; also when the caller has no SPIFFE ID.
pub(crate) fn agent<T>(request: &Request<T>) -> Result<identity::SpiffeId, Status> {
    match caller(request)? {
        Caller::Spiffe(id) if id.is_agent() => Ok(id),
        _ => Err(Status::internal(
            "the gate let a caller through that is no agent",
        )),
    }
}

/// The certificate a request came with.
///
/// # Errors
/// `Internal`: the request did not pass the gate, or has none.
pub(crate) fn certificate<T>(request: &Request<T>) -> Result<Certificate, Status> {
    let admitted = request.extensions().get::<Admitted>();
    let certified = admitted.and_then(|admitted| admitted.origin.certified());
    certified
        .map(|certified| Certificate {
            serial: certified.serial.clone(),
            not_before: certified.not_before,
            not_after: certified.not_after,
        })
        .ok_or_else(|| Status::internal("the gate let a caller through that has no certificate"))
}

#[cfg(test)]
mod tests;
