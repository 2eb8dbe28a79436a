//! The exchange in which a node proves itself and receives the agent's SVID:
//! SPIRE's `AttestAgent`, with one prover of crate `contract`.

use api::agent::agent_client::AgentClient;
use api::agent::{
    AgentX509svidParams, AttestAgentRequest, AttestAgentResponse, attest_agent_request,
    attest_agent_response,
};
use api::types::{AttestationData, X509svid as WireSvid};
use bytes::Bytes;
use contract::{Prove, ProveStep};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::EnrolError;
use crate::limits;

/// Messages the exchange may take: no attestor needs more.
const ROUNDS: usize = 8;

/// What a server answers to an agent that proved itself.
pub(crate) struct Attested {
    pub(crate) svid: WireSvid,
    pub(crate) reattestable: bool,
}

/// Proves this node and asks for a certificate for the key in `csr`.
pub(crate) async fn attest(
    channel: Channel,
    prover: &mut dyn Prove,
    csr: Vec<u8>,
) -> Result<Attested, EnrolError> {
    tokio::time::timeout(limits::SERVER_CALL, exchange(channel, prover, csr))
        .await
        .unwrap_or_else(|_| Err(EnrolError::Refused(Status::deadline_exceeded("no answer"))))
}

async fn exchange(
    channel: Channel,
    prover: &mut dyn Prove,
    csr: Vec<u8>,
) -> Result<Attested, EnrolError> {
    let (send, receive) = mpsc::channel(1);
    let kind = prover.kind();
    let evidence = prover.prove(ProveStep::Start)?;
    let first = attest_agent_request::Params {
        data: Some(AttestationData {
            r#type: prover.kind().to_owned(),
            payload: Bytes::copy_from_slice(evidence.as_bytes()),
        }),
        params: Some(AgentX509svidParams { csr: csr.into() }),
    };
    let first = attest_agent_request::Step::Params(first);
    // The receiver is alive: the call below holds it.
    let _sent = send.try_send(AttestAgentRequest { step: Some(first) });
    let mut answers = AgentClient::new(channel)
        .max_decoding_message_size(limits::SERVER_MESSAGE)
        .attest_agent(ReceiverStream::new(receive))
        .await
        .map_err(|status| refused(kind, status))?
        .into_inner();
    for _ in 0..ROUNDS {
        match next(kind, &mut answers).await? {
            attest_agent_response::Step::Result(result) => {
                return Ok(Attested {
                    svid: result.svid.ok_or(EnrolError::Answer("it has no SVID"))?,
                    reattestable: result.reattestable,
                });
            }
            attest_agent_response::Step::Challenge(challenge) => {
                let answer = prover.prove(ProveStep::Challenge(&challenge))?;
                let answer = Bytes::copy_from_slice(answer.as_bytes());
                let step = attest_agent_request::Step::ChallengeResponse(answer);
                let _sent = send.send(AttestAgentRequest { step: Some(step) }).await;
            }
        }
    }
    Err(EnrolError::Answer("it asked for too many answers"))
}

async fn next(
    kind: &str,
    answers: &mut Streaming<AttestAgentResponse>,
) -> Result<attest_agent_response::Step, EnrolError> {
    answers
        .message()
        .await
        .map_err(|status| refused(kind, status))?
        .and_then(|answer| answer.step)
        .ok_or(EnrolError::Answer("it ended without a result"))
}

/// Tells a refusal that stays from a server that is away for now.
fn refused(kind: &str, status: Status) -> EnrolError {
    match status.code() {
        Code::InvalidArgument if kind == x509_pop::KIND => {
            EnrolError::CertificateRefused(status.message().to_owned())
        }
        Code::InvalidArgument => EnrolError::Evidence(status.message().to_owned()),
        Code::PermissionDenied => EnrolError::Banned(status.message().to_owned()),
        _ => EnrolError::Refused(status),
    }
}
