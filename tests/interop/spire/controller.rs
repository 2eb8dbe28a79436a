//! spire-controller-manager, as its calls: the probe it makes at its start, and
//! what it asks at each reconciliation.

use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::entry::entry_client::EntryClient;
use api::entry::{
    BatchCreateEntryRequest, BatchDeleteEntryRequest, BatchUpdateEntryRequest, ListEntriesRequest,
};
use api::types;
use bulla_tests::{Domain, Settings};
use channel::{ChannelOptions, uds_channel};
use tonic::transport::Channel;

async fn admin(domain: &Domain) -> Channel {
    let options = ChannelOptions::default();
    uds_channel(&domain.admin_socket(), &options).await.unwrap()
}

fn wire_id(path: &str) -> Option<types::Spiffeid> {
    Some(types::Spiffeid {
        trust_domain: Domain::NAME.to_owned(),
        path: path.to_owned(),
    })
}

fn selector() -> types::Selector {
    types::Selector {
        r#type: "a".into(),
        value: "1".into(),
    }
}

/// It creates an entry that is its own parent, looks which fields come back, and
/// deletes it. A field that does not come back is switched off for good.
#[tokio::test]
async fn the_start_up_probe_finds_every_field() {
    let domain = Domain::server_alone(Settings::default());
    let mut entries = EntryClient::new(admin(&domain).await);
    let probe = types::Entry {
        spiffe_id: wire_id("/spire-controller-manager/unsupported-fields-test"),
        parent_id: wire_id("/spire-controller-manager/unsupported-fields-test"),
        selectors: vec![selector()],
        x509_svid_ttl: 60,
        jwt_svid_ttl: 60,
        store_svid: true,
        hint: "hint".into(),
        ..Default::default()
    };
    let request = BatchCreateEntryRequest {
        entries: vec![probe.clone()],
        output_mask: None,
    };
    let created = entries.batch_create_entry(request).await.unwrap();
    let result = created.into_inner().results.remove(0);
    assert_eq!(result.status.unwrap().code, 0);
    let back = result.entry.unwrap();
    assert_eq!(
        (back.jwt_svid_ttl, back.hint.as_str(), back.store_svid),
        (60, "hint", true)
    );
    let ids = vec![back.id];
    let request = BatchDeleteEntryRequest { ids };
    let deleted = entries.batch_delete_entry(request).await.unwrap();
    let status = deleted.into_inner().results.remove(0).status.unwrap();
    assert_eq!(status.code, 0, "{}", status.message);
}

#[tokio::test]
async fn a_reconciliation_lists_creates_updates_and_deletes() {
    let domain = Domain::server_alone(Settings::default());
    let channel = admin(&domain).await;
    let mut bundles = BundleClient::new(channel.clone());
    let bundle = bundles.get_bundle(GetBundleRequest::default()).await;
    assert!(!bundle.unwrap().into_inner().x509_authorities.is_empty());

    let mut entries = EntryClient::new(channel);
    let pods = (0..450).map(|n| types::Entry {
        spiffe_id: wire_id(&format!("/ns/a/sa/{n}")),
        parent_id: wire_id("/spire/agent/k8s_psat/cluster/node"),
        selectors: vec![selector()],
        dns_names: vec![format!("pod-{n}.example.org")],
        ..Default::default()
    });
    for batch in pods.collect::<Vec<_>>().chunks(50) {
        let request = BatchCreateEntryRequest {
            entries: batch.to_vec(),
            output_mask: None,
        };
        let results = entries.batch_create_entry(request).await.unwrap();
        for result in results.into_inner().results {
            assert_eq!(result.status.unwrap().code, 0);
        }
    }
    let mut all = list(&mut entries).await;
    assert_eq!(all.len(), 450);
    for entry in &mut all {
        entry.x509_svid_ttl = 600;
    }
    for batch in all.chunks(50) {
        let request = BatchUpdateEntryRequest {
            entries: batch.to_vec(),
            input_mask: None,
            output_mask: None,
        };
        let results = entries.batch_update_entry(request).await.unwrap();
        for result in results.into_inner().results {
            assert_eq!(result.status.unwrap().code, 0);
            assert_eq!(result.entry.unwrap().x509_svid_ttl, 600);
        }
    }
    let ids: Vec<String> = all.into_iter().map(|entry| entry.id).collect();
    for ids in ids.chunks(200) {
        let request = BatchDeleteEntryRequest { ids: ids.to_vec() };
        entries.batch_delete_entry(request).await.unwrap();
    }
    assert!(list(&mut entries).await.is_empty());
}

/// Every entry, 200 at a time.
async fn list(entries: &mut EntryClient<Channel>) -> Vec<types::Entry> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEntriesRequest {
            page_size: 200,
            page_token,
            ..Default::default()
        };
        let page = entries.list_entries(request).await.unwrap().into_inner();
        all.extend(page.entries);
        if page.next_page_token.is_empty() {
            return all;
        }
        page_token = page.next_page_token;
    }
}
