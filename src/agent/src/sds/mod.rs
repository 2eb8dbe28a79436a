//! Envoy's secret discovery service (SDS), version 3, on the workload socket:
//! the caller's X.509-SVIDs and the bundles it may verify with, under the names
//! Envoy configurations ask for.
//!
//! Envoy is attested as any workload is, on each stream, and looked at again
//! before each push. What differs from the Workload API is the form: secrets by
//! name ([`names`]), PEM ([`secrets`]), and a stream on which the caller goes on
//! talking ([`stream`]).
//!
//! An Envoy does not send the security header of the Workload Endpoint unless
//! its configuration makes it (`initial_metadata`), so this service is served
//! without, unless the admin demands it ([`Config::without_header`]).

mod config;
mod held;
mod names;
mod node;
mod requests;
mod secrets;
mod source;
mod state_of_the_world;
mod stream;
mod xds_delta;

use channel::Draining;
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;

pub use config::SdsConfig as Config;
pub(crate) use held::Shelf;

use crate::workload_api::{Admitted, Answer, Connection, respond};
use requests::Requests;
use source::Source;
use state_of_the_world::StateOfTheWorld;
use xds_delta::Delta;

/// The path of every method of the service.
pub(crate) const PREFIX: &str = "/envoy.service.secret.v3.SecretDiscoveryService/";

/// What secrets are packed as.
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Answers one call of the service.
pub(crate) async fn answer(
    connection: &Connection,
    method: &str,
    mut request: Request<Incoming>,
    admitted: Admitted,
) -> Result<Response<Answer>, Status> {
    let draining = request.extensions_mut().remove::<Draining>();
    let requests = Requests::new(request.into_body());
    match method {
        "StreamSecrets" => {
            let source = Source::open(connection, admitted, draining).await?;
            let messages = stream::messages(source, requests, StateOfTheWorld::default());
            Ok(respond(Answer::Many(messages)))
        }
        "DeltaSecrets" => {
            let source = Source::open(connection, admitted, draining).await?;
            let messages = stream::messages(source, requests, Delta::default());
            Ok(respond(Answer::Many(messages)))
        }
        "FetchSecrets" => {
            let first = requests.only().await?;
            let source = Source::open(connection, admitted, draining).await?;
            let message = state_of_the_world::fetch(source, &first).await?;
            Ok(respond(Answer::One(Some(message))))
        }
        _ => Err(Status::unimplemented("secret discovery has no such method")),
    }
}
