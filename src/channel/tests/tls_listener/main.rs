//! Mutual TLS by SPIFFE ID against the real listener: who gets in, who does not,
//! and that nobody gets in twice on one verification.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test's helpers may fail it"
)]

mod authority;
mod strangers;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use authority::listener::{AGENT, Listener, NOW, SERVER, identity};
use authority::{Authority, bundle};
use channel::{
    ChannelOptions, ClientAuth, Limits, LiveIdentity, capture_config, tls_channel, was_never_sent,
};
use http::Request;
use http_body_util::{BodyExt, Empty};
use identity::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

/// One call on a new connection: the answer, or what went wrong.
async fn call(address: &str, config: Arc<rustls::ClientConfig>) -> Result<String, String> {
    let options = ChannelOptions::default();
    let channel = tls_channel(address, config, &options)
        .await
        .map_err(|e| format!("{e:?}"))?;
    ask(channel).await
}

async fn ask(channel: tonic::transport::Channel) -> Result<String, String> {
    let request = Request::builder()
        .method("POST")
        .uri("/who")
        .body(tonic::body::Body::new(Empty::new()))
        .unwrap();
    let answer = channel
        .oneshot(request)
        .await
        .map_err(|e| format!("{e:?}"))?;
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|e| format!("{e:?}"))?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let agent = listener.client(Some(identity(&ca, AGENT)), SERVER);
    assert_eq!(call(&listener.address, agent).await.unwrap(), AGENT);
    let stranger = listener.client(None, SERVER);
    assert_eq!(call(&listener.address, stranger).await.unwrap(), "nobody");
}

#[tokio::test]
async fn a_client_without_certificate_is_refused_where_one_is_required() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Required, Limits::server()).await;
    let stranger = listener.client(None, SERVER);
    let error = call(&listener.address, stranger).await.unwrap_err();
    assert!(error.contains("CertificateRequired"), "{error}");
}

#[tokio::test]
async fn a_server_with_another_id_is_refused() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let config = listener.client(None, "spiffe://example.org/not/the/server");
    let error = tls_channel(&listener.address, config, &ChannelOptions::default())
        .await
        .unwrap_err();
    assert!(error.tls_error().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_client_of_an_unknown_authority_or_trust_domain_is_refused() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let same_name = Authority::new("example.org", NOW);
    let elsewhere = Authority::new("elsewhere.example", NOW);
    for own in [
        identity(&same_name, AGENT),
        identity(&elsewhere, "spiffe://elsewhere.example/a"),
    ] {
        let config = listener.client(Some(own), SERVER);
        let error = call(&listener.address, config).await.unwrap_err();
        assert!(error.contains("UnknownCA"), "{error}");
    }
}

#[tokio::test]
async fn an_expired_client_is_refused_at_the_clocks_word() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let svid = ca.issue(AGENT, NOW - 60, NOW + 10);
    let own = LiveIdentity::empty();
    own.set(&svid.chain, &svid.key).unwrap();
    let config = listener.client(Some(own), SERVER);
    assert_eq!(
        call(&listener.address, Arc::clone(&config)).await.unwrap(),
        AGENT
    );
    listener.now.store(NOW + 11, Ordering::SeqCst);
    let error = call(&listener.address, config).await.unwrap_err();
    assert!(error.contains("CertificateExpired"), "{error}");
}

/// Resuming a session skips the verifier and takes the peer's identity from the
/// past. A client that tries everything to resume must be verified anew after
/// its authority left the bundle, with TLS 1.3 and 1.2 alike.
#[tokio::test]
async fn a_kept_session_does_not_outlive_its_authority() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let ca = Authority::new("example.org", NOW);
        let agents = Authority::new("example.org", NOW);
        let listener = Listener::start(&ca, ClientAuth::Optional, with_http1()).await;
        listener.bundles.set(bundle(&[&ca, &agents]));
        let config = Arc::new(resuming_client(
            &listener,
            identity(&agents, AGENT),
            version,
        ));
        for _ in 0..2 {
            let kind = handshake(&listener.address, &config).await.unwrap();
            assert_eq!(kind, rustls::HandshakeKind::Full, "{version:?}");
        }
        listener.bundles.set(bundle(&[&ca]));
        let error = handshake(&listener.address, &config).await.unwrap_err();
        assert!(error.contains("UnknownCA"), "{version:?}: {error}");
    }
}

fn with_http1() -> Limits {
    Limits {
        http1: true,
        ..Limits::server()
    }
}

