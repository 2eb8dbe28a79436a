//! Identities of a node's workloads for a proxy that acts in their name (Cilium,
//! a mesh's node proxy): SPIRE's delegated identity API, on the admin socket.
//!
//! A delegate is a workload too. It is attested by the code that attests every
//! caller, and it may do this only while one of its own SPIFFE IDs is in the
//! agent's configuration ([`delegate`]). Whom it asks for it names by process,
//! which the agent then attests and watches, or by selectors, where the agent
//! takes its word ([`target`]). Identities of admins and of downstream servers
//! are given to no delegate.
//!
//! The socket demands no security header: it is of mode 0600, and what SPIRE's
//! clients send is all they can send.

mod bundles;
mod delegate;
mod messages;
mod svids;
mod target;

use api::delegated_identity as wire;
use channel::Draining;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;

use crate::workload_api::{Admitted, Answer, Connection, refuse, respond};
use bundles::Form;
use delegate::Delegate;
use target::Target;

/// The path of every method of the service.
pub(crate) const PREFIX: &str = "/spire.api.agent.delegatedidentity.v1.DelegatedIdentity/";

/// Answers a call of the service.
pub(crate) async fn answer(
    connection: &Connection,
    request: Request<Incoming>,
) -> Response<Answer> {
    let path = request.uri().path();
    let method = path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
    match respond_to(connection, &method, request).await {
        Ok(response) => response,
        Err(status) => {
            let peer = connection.caller.peer();
            let (uid, pid) = (peer.uid(), peer.pid());
            let (code, reason) = (status.code(), status.message());
            let label = code.description();
            metrics::counter!("bulla_agent_delegate_refusals_total", "code" => label).increment(1);
            let now = connection.api.core.clock.boottime();
            if connection.api.refusals.may_tell(now) {
                tracing::warn!(uid, pid, method, ?code, reason, "refused a delegate");
            }
            refuse(&status)
        }
    }
}

async fn respond_to(
    connection: &Connection,
    method: &str,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Status> {
    let admitted = connection.admit()?;
    let draining = request.extensions_mut().remove::<Draining>();
    let open = Open {
        _admitted: admitted,
        draining,
        delegate: Delegate::of(connection, method).await?,
    };
    match method {
        "SubscribeToX509SVIDs" => {
            let wanted: wire::SubscribeToX509sviDsRequest = connection.message(request).await?;
            let target = Target::find(connection, &wanted.selectors, wanted.pid).await?;
            Ok(respond(Answer::Many(svids::stream(open, &target)?)))
        }
        "SubscribeToX509Bundles" => {
            let _: wire::SubscribeToX509BundlesRequest = connection.message(request).await?;
            Ok(respond(Answer::Many(bundles::stream(open, Form::X509)?)))
        }
        "SubscribeToJWTBundles" => {
            let _: wire::SubscribeToJwtBundlesRequest = connection.message(request).await?;
            Ok(respond(Answer::Many(bundles::stream(open, Form::Jwt)?)))
        }
        "FetchJWTSVIDs" => {
            let wanted: wire::FetchJwtsviDsRequest = connection.message(request).await?;
            let message = svids::tokens(&open.delegate, wanted).await?;
            Ok(respond(Answer::One(Some(message))))
        }
        _ => Err(Status::unimplemented(
            "delegated identity has no such method",
        )),
    }
}

/// A call that was let in.
struct Open {
    delegate: Delegate,
    draining: Option<Draining>,
    /// Counts as open until the call ends.
    _admitted: Admitted,
}
