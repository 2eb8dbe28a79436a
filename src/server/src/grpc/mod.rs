//! The gRPC services, all behind the gate of [`crate::authz`]. A service parses,
//! asks one part of the server, and answers; what may be done, and how, is decided
//! behind it.

mod agent;
mod audit;
mod authority;
mod bundle;
mod csr_batch;
mod entries;
mod entry;
mod fleet;
mod info;
mod issuance;
mod items;
mod keys;
mod limits;
mod malformed;
mod policy;
mod refused;
mod revocation;
mod svid;
mod sync;
mod token_limits;
mod tokens;
mod trustdomain;

use std::sync::Arc;

use api::agent::agent_server::AgentServer;
use api::audit::audit_server::AuditServer;
use api::bundle::bundle_server::BundleServer;
use api::debug::debug_server::DebugServer;
use api::entries::entries_server::EntriesServer;
use api::entries::limits_server::LimitsServer;
use api::entry::entry_server::EntryServer;
use api::fleet::fleet_server::FleetServer;
use api::info::info_server::InfoServer;
use api::issuance::issuance_server::IssuanceServer;
use api::keys::keys_server::KeysServer;
use api::limits::limits_server::LimitsServer as BudgetsServer;
use api::localauthority::local_authority_server::LocalAuthorityServer;
use api::policy::policy_server::PolicyServer;
use api::revocation::revocations_server::RevocationsServer;
use api::svid::svid_server::SvidServer;
use api::sync::sync_server::SyncServer;
use api::token::explain_server::ExplainServer;
use api::token::tokens_server::TokensServer;
use api::trustdomain::trust_domain_server::TrustDomainServer;
use tonic::service::{Routes, RoutesBuilder};

use crate::authz::{Gate, Guard};
use crate::limits::MAX_REQUEST_BYTES;
use crate::server::Server;
pub(crate) use malformed::caller_mistake;

/// The services on the network.
pub(crate) fn tcp(server: Arc<Server>) -> Guard<Routes> {
    services(server)
}

/// The services on the admin socket.
pub(crate) fn admin(server: Arc<Server>) -> Guard<Routes> {
    services(server)
}

/// All services behind the gate. The same on every listener: the gate tells the
/// callers apart by what their listener says of them.
fn services(server: Arc<Server>) -> Guard<Routes> {
    let gate = Gate::new(
        server.state.clone(),
        server.attestation.clone(),
        server.authorities.clone(),
        server.clock.clone(),
        nix::unistd::geteuid().as_raw(),
    );
    let (audit, accounts) = (server.audit.clone(), Arc::clone(&server.accounts));
    let routes = routes(server).routes().prepare();
    Guard::new(gate, accounts, audit, routes)
}

fn routes(server: Arc<Server>) -> RoutesBuilder {
    let most = MAX_REQUEST_BYTES;
    let mut routes = RoutesBuilder::default();
    let agent = agent::AgentService::new(Arc::clone(&server));
    routes.add_service(AgentServer::new(agent).max_decoding_message_size(most));
    let entry = entry::EntryService::new(Arc::clone(&server));
    routes.add_service(EntryServer::new(entry).max_decoding_message_size(most));
    let entries = entries::EntriesService::new(Arc::clone(&server));
    routes.add_service(EntriesServer::new(entries).max_decoding_message_size(most));
    let bundle = bundle::BundleService::new(Arc::clone(&server));
    routes.add_service(BundleServer::new(bundle).max_decoding_message_size(most));
    let svid = svid::SvidService::new(Arc::clone(&server));
    routes.add_service(SvidServer::new(svid).max_decoding_message_size(most));
    let sync = sync::SyncService::new(Arc::clone(&server));
    routes.add_service(SyncServer::new(sync).max_decoding_message_size(most));
    let issuance = issuance::IssuanceService::new(Arc::clone(&server));
    routes.add_service(IssuanceServer::new(issuance).max_decoding_message_size(most));
    let audit = audit::AuditService::new(Arc::clone(&server));
    routes.add_service(AuditServer::new(audit).max_decoding_message_size(most));
    let authority = authority::AuthorityService::new(Arc::clone(&server));
    routes.add_service(LocalAuthorityServer::new(authority).max_decoding_message_size(most));
    let keys = keys::KeysService::new(Arc::clone(&server));
    routes.add_service(KeysServer::new(keys).max_decoding_message_size(most));
    let revocations = revocation::RevocationService::new(Arc::clone(&server));
    routes.add_service(RevocationsServer::new(revocations).max_decoding_message_size(most));
    let fleet = fleet::FleetService::new(Arc::clone(&server));
    routes.add_service(FleetServer::new(fleet).max_decoding_message_size(most));
    let trust_domain = trustdomain::TrustDomainService;
    routes.add_service(TrustDomainServer::new(trust_domain).max_decoding_message_size(most));
    let tokens = tokens::TokensService::new(Arc::clone(&server));
    routes.add_service(TokensServer::new(tokens).max_decoding_message_size(most));
    let explain = tokens::ExplainService::new(Arc::clone(&server));
    routes.add_service(ExplainServer::new(explain).max_decoding_message_size(most));
    let policy = policy::PolicyService::new(Arc::clone(&server));
    routes.add_service(PolicyServer::new(policy).max_decoding_message_size(most));
    let limits = token_limits::LimitsService::new(Arc::clone(&server));
    routes.add_service(LimitsServer::new(limits).max_decoding_message_size(most));
    let budgets = limits::LimitsService::new(Arc::clone(&server));
    routes.add_service(BudgetsServer::new(budgets).max_decoding_message_size(most));
    let info = info::InfoService::new(server);
    routes.add_service(InfoServer::new(info.clone()).max_decoding_message_size(most));
    routes.add_service(DebugServer::new(info).max_decoding_message_size(most));
    add_library_services(&mut routes);
    routes
}

/// Health and reflection, for stock tools on the admin socket.
fn add_library_services(routes: &mut RoutesBuilder) {
    // A new reporter says that the server as a whole is serving.
    let (_reporter, health) = tonic_health::server::health_reporter();
    routes.add_service(health);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => {
            routes.add_service(reflection);
        }
        Err(error) => tracing::error!(%error, "reflection is not offered"),
    }
}

#[cfg(test)]
mod tests;
