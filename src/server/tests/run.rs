//! The whole server through its own front door: starts, says where it is, answers on
//! every socket, drains, and starts again on what it left.

#![cfg(test)]

use std::path::Path;
use std::time::Duration;

use api::audit::ListRequest;
use api::audit::audit_client::AuditClient;
use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::info::GetRequest;
use api::info::info_client::InfoClient;
use server::{Clock, Config, Ready, RunError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Running {
    ready: Ready,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), RunError>>,
}

fn config(dir: &Path) -> Config {
    let mut config = Config::for_domain("example.org", dir.join("data"));
    config.listen = "127.0.0.1:0".into();
    config.ops.listen = Some("127.0.0.1:0".into());
    config
}

async fn start(config: Config) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    let (tell, told) = oneshot::channel();
    let settings = config.check().unwrap();
    let server = tokio::spawn(server::run_with(
        settings,
        Clock::machine(),
        async {
            let _ = stopped.await;
        },
        move |ready| {
            let _ = tell.send(ready.clone());
        },
    ));
    let Ok(ready) = told.await else {
        panic!("the server did not start: {:?}", server.await);
    };
    Running {
        ready,
        stop,
        server,
    }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), self.server).await;
        ended
            .expect("it stops within ten seconds")
            .unwrap()
            .unwrap();
    }

    async fn get(&self, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(self.ready.ops.unwrap())
            .await
            .unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn admin(&self) -> tonic::transport::Channel {
        channel::uds_channel(
            &self.ready.admin_socket,
            &channel::ChannelOptions::default(),
        )
        .await
        .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_answers_drains_and_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path())).await;
    assert_ne!(running.ready.listen.port(), 0);
    assert_eq!(running.ready.advertise, running.ready.listen.to_string());

    let addresses = std::fs::read_to_string(dir.path().join("data/run/addresses.json")).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&addresses).unwrap();
    assert_eq!(addresses["listen"], running.ready.listen.to_string());

    assert!(running.get("/live").await.starts_with("HTTP/1.1 200"));
    let ready = running.get("/ready").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(
        ready.contains("\"x509_authority\"") && ready.contains("\"ready\":true"),
        "{ready}"
    );
    let metrics = running.get("/metrics").await;
    for name in [
        "bulla_ca_expiry_seconds",
        "bulla_bundle_sequence",
        "bulla_store_commit_seconds",
        "bulla_view_age_seconds",
    ] {
        assert!(metrics.contains(name), "{name} is missing in\n{metrics}");
    }

    let mut bundles = BundleClient::new(running.admin().await);
    let first = bundles
        .get_bundle(GetBundleRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.x509_authorities.len(), 1);
    let mut info = InfoClient::new(running.admin().await);
    let described = info.get(GetRequest {}).await.unwrap().into_inner();
    assert_eq!(described.trust_domain, "example.org");

    // With connections open.
    running.stop().await;
    let again = start(config(dir.path())).await;
    let mut bundles = BundleClient::new(again.admin().await);
    let second = bundles
        .get_bundle(GetBundleRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(second, first, "the same authorities after a restart");
    again.stop().await;
}

/// Whoever follows the decision log is told to go, and does not hold up the stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_ends_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path())).await;
    let mut audit = AuditClient::new(running.admin().await);
    let follow = ListRequest {
        follow: true,
        ..ListRequest::default()
    };
    let mut records = audit.list(follow).await.unwrap().into_inner();
    let first = records.message().await.unwrap().unwrap();
    assert_eq!((first.seq, first.kind.as_str()), (1, "startup"));
    running.stop().await;
    while let Ok(Some(_)) = records.message().await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_the_same_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let running = start(config(dir.path())).await;
    let mut other = config(dir.path());
    other.admin_socket = dir.path().join("other.sock");
    let refused = server::run(other, std::future::pending()).await;
    assert!(matches!(refused, Err(RunError::Storage(_))), "{refused:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_work_is_said_before_anything_listens() {
    let dir = tempfile::tempdir().unwrap();
    let mut bad = config(dir.path());
    bad.rotation.schedule = "every ten seconds".into();
    let refused = server::run(bad, std::future::pending()).await.unwrap_err();
    assert!(
        refused.to_string().contains("rotation.schedule"),
        "{refused}"
    );

    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut bad = config(dir.path());
    bad.listen = taken.local_addr().unwrap().to_string();
    let refused = server::run(bad, std::future::pending()).await.unwrap_err();
    assert!(refused.to_string().starts_with("listen = "), "{refused}");
}

#[tokio::test]
async fn a_data_folder_that_others_may_enter_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    std::fs::create_dir(&config.data_dir).unwrap();
    std::fs::set_permissions(&config.data_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let refused = server::run(config, std::future::pending())
        .await
        .unwrap_err();
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("chmod 0700"), "{why}");
}
