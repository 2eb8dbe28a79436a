//! The attestation stream: evidence and key first, then as many challenges as the
//! attestor wants, then the agent's first SVID. The whole has one deadline.

use std::pin::Pin;

use api::agent::attest_agent_request::{Params, Step as Ask};
use api::agent::attest_agent_response::{Result as Attested, Step as Answer};
use api::agent::{AttestAgentRequest, AttestAgentResponse};
use api::convert::x509_svid_to_wire;
use futures_util::{Stream, stream};
use tokio::time::Sleep;
use tonic::{Status, Streaming};

use super::super::caller_mistake;
use crate::attest::{Attestation, Session, Step};
use crate::caller::Caller;
use crate::failure::Kind;
use crate::limits;

struct Exchange {
    attestation: Attestation,
    caller: Caller,
    requests: Streaming<AttestAgentRequest>,
    /// Set once the first message was taken.
    session: Option<Session>,
    deadline: Pin<Box<Sleep>>,
}

/// The server's answers, one for each message of the agent's.
pub(super) fn steps(
    attestation: Attestation,
    caller: Caller,
    requests: Streaming<AttestAgentRequest>,
) -> impl Stream<Item = Result<AttestAgentResponse, Status>> + Send + 'static {
    let exchange = Exchange {
        attestation,
        caller,
        requests,
        session: None,
        deadline: Box::pin(tokio::time::sleep(limits::ATTEST_TIMEOUT)),
    };
    stream::unfold(Some(exchange), |exchange| async {
        let mut exchange = exchange?;
        match exchange.next().await {
            Ok(Some(Step::Challenge(bytes))) => {
                let step = Answer::Challenge(bytes.into());
                Some((Ok(AttestAgentResponse { step: Some(step) }), Some(exchange)))
            }
            Ok(Some(Step::Done(done))) => {
                let step = Answer::Result(Attested {
                    svid: Some(x509_svid_to_wire(&done.svid, "")),
                    reattestable: done.can_reattest,
                });
                Some((Ok(AttestAgentResponse { step: Some(step) }), None))
            }
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
}

impl Exchange {
    async fn next(&mut self) -> Result<Option<Step>, Status> {
        let session = self.session.as_mut();
        let gave_way = async move {
            match session {
                Some(session) => session.gave_way().await,
                None => std::future::pending().await,
            }
        };
        let message = tokio::select! {
            message = self.requests.message() => message.map_err(caller_mistake)?,
            failure = gave_way => return Err(failure.into()),
            () = &mut self.deadline => {
                return Err(Status::deadline_exceeded("the attestation took too long"));
            }
        };
        let Some(message) = message else {
            return Ok(None);
        };
        match (message.step, self.session.as_mut()) {
            (Some(Ask::Params(params)), None) => self.begin(params).await.map(Some),
            (Some(Ask::ChallengeResponse(response)), Some(session)) => {
                Ok(Some(session.advance(&response).await?))
            }
            (Some(Ask::Params(_)), Some(_)) => {
                Err(Kind::Invalid.status("params: they are expected in the first message alone"))
            }
            (_, None) => {
                Err(Kind::Invalid.status("params: they are expected in the first message"))
            }
            (None, Some(_)) => Err(Kind::Invalid.status("challenge_response: it is expected")),
        }
    }

    async fn begin(&mut self, params: Params) -> Result<Step, Status> {
        let Some(data) = params.data else {
            return Err(Kind::Invalid.status("params.data: the node's evidence is required"));
        };
        if data.r#type.is_empty() {
            let why = "params.data.type: the kind of the node's evidence is required";
            return Err(Kind::Invalid.status(why));
        }
        let csr = params.params.unwrap_or_default().csr;
        let begun = self
            .attestation
            .begin(&self.caller, &data.r#type, &csr)
            .await?;
        let session = self.session.insert(begun);
        Ok(session.advance(&data.payload).await?)
    }
}
