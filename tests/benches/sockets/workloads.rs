//! What workloads ask of the agent: first answers, tokens, open streams.

use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use api::workload::{JwtsvidRequest, X509svidRequest, X509svidResponse};
use bulla_tests::{Domain, with_header};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::figures::Figure;
use crate::load::Load;
use crate::observed::Observed;
use bulla_tests::unix;

/// Connections that the calls are spread over.
const CONNECTIONS: usize = 4;
const STREAMS: u32 = 1000;

/// Opens a FetchX509SVID stream.
pub(crate) async fn stream(channel: &Channel) -> Result<Streaming<X509svidResponse>, Status> {
    let mut client = SpiffeWorkloadApiClient::new(channel.clone());
    let stream = client.fetch_x509svid(with_header(X509svidRequest {})).await;
    Ok(stream?.into_inner())
}

/// Opens a stream for its first answer alone; says whether there was one.
pub(crate) async fn first_answer(channel: &Channel) -> bool {
    match stream(channel).await {
        Ok(mut stream) => matches!(stream.message().await, Ok(Some(_))),
        Err(_) => false,
    }
}

pub(crate) async fn measure(domain: &Domain) {
    let agent = Observed::agent(domain);
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(unix(&domain.workload_socket()).await);
    }
    for at_once in [1, 16] {
        first_answers("FetchX509SVID first answer", agent, at_once, &channels).await;
    }
    for at_once in [1, 16] {
        let load = Load {
            what: "FetchJWTSVID cached",
            process: agent,
            at_once,
            items: 1,
        };
        let channels = channels.clone();
        load.run(move |task, _| {
            let mut client = SpiffeWorkloadApiClient::new(channels[task % CONNECTIONS].clone());
            async move {
                let wanted = JwtsvidRequest {
                    audience: vec!["bench".into()],
                    ..JwtsvidRequest::default()
                };
                client.fetch_jwtsvid(with_header(wanted)).await.unwrap();
            }
        })
        .await;
    }
    // One connection each, as workloads have.
    let (before, _) = agent.memory_kib();
    let mut held = Vec::new();
    for _ in 0..STREAMS {
        let channel = unix(&domain.workload_socket()).await;
        let mut stream = stream(&channel).await.unwrap();
        stream.message().await.unwrap();
        held.push((channel, stream));
    }
    let (after, _) = agent.memory_kib();
    Figure::of("memory of an open stream with its connection")
        .with("streams", STREAMS.into())
        .with_text("process", agent.name)
        .with("kib", (after - before) / f64::from(STREAMS))
        .print();
    let what = "FetchX509SVID first answer beside 1000 open streams";
    for at_once in [1, 16] {
        first_answers(what, agent, at_once, &channels).await;
    }
}

async fn first_answers(what: &str, agent: Observed, at_once: u32, channels: &[Channel]) {
    let load = Load {
        what,
        process: agent,
        at_once,
        items: 1,
    };
    let channels = channels.to_vec();
    load.run(move |task, _| {
        let channel = channels[task % CONNECTIONS].clone();
        async move { assert!(first_answer(&channel).await, "no first answer") }
    })
    .await;
}
