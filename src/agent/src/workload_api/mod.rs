//! The SPIFFE Workload API on the node's Unix socket, for clients of every
//! language.
//!
//! Every request, of whatever service, goes the same way: security header, then
//! the caller's share, then its message, then who the caller is, and only then
//! what it asks for. `connection` holds that order; the other files are its
//! steps.

mod admission;
mod bucket;
mod budget;
mod connection;
mod flights;
mod followed;
mod header;
mod health;
mod jwt;
mod reflection;
mod refusal;
mod scoped;
mod streams;
mod validate;
mod wire;

use std::sync::Arc;

use channel::uds::UnixPeer;
use contract::Attestor;

pub(crate) use admission::Admitted;
pub(crate) use budget::{NewTokens, Payer};
pub(crate) use connection::{Connection, process_changed};
pub(crate) use flights::Flights;
pub(crate) use followed::Followed;
pub(crate) use header::check as check_header;
pub(crate) use jwt::{Granted, Wanted, key_id};
pub(crate) use streams::drained;
pub(crate) use validate::{LEEWAY, claims};
pub(crate) use wire::{
    Answer, Messages, Push, REQUEST_PATIENCE, frame, is_grpc, messages, refuse, respond,
};

use crate::core::Core;
use crate::process::ProcessHost;
use crate::scoped::ScopedTokens;
use crate::sds;
use admission::Admission;
use followed::Returns;
use jwt::Tokens;
use reflection::Reflection;
use refusal::RefusalLog;

/// What all connections share.
pub(crate) struct WorkloadApi {
    pub(crate) core: Arc<Core>,
    pub(crate) host: Arc<ProcessHost>,
    pub(crate) attestors: Arc<[Attestor]>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) tokens: Tokens,
    pub(crate) scoped: ScopedTokens,
    reflection: Reflection,
    pub(crate) refusals: RefusalLog,
    pub(crate) secrets: sds::Shelf,
    returns: Returns,
}

impl WorkloadApi {
    pub(crate) fn new(
        core: Arc<Core>,
        host: Arc<ProcessHost>,
        attestors: Arc<[Attestor]>,
    ) -> Arc<Self> {
        let limits = &core.settings.config.limits;
        let new_tokens = Arc::new(NewTokens::new(limits));
        Arc::new(Self {
            admission: Admission::new(limits),
            tokens: Tokens::new(Arc::clone(&core), Arc::clone(&new_tokens)),
            scoped: ScopedTokens::new(Arc::clone(&core), new_tokens),
            reflection: Reflection::new(),
            refusals: RefusalLog::default(),
            secrets: sds::Shelf::default(),
            returns: Returns::default(),
            core,
            host,
            attestors,
        })
    }

    /// The service of one connection, from the moment it is accepted.
    pub(crate) fn accept(self: &Arc<Self>, peer: &Arc<UnixPeer>) -> Connection {
        Connection::new(Arc::clone(self), self.host.caller(peer))
    }
}
