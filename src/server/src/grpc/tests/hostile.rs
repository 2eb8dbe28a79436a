//! Bytes that are no message, messages of nothing, messages too large: to every
//! method that a caller may call, each answered with a code of the caller's own
//! mistake, and the server lives on.

use api::bundle::GetBundleRequest;
use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use super::*;

/// Sends bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Calls a method as a stream of one message, which every kind of method accepts.
async fn call(channel: &Channel, method: &str, body: Bytes) -> Code {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = method.parse().unwrap();
    let request = tonic::Request::new(tokio_stream::iter([body]));
    let answered = match client.streaming(request, path, Raw).await {
        Ok(response) => response.into_inner().message().await.map(|_| ()),
        Err(status) => Err(status),
    };
    answered.err().map_or(Code::Ok, |status| status.code())
}

const METHODS: [&str; 24] = [
    "agent.v1.Agent/AttestAgent",
    "agent.v1.Agent/BanAgent",
    "agent.v1.Agent/CountAgents",
    "agent.v1.Agent/CreateJoinToken",
    "agent.v1.Agent/DeleteAgent",
    "agent.v1.Agent/GetAgent",
    "agent.v1.Agent/ListAgents",
    "bundle.v1.Bundle/AppendBundle",
    "bundle.v1.Bundle/BatchCreateFederatedBundle",
    "bundle.v1.Bundle/BatchDeleteFederatedBundle",
    "bundle.v1.Bundle/BatchSetFederatedBundle",
    "bundle.v1.Bundle/BatchUpdateFederatedBundle",
    "bundle.v1.Bundle/GetBundle",
    "bundle.v1.Bundle/GetFederatedBundle",
    "bundle.v1.Bundle/ListFederatedBundles",
    "entry.v1.Entry/BatchCreateEntry",
    "entry.v1.Entry/BatchDeleteEntry",
    "entry.v1.Entry/BatchUpdateEntry",
    "entry.v1.Entry/CountEntries",
    "entry.v1.Entry/GetEntry",
    "entry.v1.Entry/ListEntries",
    "svid.v1.SVID/MintJWTSVID",
    "svid.v1.SVID/MintX509SVID",
    "localauthority.v1.LocalAuthority/TaintX509Authority",
];

const OURS: [&str; 5] = [
    "/bulla.audit.v1.Audit/Head",
    "/bulla.audit.v1.Audit/Verify",
    "/bulla.server.v1.Info/Get",
    "/bulla.sync.v1.Sync/Follow",
    "/bulla.issuance.v1.Issuance/IssueX509",
];

fn methods() -> impl Iterator<Item = String> {
    let spire = METHODS
        .iter()
        .map(|method| format!("/spire.api.server.{method}"));
    spire.chain(OURS.iter().map(|method| (*method).to_owned()))
}

#[tokio::test]
async fn no_bytes_make_a_server_blame_itself() {
    let rig = Rig::memory().await;
    let admin = channel(&rig, Who::Local).await;
    let agent = channel(&rig, Who::agent(&rig.agent().await)).await;
    // Nothing, a cut varint, a field of every wire type, deep nesting, and what a
    // fixed generator makes up.
    let mut bodies = vec![
        Bytes::new(),
        Bytes::from_static(&[0xff]),
        Bytes::from_static(&[
            0x08, 0x01, 0x12, 0x00, 0x1d, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0,
        ]),
        Bytes::from([0x0a, 0x7f].repeat(500)),
    ];
    let mut random: u64 = 7;
    for length in [3_usize, 17, 64, 300, 2000] {
        let mut body = Vec::with_capacity(length);
        while body.len() < length {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            body.push((random >> 56).to_le_bytes()[0]);
        }
        bodies.push(body.into());
    }
    for method in methods() {
        for body in &bodies {
            for caller in [&admin, &agent] {
                let code = call(caller, &method, body.clone()).await;
                let ours = matches!(
                    code,
                    Code::Internal | Code::Unknown | Code::Unavailable | Code::DataLoss
                );
                assert!(!ours, "{method} {body:?}: {code:?}");
            }
        }
    }
    let mut bundles = BundleClient::new(admin);
    bundles
        .get_bundle(GetBundleRequest::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_before_it_is_taken() {
    let rig = Rig::memory().await;
    let admin = channel(&rig, Who::Local).await;
    let large = Bytes::from(vec![0; crate::limits::MAX_REQUEST_BYTES + 1]);
    for method in [
        "/spire.api.server.entry.v1.Entry/BatchCreateEntry",
        "/spire.api.server.agent.v1.Agent/AttestAgent",
    ] {
        assert_eq!(
            call(&admin, method, large.clone()).await,
            Code::ResourceExhausted,
            "{method}"
        );
    }
}
