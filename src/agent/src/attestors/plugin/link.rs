//! Calls to a running plug-in, over the socket that it opened for us.

use std::path::{Path, PathBuf};
use std::time::Duration;

use external::wire::{self, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// The largest answer, in bytes.
const ANSWER_BYTES: usize = 256 * 1024;
/// How long getting ready may take, step by step.
const STEP: Duration = Duration::from_secs(10);
/// How long each of the two farewells may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection to a plug-in that is initialised and configured.
#[derive(Clone)]
pub(super) struct Link {
    channel: Channel,
}

impl Link {
    /// Connects to the plug-in, initialises and configures it.
    pub(super) async fn open(
        name: &'static str,
        socket: &Path,
        pid: u32,
        (trust_domain, config): (&str, &str),
    ) -> Result<Self, String> {
        let socket = socket.to_owned();
        let connect = service_fn(move |_: Uri| connect(socket.clone(), pid));
        let channel = Endpoint::from_static("http://localhost")
            .connect_timeout(STEP)
            .connect_with_connector(connect)
            .await
            .map_err(|error| format!("it cannot be reached: {error}"))?;
        let link = Self { channel };
        let init = wire::InitRequest::default();
        let services: wire::InitResponse = link.step("initialised", wire::INIT, init).await?;
        let has = |service| services.plugin_service_names.iter().any(|s| s == service);
        if !has(wire::ATTESTOR_SERVICE) {
            return Err("it is no workload attestor".to_owned());
        }
        tokio::spawn(link.clone().drain(name));
        if has(wire::CONFIG_SERVICE) {
            let configure = wire::ConfigureRequest {
                core_configuration: Some(wire::CoreConfiguration {
                    trust_domain: trust_domain.to_owned(),
                }),
                hcl_configuration: config.to_owned(),
            };
            let _: Empty = link.step("configured", wire::CONFIGURE, configure).await?;
        } else if !config.is_empty() {
            return Err("it takes no configuration, and one is given".to_owned());
        }
        Ok(link)
    }

    /// Asks about the process numbered `pid`.
    pub(super) async fn attest(&self, pid: i32) -> Result<Vec<String>, Status> {
        let request = wire::AttestRequest { pid };
        let answer: wire::AttestResponse = self.call(wire::ATTEST, request).await?;
        Ok(answer.selector_values)
    }

    /// Tells the plug-in that it is to end.
    pub(super) async fn close(&self) {
        for path in [wire::DEINIT, wire::SHUTDOWN] {
            // It is killed in the end, whatever it says.
            let call = self.call::<Empty, Empty>(path, Empty {});
            let _answer = tokio::time::timeout(FAREWELL, call).await;
        }
    }

    async fn step<Q, A>(&self, what: &str, path: &'static str, question: Q) -> Result<A, String>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        match tokio::time::timeout(STEP, self.call(path, question)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => {
                let (code, message) = (status.code(), status.message());
                Err(format!("it cannot be {what}: {code:?}: {message}"))
            }
            Err(_) => Err(format!("it was not {what} in time")),
        }
    }

    async fn call<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let mut grpc = self.grpc().await?;
        let path = PathAndQuery::from_static(path);
        let codec = ProstCodec::<Q, A>::default();
        let answer = grpc.unary(Request::new(question), path, codec).await?;
        Ok(answer.into_inner())
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
        let not_ready =
            |error: tonic::transport::Error| Status::new(Code::Unavailable, error.to_string());
        grpc.ready().await.map_err(not_ready)?;
        Ok(grpc)
    }

    /// Takes what the plug-in prints, which would stop it if nobody did.
    async fn drain(self, name: &'static str) {
        let Ok(mut grpc) = self.grpc().await else {
            return;
        };
        let path = PathAndQuery::from_static(wire::STREAM_STDIO);
        let codec = ProstCodec::<Empty, wire::StdioData>::default();
        let opened = grpc.server_streaming(Request::new(Empty {}), path, codec);
        if let Ok(answer) = opened.await {
            let mut pieces = answer.into_inner();
            while let Ok(Some(piece)) = pieces.message().await {
                tracing::trace!(
                    attestor = name,
                    bytes = piece.data.len(),
                    "an attestor printed"
                );
            }
        }
    }
}

/// Connects, and makes sure that the one who listens is the plug-in.
async fn connect(socket: PathBuf, pid: u32) -> std::io::Result<TokioIo<UnixStream>> {
    let stream = UnixStream::connect(&socket).await?;
    let listener = stream
        .peer_cred()?
        .pid()
        .and_then(|pid| u32::try_from(pid).ok());
    if listener == Some(pid) {
        Ok(TokioIo::new(stream))
    } else {
        Err(std::io::Error::other("another process listens there"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_process_that_was_started_is_spoken_to() {
        let folder = tempfile::TempDir::new().unwrap();
        let socket = folder.path().join("plugin");
        let _listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let own = std::process::id();
        assert!(connect(socket.clone(), own).await.is_ok());
        let refused = connect(socket.clone(), own + 1).await.unwrap_err();
        assert_eq!(refused.to_string(), "another process listens there");
        assert!(connect(folder.path().join("nobody"), own).await.is_err());
    }
}
