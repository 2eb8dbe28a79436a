//! Health and reflection on the workload socket, as `spire-agent healthcheck`,
//! grpc-health-probe and grpcurl ask for them: without the security header.

use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::node::{Node, within};
use super::workload_api::ready;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct ReflectionRequest {
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct ReflectionResponse {
    #[prost(bytes = "vec", tag = "6")]
    list_services: Vec<u8>,
}

async fn call<Q, A>(node: &Node, path: &'static str, message: Q) -> Result<A, Status>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let mut client = Grpc::new(node.channel().await);
    within(client.ready()).await.unwrap();
    let path = PathAndQuery::from_static(path);
    let request = Request::new(tokio_stream::iter([message]));
    let codec = ProstCodec::<Q, A>::default();
    let answers = within(client.streaming(request, path, codec)).await?;
    let answer = within(answers.into_inner().message()).await?;
    Ok(answer.unwrap())
}

#[tokio::test]
async fn e2_health_and_reflection_need_no_header_and_identities_do() {
    let (_server, node, _dir) = ready().await;
    let asked = HealthCheckRequest::default();
    let health: HealthCheckResponse = call(&node, "/grpc.health.v1.Health/Check", asked)
        .await
        .unwrap();
    assert_eq!(health.status, 1, "serving");
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let list_services = Some(String::new());
        let asked = ReflectionRequest { list_services };
        let services: ReflectionResponse = call(&node, path, asked).await.unwrap();
        let services = String::from_utf8_lossy(&services.list_services).into_owned();
        assert!(services.contains("SpiffeWorkloadAPI"), "{services}");
    }
    for path in [
        "/SpiffeWorkloadAPI/FetchX509SVID",
        "/SpiffeWorkloadAPI/FetchX509Bundles",
        "/bulla.workload.v1.Tokens/Mint",
    ] {
        let asked = HealthCheckRequest::default();
        let refused: Result<HealthCheckResponse, _> = call(&node, path, asked).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}");
        assert!(refused.message().contains("security header"), "{refused}");
    }
    node.stop().await.unwrap();
}
