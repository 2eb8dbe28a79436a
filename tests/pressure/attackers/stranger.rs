//! Nobody with a connection to the server's port: silent handshakes, bodies that
//! never end, evidence that proves nothing, calls that are not allowed.

use std::sync::Arc;
use std::time::Duration;

use api::agent::agent_client::AgentClient;
use api::agent::{AgentX509svidParams, AttestAgentRequest, attest_agent_request};
use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::types::AttestationData;
use bulla_tests::certification_request;
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{Target, forever};

/// A TLS record header and the beginning of a ClientHello whose end never comes.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

pub(crate) async fn attack(target: &Target, tasks: &mut JoinSet<()>) {
    let server = target.server().await;
    let address = target.address.clone();
    forever(tasks, 256, move |_, _| silent(address.clone()));
    let calls = server.clone();
    forever(tasks, 4, move |_, _| {
        let server = calls.clone();
        async move {
            if let Ok(channel) = server.try_connect(None).await {
                let mut half = JoinSet::new();
                for _ in 0..96 {
                    half.spawn(half_a_body(channel.clone()));
                }
                half.join_all().await;
            }
        }
    });
    let csr = Arc::new(certification_request().0);
    forever(tasks, 8, move |_, nth| {
        let (server, csr) = (server.clone(), Arc::clone(&csr));
        async move {
            let Ok(channel) = server.try_connect(None).await else {
                return;
            };
            for turn in 0..200 {
                refused_evidence(&channel, &csr, nth * 200 + turn).await;
                let mut bundle = BundleClient::new(channel.clone());
                let _answer = bundle.get_bundle(GetBundleRequest::default()).await;
            }
        }
    });
}

/// Says half a hello and falls silent, until it is cut.
async fn silent(address: String) {
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let _cut = stream.write_all(HALF_A_HELLO).await;
        let mut byte = [0];
        let _cut = tokio::io::AsyncReadExt::read(&mut stream, &mut byte).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Announces four mebibytes to a method that anybody may call, and sends most of them.
async fn half_a_body(channel: Channel) {
    let (mut sender, receiver) = futures_channel::mpsc::channel::<Result<_, std::io::Error>>(1);
    let body = http_body_util::StreamBody::new(receiver);
    let request = http::Request::post("/spire.api.server.bundle.v1.Bundle/GetBundle")
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let mut channel = channel;
    let ready = std::future::poll_fn(|cx| tower::Service::poll_ready(&mut channel, cx)).await;
    if ready.is_err() {
        return;
    }
    let answer = tokio::spawn(tower::Service::call(&mut channel, request));
    let length = u32::try_from(4_000_000).unwrap().to_be_bytes();
    let first = Bytes::from([&[0], length.as_slice()].concat());
    let mut next = first;
    for _ in 0..60 {
        let frame = http_body::Frame::data(next);
        if futures_util::SinkExt::send(&mut sender, Ok(frame))
            .await
            .is_err()
        {
            break;
        }
        next = Bytes::from(vec![7; 64 << 10]);
    }
    let _answer = tokio::time::timeout(Duration::from_secs(30), answer).await;
}

async fn refused_evidence(channel: &Channel, csr: &[u8], nth: u64) {
    let kinds = ["join_token", "x509pop", "nobody_knows_it"];
    let params = attest_agent_request::Params {
        data: Some(AttestationData {
            r#type: kinds[usize::try_from(nth % 3).unwrap()].into(),
            payload: format!("guess-{nth}").into_bytes().into(),
        }),
        params: Some(AgentX509svidParams {
            csr: csr.to_vec().into(),
        }),
    };
    let request = AttestAgentRequest {
        step: Some(attest_agent_request::Step::Params(params)),
    };
    let mut client = AgentClient::new(channel.clone());
    if let Ok(answer) = client.attest_agent(tokio_stream::once(request)).await {
        let _refused = answer.into_inner().message().await;
    }
}
