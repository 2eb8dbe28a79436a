//! `bulla.workload.v1.Tokens`: scoped tokens over gRPC, each with its certificate.

use std::time::Duration;

use api::workload_tokens::{TokenPair, TokenRequest};
use bytes::Bytes;
use channel::Draining;
use http::{Request, Response};
use hyper::body::Incoming;
use identity::Timestamp;
use tonic::Status;

use super::admission::Admitted;
use super::connection::{Connection, process_changed};
use super::streams::drained;
use super::wire::{self, Answer, Push};
use crate::hub::Subscription;
use crate::limits;
use crate::process::{Attested, Liveness};
use crate::scoped::{Pair, Wanted};

/// Where the service's methods are.
pub(super) const PREFIX: &str = "/bulla.workload.v1.Tokens/";

/// How soon a pair is looked at again that should have been renewed by now.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Answers one call.
pub(super) async fn answer(
    connection: &Connection,
    method: &str,
    mut request: Request<Incoming>,
    admitted: Admitted,
) -> Result<Response<Answer>, Status> {
    let once = match method {
        "Mint" => true,
        "Follow" => false,
        _ => return Err(Status::unimplemented("Tokens has no such method")),
    };
    let draining = request.extensions_mut().remove::<Draining>();
    let wanted = parse(connection.message(request).await?)?;
    let attested = connection.attest().await?;
    let mut stream = Stream {
        view: connection.subscribe(&attested.caller())?,
        liveness: connection
            .caller
            .watch()
            .map_err(|error| process_changed(&error))?,
        connection: connection.clone(),
        attested,
        wanted,
        draining,
        sent: None,
        _admitted: admitted,
    };
    let first = tokio::time::timeout(limits::FIRST_ANSWER, stream.next()).await;
    let first = first.unwrap_or_else(|_| Err(stream.view.late()))?;
    Ok(wire::respond(if once {
        Answer::One(Some(first))
    } else {
        Answer::Begun(Some(first), wire::messages(stream))
    }))
}

fn parse(wire: TokenRequest) -> Result<Wanted, Status> {
    let bad = |why: String| Status::invalid_argument(why);
    let details = match wire.authorization_details.as_str() {
        "" => Vec::new(),
        text => serde_json::from_str(text)
            .map_err(|_unread| bad("authorization_details is no JSON array".to_owned()))?,
    };
    let key = match &wire.key_thumbprint[..] {
        [] => None,
        bytes => Some(
            bytes
                .try_into()
                .or(Err(bad("key_thumbprint has not 32 bytes".to_owned())))?,
        ),
    };
    let request = policy::TokenRequest {
        audience: wire.audience,
        permissions: wire.permissions,
        authorization_details: details,
        ttl: (wire.ttl_seconds > 0).then_some(wire.ttl_seconds),
        profile: (!wire.profile.is_empty()).then_some(wire.profile),
        all_or_nothing: wire.all_or_nothing,
    };
    Wanted::new(request, &wire.spiffe_id, key).map_err(bad)
}

/// One caller's wish, looked after for as long as it asks.
struct Stream {
    view: Subscription,
    connection: Connection,
    attested: Attested,
    wanted: Wanted,
    liveness: Liveness,
    draining: Option<Draining>,
    /// Token and certificate sent last.
    sent: Option<(String, Timestamp)>,
    /// Counts as open until the stream ends.
    _admitted: Admitted,
}

impl Push for Stream {
    /// Waits until there is a pair other than the one sent last.
    async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            self.view.mark_seen();
            let scoped = &self.connection.api.scoped;
            let caller = &self.connection.caller;
            let who = self.attested.caller();
            let pair = scoped.pair(caller, &who, &self.wanted);
            let pair = pair.await.map_err(|refused| refused.status())?;
            let now = self.connection.api.core.now();
            let mut again = LOOK_AGAIN;
            if let Some(pair) = pair {
                let this = (pair.minted.token.clone(), pair.issued.svid.not_after);
                if self.sent.as_ref() != Some(&this) {
                    let recheck = self.liveness.recheck();
                    recheck.map_err(|error| process_changed(&error))?;
                    self.sent = Some(this);
                    return Ok(wire::frame(&encode(&pair)));
                }
                let due = Timestamp(pair.minted.renew_at).since(now).0;
                again = again.max(Duration::from_secs(due.into()));
            }
            tokio::select! {
                () = self.view.changed() => {}
                () = tokio::time::sleep(again) => {}
                () = self.liveness.ended() => {
                    return Err(Status::unavailable("the process that was attested has ended"));
                }
                () = drained(&mut self.draining) => {
                    return Err(Status::unavailable("the agent is stopping; connect again"));
                }
            }
        }
    }
}

fn encode(pair: &Pair) -> TokenPair {
    let svid = &pair.issued.svid;
    TokenPair {
        minted: Some((*pair.minted).clone()),
        spiffe_id: svid.spiffe_id.to_string(),
        x509_svid: svid.chain.iter().map(|der| der.to_vec().into()).collect(),
        x509_svid_key: pair.issued.key.secret_pkcs8().to_vec().into(),
        x509_svid_expires_at: svid.not_after.0,
    }
}
