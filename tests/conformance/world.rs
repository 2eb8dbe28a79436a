//! One trust domain of real processes, and this process as its workload.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use api::bundle::BatchSetFederatedBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use api::workload::{
    JwtBundlesRequest, JwtBundlesResponse, Jwtsvid, JwtsvidRequest, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest,
    X509svidResponse,
};
use bulla_tests::{Domain, Ran, Settings, eventually};
use channel::{ChannelOptions, Expect, LiveBundles, LiveIdentity};
use identity::{Bundle, PrivateKeyDer, SpiffeId};
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::foreign;

type Interceptor = fn(Request<()>) -> Result<Request<()>, Status>;
pub(crate) type Client = SpiffeWorkloadApiClient<InterceptedService<Channel, Interceptor>>;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running trust domain.
pub(crate) struct World {
    pub(crate) domain: Domain,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(Settings::default())
    }

    pub(crate) fn with(settings: Settings) -> Self {
        Self::of(Domain::start_with(settings))
    }

    pub(crate) fn of(domain: Domain) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        Self { domain, runtime }
    }

    /// Runs a call to its end.
    pub(crate) fn wait<T>(&self, call: impl Future<Output = T>) -> T {
        let within = async { tokio::time::timeout(PATIENCE, call).await };
        self.runtime.block_on(within).expect("an answer in time")
    }

    /// A connection to the workload socket.
    pub(crate) fn channel(&self) -> Channel {
        let socket = self.domain.workload_socket();
        self.wait(channel::uds_channel(&socket, &ChannelOptions::default()))
            .unwrap()
    }

    /// A Workload API client that sends the header.
    pub(crate) fn client(&self) -> Client {
        let header: Interceptor = |mut request| {
            let value = MetadataValue::from_static("true");
            request.metadata_mut().insert("workload.spiffe.io", value);
            Ok(request)
        };
        SpiffeWorkloadApiClient::with_interceptor(self.channel(), header)
    }

    pub(crate) fn x509_stream(&self) -> Result<Streaming<X509svidResponse>, Status> {
        let mut client = self.client();
        let call = client.fetch_x509svid(X509svidRequest {});
        Ok(self.wait(call)?.into_inner())
    }

    /// The next message, or how the stream ended.
    pub(crate) fn next<T>(&self, stream: &mut Streaming<T>) -> Result<T, Status> {
        let message = self.wait(stream.message())?;
        message.ok_or_else(|| Status::cancelled("the stream ended with OK"))
    }

    pub(crate) fn x509(&self) -> Result<X509svidResponse, Status> {
        self.next(&mut self.x509_stream()?)
    }

    pub(crate) fn x509_bundles(&self) -> Result<X509BundlesResponse, Status> {
        let mut client = self.client();
        let call = client.fetch_x509_bundles(X509BundlesRequest {});
        self.next(&mut self.wait(call)?.into_inner())
    }

    pub(crate) fn jwt_bundles(&self) -> Result<JwtBundlesResponse, Status> {
        let mut client = self.client();
        let call = client.fetch_jwt_bundles(JwtBundlesRequest {});
        self.next(&mut self.wait(call)?.into_inner())
    }

    pub(crate) fn jwt(&self, audience: &[&str], id: &str) -> Result<Vec<Jwtsvid>, Status> {
        let request = JwtsvidRequest {
            audience: audience.iter().map(|a| (*a).to_owned()).collect(),
            spiffe_id: id.to_owned(),
        };
        let mut client = self.client();
        let call = client.fetch_jwtsvid(request);
        Ok(self.wait(call)?.into_inner().svids)
    }

    /// JV of the standard's test vocabulary.
    pub(crate) fn validate(
        &self,
        svid: &str,
        audience: &str,
    ) -> Result<ValidateJwtsvidResponse, Status> {
        let request = ValidateJwtsvidRequest {
            svid: svid.to_owned(),
            audience: audience.to_owned(),
        };
        let mut client = self.client();
        let call = client.validate_jwtsvid(request);
        Ok(self.wait(call)?.into_inner())
    }

    /// Registers this process's user for a SPIFFE ID written out in full.
    pub(crate) fn try_register(&self, id: &str, more: &[&str]) -> Ran {
        let uid = format!("unix:uid:{}", nix::unistd::getuid());
        let node = self.domain.id("/node");
        let mut args = vec!["entry", "create", "--spiffe-id", id, "--parent-id", &node];
        args.extend(["--selector", &uid, "--json"]);
        args.extend(more);
        self.domain.admin(args)
    }

    pub(crate) fn delete(&self, entry: &str) {
        let _deleted = self.domain.admin(["entry", "delete", entry]).ok();
    }

    /// Sets the bundle of a foreign trust domain.
    pub(crate) fn federate(&self, bundle: &Bundle) {
        let socket = self.domain.admin_socket();
        let request = BatchSetFederatedBundleRequest {
            bundle: vec![api::convert::bundle_to_wire(bundle, None)],
            output_mask: None,
        };
        let set = async {
            let channel = channel::uds_channel(&socket, &ChannelOptions::default()).await;
            let mut client = BundleClient::new(channel.unwrap());
            client.batch_set_federated_bundle(request).await
        };
        let response = self.wait(set).unwrap().into_inner();
        let status = response.results[0].status.clone().unwrap();
        assert_eq!(status.code, 0, "{}", status.message);
    }

    /// Waits until this process sees a bundle that fits.
    pub(crate) fn await_bundle(&self, of: &str, fits: impl Fn(&[u8]) -> bool) {
        eventually("the foreign bundle arrives", || {
            let bundles = self.x509_bundles().ok()?.bundles;
            bundles.get(of).filter(|der| fits(der)).map(drop)
        });
    }

    /// The own bundle as a SPIFFE bundle document.
    pub(crate) fn bundle_document(&self) -> serde_json::Value {
        let show = ["bundle", "show", "--format", "spiffe"];
        self.domain.admin(show).ok().json()
    }

    /// XV at the agent: the status of a check of a certificate chain.
    pub(crate) fn check_chain(&self, chain: &[Vec<u8>]) -> u16 {
        let list: Vec<String> = chain.iter().map(foreign::standard_base64).collect();
        let body = serde_json::json!({ "certificate_chain": list }).to_string();
        let mut stream = UnixStream::connect(self.domain.workload_socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST /v1/check HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             workload.spiffe.io: true\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// XV at the server: whether a client with this certificate gets through TLS.
    pub(crate) fn handshake(&self, chain: &[Vec<u8>], key: &[u8]) -> bool {
        let identity = LiveIdentity::empty();
        let chain: Vec<Arc<[u8]>> = chain.iter().map(|der| der.as_slice().into()).collect();
        if identity.set(&chain, &PrivateKeyDer::new(key)).is_err() {
            // Some certificates rustls does not even show.
            return false;
        }
        let bundles = LiveBundles::empty();
        let document = self.bundle_document().to_string();
        let own = identity::TrustDomain::parse(self.domain.name()).unwrap();
        let own = verify::bundle_format::decode(&own, document.as_bytes()).unwrap();
        bundles.set(Arc::new(own));
        let expect = Expect {
            server: SpiffeId::parse(&self.domain.id("/spire/server")).unwrap(),
            bundles,
        };
        let clock = channel::Clock::new(foreign::now);
        let config = channel::client_config(Some(identity), expect, clock).unwrap();
        let address = format!("127.0.0.1:{}", self.domain.port());
        let call = async {
            let options = ChannelOptions::default();
            let channel = channel::tls_channel(&address, config, &options)
                .await
                .ok()?;
            let mut client = BundleClient::new(channel);
            let request = api::bundle::GetBundleRequest { output_mask: None };
            client.get_bundle(request).await.ok()
        };
        self.wait(call).is_some()
    }

    /// The code of one raw call with these values of the security header.
    pub(crate) fn raw(&self, path: &str, header: &[&str]) -> Code {
        use tonic::client::Grpc;
        let mut request = Request::new(X509svidRequest {});
        for value in header {
            let value = MetadataValue::try_from(*value).unwrap();
            request.metadata_mut().append("workload.spiffe.io", value);
        }
        let path = http::uri::PathAndQuery::try_from(path).unwrap();
        let channel = self.channel();
        let call = async {
            let mut grpc = Grpc::new(channel);
            grpc.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<X509svidRequest, X509svidResponse>::default();
            grpc.server_streaming(request, path, codec).await
        };
        match self.wait(call) {
            Err(status) => status.code(),
            Ok(answer) => {
                let mut stream = answer.into_inner();
                match self.wait(stream.message()) {
                    Ok(_) => Code::Ok,
                    Err(status) => status.code(),
                }
            }
        }
    }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Code {
    outcome.expect_err("it was not refused").code()
}
