//! A downstream server: keys published by the dozen, and authorities asked for
//! again and again.

use std::sync::Arc;

use api::bundle::PublishJwtAuthorityRequest;
use api::bundle::bundle_client::BundleClient;
use api::entry::BatchCreateEntryRequest;
use api::entry::entry_client::EntryClient;
use api::svid::svid_client::SvidClient;
use api::svid::{BatchNewX509svidRequest, NewDownstreamX509caRequest, NewX509svidParams};
use api::types::{Entry, JwtKey, Selector};
use bulla_tests::{ServerEndpoint, certification_request, now, unix, wire_id};
use channel::LiveIdentity;
use identity::PrivateKeyDer;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{Target, forever};

pub(crate) async fn attack(target: &Target, tasks: &mut JoinSet<()>) {
    let server = target.server().await;
    let entry = entry(target, "/below", "/below/server", true).await;
    let channel = identified(&server, &entry).await;
    let (csr, key) = certification_request();
    let spki: Arc<[u8]> = rcgen::PublicKeyData::subject_public_key_info(&key).into();
    let csr = Arc::new(csr);
    let publishing = channel.clone();
    forever(tasks, 8, move |task, nth| {
        let key = JwtKey {
            public_key: spki.to_vec().into(),
            key_id: format!("{task}-{nth}-{}", "k".repeat(230)),
            expires_at: now().0 + 86_400,
            tainted: false,
        };
        let mut client = BundleClient::new(publishing.clone());
        async move {
            let request = PublishJwtAuthorityRequest {
                jwt_authority: Some(key),
            };
            let _answer = client.publish_jwt_authority(request).await;
        }
    });
    forever(tasks, 8, move |_, _| {
        let mut client = SvidClient::new(channel.clone());
        let request = NewDownstreamX509caRequest {
            csr: csr.to_vec().into(),
            preferred_ttl: 0,
        };
        async move {
            let _answer = client.new_downstream_x509ca(request).await;
        }
    });
}

/// Registers an entry of an agent with an alias; returns the entry's id.
pub(crate) async fn entry(target: &Target, parent: &str, path: &str, downstream: bool) -> String {
    let entry = Entry {
        spiffe_id: Some(wire_id(path)),
        parent_id: Some(wire_id(parent)),
        selectors: vec![Selector {
            r#type: "unix".into(),
            value: "uid:4999".into(),
        }],
        downstream,
        ..Entry::default()
    };
    let request = BatchCreateEntryRequest {
        entries: vec![entry],
        output_mask: None,
    };
    let mut client = EntryClient::new(unix(&target.admin).await);
    let answer = client.batch_create_entry(request).await.unwrap();
    let created = answer.into_inner().results.pop().unwrap();
    created.entry.unwrap().id
}

/// A connection with the downstream server's own SVID, got through its agent.
async fn identified(server: &ServerEndpoint, entry: &str) -> Channel {
    let agent = server.join("/below").await;
    let (csr, key) = certification_request();
    let request = BatchNewX509svidRequest {
        params: vec![NewX509svidParams {
            entry_id: entry.to_owned(),
            csr: csr.into(),
        }],
    };
    let answer = SvidClient::new(agent).batch_new_x509svid(request).await;
    let issued = answer.unwrap().into_inner().results.pop().unwrap();
    let svid = issued.svid.unwrap();
    let chain: Vec<Arc<[u8]>> = svid.cert_chain.iter().map(|der| der[..].into()).collect();
    let identity = LiveIdentity::empty();
    let key = PrivateKeyDer::new(&key.serialize_der());
    identity.set(&chain, &key).unwrap();
    server.connect(Some(identity)).await
}
