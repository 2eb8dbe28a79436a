//! A node: an agent with its folder, and workloads that call it.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use identity::{
    Entry, EntryFields, EntryId, Selector, Selectors, SpiffeId, Timestamp, TrustDomain,
};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::fake_server::{FakeServer, TOKEN};
use crate::clock::Clock;
use crate::config::Config;
use crate::core::Core;
use crate::entropy::Entropy;
use crate::run::{self, RunError};

/// Long enough for anything that happens at all.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) type Client = SpiffeWorkloadApiClient<
    InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>,
>;

/// A running agent.
pub(super) struct Node {
    pub(super) core: Arc<Core>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), RunError>>,
}

/// A configuration that pins `server`, in `dir`.
pub(super) fn config(server: &FakeServer, dir: &TempDir) -> Config {
    let mut config = Config::new("example.org", &server.address);
    let root = server.state.authority.root();
    config.trust.bundle_sha256 = vec![hex::encode(ring::digest::digest(
        &ring::digest::SHA256,
        root,
    ))];
    config.join_token = Some(crate::JoinToken::new(TOKEN).unwrap());
    config.data_dir = dir.path().join("data");
    config.workload_socket = dir.path().join("run/workload.sock");
    config.admin_socket = dir.path().join("run/admin.sock");
    config
}

pub(super) async fn prepare(config: Config, clock: &Clock) -> Result<Arc<Core>, RunError> {
    run::prepare(config.settings().unwrap(), clock.clone(), Entropy::system()).await
}

impl Node {
    pub(super) async fn start(config: Config, clock: &Clock) -> Self {
        Self::live(prepare(config, clock).await.unwrap()).await
    }

    async fn live(core: Arc<Core>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let task = tokio::spawn(run::live(Arc::clone(&core), shutdown));
        let socket = core.settings.config.workload_socket.clone();
        // A name alone may be left over from an agent before.
        eventually("the socket opens", || {
            task.is_finished() || std::os::unix::net::UnixStream::connect(&socket).is_ok()
        })
        .await;
        Self {
            core,
            stop: Some(stop),
            task,
        }
    }

    pub(super) async fn stop(mut self) -> Result<(), RunError> {
        self.stop.take();
        self.ended().await
    }

    /// How the agent ended by itself.
    pub(super) async fn ended(self) -> Result<(), RunError> {
        within(self.task).await.unwrap()
    }

    /// A workload: this process, with the header.
    pub(super) async fn client(&self) -> Client {
        client(self.channel().await)
    }

    pub(super) async fn channel(&self) -> Channel {
        let socket = &self.core.settings.config.workload_socket;
        channel::uds_channel(socket, &channel::ChannelOptions::default())
            .await
            .unwrap()
    }
}

pub(super) fn client(channel: Channel) -> Client {
    let header: fn(Request<()>) -> Result<Request<()>, Status> = |mut request| {
        let value = MetadataValue::from_static("true");
        request.metadata_mut().insert("workload.spiffe.io", value);
        Ok(request)
    };
    SpiffeWorkloadApiClient::with_interceptor(channel, header)
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it did not happen in time")
}

/// Waits for a condition that nothing announces.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(in_time.is_ok(), "never: {what}");
}

/// Waits until a watched value fits.
pub(super) async fn until<T: Clone>(sender: &watch::Sender<T>, fits: impl FnMut(&T) -> bool) -> T {
    within(sender.subscribe().wait_for(fits))
        .await
        .unwrap()
        .clone()
}

static CREATED: AtomicU32 = AtomicU32::new(0);

/// An entry for this very process.
pub(super) fn entry(id: &str, path: &str) -> Arc<Entry> {
    entry_for(
        id,
        path,
        &format!("unix:uid:{}", rustix::process::geteuid().as_raw()),
        "",
    )
}

pub(super) fn entry_for(id: &str, path: &str, selector: &str, hint: &str) -> Arc<Entry> {
    let trust_domain = TrustDomain::parse("example.org").unwrap();
    let order = CREATED.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let fields = EntryFields {
        id: EntryId::parse(id).unwrap(),
        spiffe_id: SpiffeId::new(&trust_domain, path).unwrap(),
        parent_id: SpiffeId::parse(super::fake_server::AGENT).unwrap(),
        selectors: Selectors::new(vec![Selector::parse(selector).unwrap()]).unwrap(),
        x509_ttl: None,
        jwt_ttl: None,
        federates_with: Vec::new(),
        admin: false,
        downstream: false,
        expires_at: None,
        dns_names: Vec::new(),
        revision: 0,
        store_svid: false,
        hint: hint.into(),
        created_at: Timestamp(i64::from(order)),
        disable_x509_prefetch: false,
        jwt_include_jti: false,
    };
    Arc::new(Entry::new(fields, &trust_domain).unwrap())
}
