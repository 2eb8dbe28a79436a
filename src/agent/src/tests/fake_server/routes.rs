//! Which of the server's answers a call gets, and who may make it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use api::convert::bundle_to_wire;
use api::types;
use channel::Peer;
use futures_util::StreamExt;
use http::{Request, Response};
use hyper::body::Incoming;
use identity::SpiffeId;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::{AGENT, State};

#[derive(Clone)]
pub(super) struct Routes(pub(super) Arc<State>);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Answering {
        let state = Arc::clone(&self.0);
        Box::pin(async move { Ok(route(state, request).await) })
    }
}

macro_rules! unary {
    ($state:ident, $request:ident, $method:ident) => {{
        let service = service_fn(move |request: tonic::Request<_>| {
            std::future::ready(
                $state
                    .$method(request.into_inner())
                    .map(tonic::Response::new),
            )
        });
        Grpc::new(ProstCodec::default())
            .unary(service, $request)
            .await
    }};
}

async fn route(state: Arc<State>, request: Request<Incoming>) -> Response<Body> {
    let peer = request
        .extensions()
        .get::<Arc<Peer>>()
        .map(|p| p.spiffe_id().clone());
    let path = request.uri().path().to_owned();
    let is_agent = peer.is_some_and(|id| id == SpiffeId::parse(AGENT).unwrap());
    if state.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    match path.rsplit('/').next().unwrap() {
        "GetBundle" => {
            let service = service_fn(move |_: tonic::Request<api::bundle::GetBundleRequest>| {
                let bundle = bundle_to_wire(&state.authority.bundle(1), None);
                std::future::ready(Ok(tonic::Response::new(bundle)))
            });
            Grpc::new(ProstCodec::default())
                .unary(service, request)
                .await
        }
        "AttestAgent" => {
            let service = service_fn(move |request: tonic::Request<Streaming<_>>| {
                let state = Arc::clone(&state);
                async move {
                    let answers = request.into_inner().take(1).map(move |r| state.attest(r?));
                    Ok(tonic::Response::new(answers))
                }
            });
            Grpc::new(ProstCodec::default())
                .streaming(service, request)
                .await
        }
        _ if !is_agent => {
            let status = api::status::denied(
                types::permission_denied_details::Reason::AgentNotAttested,
                "only agents",
            );
            status.into_http()
        }
        "RenewAgent" => unary!(state, request, renew),
        "IssueX509" => unary!(state, request, issue_x509),
        "NewJWTSVID" => unary!(state, request, issue_jwt),
        "Mint" => unary!(state, request, mint),
        "Follow" => {
            let service = service_fn(move |request: tonic::Request<Streaming<_>>| {
                let state = Arc::clone(&state);
                async move {
                    Ok(tonic::Response::new(
                        state.follow(request.into_inner()).await?,
                    ))
                }
            });
            Grpc::new(ProstCodec::default())
                .streaming(service, request)
                .await
        }
        _ => Status::unimplemented(path).into_http(),
    }
}
