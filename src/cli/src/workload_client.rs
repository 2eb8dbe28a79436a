//! A Workload API client for the commands: the process's own identity, with the
//! security header on every call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use channel::{ChannelOptions, uds_channel};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use crate::admin::{is_denied, root_cause};
use crate::failure::{Exit, Failure};
use crate::wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use crate::wire::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest,
    X509svidResponse,
};

fn unreachable(path: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    let (path, cause) = (path.display(), root_cause(error));
    if is_denied(error) {
        return Failure::unreachable(format!("this user may not use {path}: {cause}")).next(
            "an agent may well be running: have its administrator open the socket and the folders \
             above it to this user (workload_api.socket_mode in the agent's configuration), or run this as \
             a user that may",
        );
    }
    Failure::unreachable(format!("no agent answers at {path}: {cause}"))
        .next("start one with `bulla agent`, or name its socket with --workload-socket")
}

/// A connection to the agent's workload socket.
pub(crate) struct WorkloadClient {
    client: SpiffeWorkloadApiClient<Channel>,
    timeout: Duration,
}

impl WorkloadClient {
    /// Connects to a socket given as a path or as `unix:///path`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub(crate) async fn connect(socket: &str, timeout: Duration) -> Result<Self, Failure> {
        let path = PathBuf::from(socket_path(socket));
        let channel = uds_channel(&path, &ChannelOptions::default())
            .await
            .map_err(|error| unreachable(&path, &error))?;
        Ok(Self {
            client: SpiffeWorkloadApiClient::new(channel),
            timeout,
        })
    }

    /// Opens a stream of X.509-SVIDs.
    ///
    /// # Errors
    /// The agent refuses.
    pub(crate) async fn x509_stream(&mut self) -> Result<Streaming<X509svidResponse>, Failure> {
        let call = self.client.fetch_x509svid(with_header(X509svidRequest {}));
        Ok(within(self.timeout, call).await?.into_inner())
    }

    /// The next update of a stream, however long that takes.
    ///
    /// # Errors
    /// The agent refuses, or ends the stream.
    pub(crate) async fn next(
        stream: &mut Streaming<X509svidResponse>,
    ) -> Result<X509svidResponse, Failure> {
        let message = stream.message().await.map_err(explain)?;
        message.ok_or_else(|| Failure::unreachable("the agent ended the stream"))
    }

    /// The first answer of a fresh stream.
    ///
    /// # Errors
    /// The agent refuses, or does not answer in time.
    pub(crate) async fn x509(&mut self) -> Result<X509svidResponse, Failure> {
        let timeout = self.timeout;
        let mut stream = self.x509_stream().await?;
        tokio::time::timeout(timeout, Self::next(&mut stream))
            .await
            .map_err(|_elapsed| late(timeout))?
    }

    /// The X.509 bundles.
    ///
    /// # Errors
    /// The agent refuses, or does not answer in time.
    pub(crate) async fn x509_bundles(&mut self) -> Result<X509BundlesResponse, Failure> {
        let call = self
            .client
            .fetch_x509_bundles(with_header(X509BundlesRequest {}));
        let mut stream = within(self.timeout, call).await?.into_inner();
        let message = within(self.timeout, stream.message()).await?;
        message.ok_or_else(|| Failure::unreachable("the agent ended the stream"))
    }

    /// The JWT bundles.
    ///
    /// # Errors
    /// The agent refuses, or does not answer in time.
    pub(crate) async fn jwt_bundles(&mut self) -> Result<JwtBundlesResponse, Failure> {
        let call = self
            .client
            .fetch_jwt_bundles(with_header(JwtBundlesRequest {}));
        let mut stream = within(self.timeout, call).await?.into_inner();
        let message = within(self.timeout, stream.message()).await?;
        message.ok_or_else(|| Failure::unreachable("the agent ended the stream"))
    }

    /// JWT-SVIDs for an audience.
    ///
    /// # Errors
    /// The agent refuses, or does not answer in time.
    pub(crate) async fn jwt(
        &mut self,
        audience: Vec<String>,
        spiffe_id: Option<String>,
    ) -> Result<JwtsvidResponse, Failure> {
        let request = JwtsvidRequest {
            audience,
            spiffe_id: spiffe_id.unwrap_or_default(),
        };
        let call = self.client.fetch_jwtsvid(with_header(request));
        Ok(within(self.timeout, call).await?.into_inner())
    }

    /// Asks the agent whether a JWT-SVID is valid for an audience.
    ///
    /// # Errors
    /// It is not, or the agent does not answer in time.
    pub(crate) async fn validate(
        &mut self,
        audience: &str,
        svid: &str,
    ) -> Result<ValidateJwtsvidResponse, Failure> {
        let request = ValidateJwtsvidRequest {
            audience: audience.into(),
            svid: svid.into(),
        };
        let call = self.client.validate_jwtsvid(with_header(request));
        Ok(within(self.timeout, call).await?.into_inner())
    }
}

/// The file path of a socket given as a path, `unix:path` or `unix:///path`.
#[must_use]
pub(crate) fn socket_path(socket: &str) -> &str {
    let path = socket.strip_prefix("unix:").unwrap_or(socket);
    path.strip_prefix("//").unwrap_or(path)
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert(api::WORKLOAD_HEADER, MetadataValue::from_static("true"));
    request
}

async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, Failure> {
    let answer = tokio::time::timeout(timeout, call)
        .await
        .map_err(|_elapsed| late(timeout))?;
    answer.map_err(explain)
}

fn late(timeout: Duration) -> Failure {
    Failure::unreachable(format!("no answer within {} s", timeout.as_secs()))
}

fn explain(status: tonic::Status) -> Failure {
    match status.code() {
        tonic::Code::PermissionDenied => Failure::new(Exit::Refused, status.message().to_owned())
            .next(
                "`bulla explain me` says what was attested of this process and which entries match",
            ),
        _ => status.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_may_be_paths_or_uris() {
        assert_eq!(socket_path("/run/a.sock"), "/run/a.sock");
        assert_eq!(socket_path("unix:///run/a.sock"), "/run/a.sock");
        assert_eq!(socket_path("unix:/run/a.sock"), "/run/a.sock");
    }
}
