//! This process as a workload that speaks gRPC.

use std::path::Path;

use api::WORKLOAD_HEADER;
use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use channel::{ChannelOptions, uds_channel};
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};

/// A message with the header that every call of the Workload API carries.
pub fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = MetadataValue::from_static("true");
    request.metadata_mut().insert(WORKLOAD_HEADER, value);
    request
}

/// A client of the Workload API on a connection of its own.
pub async fn workload_client(socket: &Path) -> SpiffeWorkloadApiClient<Channel> {
    let channel = uds_channel(socket, &ChannelOptions::default()).await;
    SpiffeWorkloadApiClient::new(channel.unwrap())
}

/// A client that grants no byte to any stream: whatever it asks for, it takes nothing.
pub async fn client_that_takes_nothing(socket: &Path) -> SpiffeWorkloadApiClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let channel = endpoint.initial_stream_window_size(0).connect().await;
    SpiffeWorkloadApiClient::new(channel.unwrap())
}