/// The opposite of our own client: keeps every session and ticket it can get.
fn resuming_client(
    listener: &Listener,
    own: Arc<LiveIdentity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> rustls::ClientConfig {
    let ours = listener.client(None, SERVER);
    let verifier = authority::TrustAnything::new(ours.crypto_provider());
    let provider = Arc::clone(ours.crypto_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(own);
    config.resumption = rustls::client::Resumption::in_memory_sessions(32);
    config.enable_early_data = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// One HTTP/1.1 call; how the handshake went.
async fn handshake(
    address: &str,
    config: &Arc<rustls::ClientConfig>,
) -> Result<rustls::HandshakeKind, String> {
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let mut tls = connector
        .connect(name, tcp)
        .await
        .map_err(|e| e.to_string())?;
    let request = b"GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    tls.write_all(request).await.map_err(|e| e.to_string())?;
    let mut answer = String::new();
    tls.read_to_string(&mut answer)
        .await
        .map_err(|e| e.to_string())?;
    assert!(answer.ends_with(AGENT), "{answer}");
    Ok(tls.get_ref().1.handshake_kind().unwrap())
}

#[tokio::test]
async fn capture_serves_one_handshake_only() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let (config, captured) = capture_config().unwrap();
    assert!(captured.chain().is_none());
    assert_eq!(
        call(&listener.address, Arc::clone(&config)).await.unwrap(),
        "nobody"
    );
    let chain: Vec<&[u8]> = captured.chain().unwrap().iter().map(|der| &**der).collect();
    let verified = verify::verify_x509_svid(&chain, &bundle(&[&ca]), Timestamp(NOW)).unwrap();
    assert_eq!(verified.spiffe_id.as_str(), SERVER);
    assert!(call(&listener.address, config).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_the_next_handshake_on() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let next = ca.issue(SERVER, NOW - 60, NOW + 7200);
    listener.identity.set(&next.chain, &next.key).unwrap();
    let (config, captured) = capture_config().unwrap();
    call(&listener.address, config).await.unwrap();
    assert_eq!(captured.chain().unwrap()[0], next.chain[0]);
    listener.identity.clear();
    let (config, _) = capture_config().unwrap();
    assert!(call(&listener.address, config).await.is_err());
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let ca = Authority::new("example.org", NOW);
    let one = ca.issue(SERVER, NOW - 60, NOW + 3600);
    let other = ca.issue(SERVER, NOW - 60, NOW + 3600);
    let identity = LiveIdentity::empty();
    assert!(identity.set(&one.chain, &other.key).is_err());
    assert!(identity.set(&[], &one.key).is_err());
    assert!(!identity.is_set());
}

#[tokio::test]
async fn an_aged_connection_is_replaced_without_losing_a_call() {
    let ca = Authority::new("example.org", NOW);
    let limits = Limits {
        connection_age: Some(Duration::from_millis(50)),
        ..Limits::server()
    };
    let listener = Listener::start(&ca, ClientAuth::Optional, limits).await;
    let config = listener.client(Some(identity(&ca, AGENT)), SERVER);
    let channel = tls_channel(&listener.address, config, &ChannelOptions::default())
        .await
        .unwrap();
    let mut seen = std::collections::HashSet::new();
    while seen.len() < 4 {
        let request = Request::post("/where").body(tonic::body::Body::new(Empty::new()));
        match channel.clone().oneshot(request.unwrap()).await {
            Ok(answer) => {
                let body = answer.into_body().collect().await.unwrap();
                seen.insert(body.to_bytes());
            }
            Err(error) => assert!(was_never_sent(&error), "{error:?}"),
        }
    }
}

#[tokio::test]
async fn a_silent_client_is_cut_and_holds_nobody_up() {
    let ca = Authority::new("example.org", NOW);
    let limits = Limits {
        handshakes: 1,
        handshake_timeout: Duration::from_secs(2),
        ..Limits::server()
    };
    let listener = Listener::start(&ca, ClientAuth::Optional, limits).await;
    let silent = tokio::net::TcpStream::connect(&listener.address)
        .await
        .unwrap();
    let config = listener.client(Some(identity(&ca, AGENT)), SERVER);
    assert_eq!(call(&listener.address, config).await.unwrap(), AGENT);
    let mut end = [0; 1];
    silent.readable().await.unwrap();
    assert_eq!(silent.try_read(&mut end).unwrap(), 0);
}

#[tokio::test]
async fn shutdown_drains_and_returns() {
    let ca = Authority::new("example.org", NOW);
    let mut listener = Listener::start(&ca, ClientAuth::Optional, Limits::server()).await;
    let config = listener.client(None, SERVER);
    let channel = tls_channel(
        &listener.address,
        Arc::clone(&config),
        &ChannelOptions::default(),
    )
    .await
    .unwrap();
    assert_eq!(ask(channel.clone()).await.unwrap(), "nobody");
    listener.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), &mut listener.served)
        .await
        .expect("an idle connection does not hold up the shutdown")
        .unwrap();
    assert!(call(&listener.address, config).await.is_err());
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_peers_certificate() {
    let ca = Authority::new("example.org", NOW);
    let listener = Listener::start(&ca, ClientAuth::Optional, with_http1()).await;
    let svid = ca.issue(AGENT, NOW - 60, NOW + 4);
    let own = LiveIdentity::empty();
    own.set(&svid.chain, &svid.key).unwrap();
    let config = Arc::new(resuming_client(&listener, own, &rustls::version::TLS13));
    let tcp = tokio::net::TcpStream::connect(&listener.address)
        .await
        .unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(config);
    let mut tls = connector.connect(name, tcp).await.unwrap();
    tls.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let ended = tls.read_to_end(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .expect("the listener ends the connection")
        .unwrap();
    assert!(answer.ends_with(AGENT.as_bytes()));
}
