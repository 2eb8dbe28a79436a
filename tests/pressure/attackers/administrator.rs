//! An administrator's program that has gone wrong: whole lists, plans of hostile
//! policies, mints and searches of the decision log, without a pause.

use api::audit::ListRequest;
use api::audit::audit_client::AuditClient;
use api::entry::ListEntriesRequest;
use api::entry::entry_client::EntryClient;
use api::policy::policy_client::PolicyClient;
use api::policy::{File, PolicySetPart};
use api::svid::MintX509svidRequest;
use api::svid::svid_client::SvidClient;
use bulla_tests::{certification_request, unix};
use tokio::task::JoinSet;

use super::{Target, forever};

pub(crate) async fn attack(target: &Target, tasks: &mut JoinSet<()>) {
    let channel = unix(&target.admin).await;
    let lists = channel.clone();
    forever(tasks, 8, move |_, _| {
        let mut client = EntryClient::new(lists.clone());
        async move {
            let _answer = client.list_entries(ListEntriesRequest::default()).await;
        }
    });
    let audits = channel.clone();
    forever(tasks, 4, move |_, _| {
        let mut client = AuditClient::new(audits.clone());
        async move {
            if let Ok(stream) = client.list(ListRequest::default()).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(_record)) = stream.message().await {}
            }
        }
    });
    let mints = channel.clone();
    let csr = certification_request().0;
    forever(tasks, 8, move |_, _| {
        let mut client = SvidClient::new(mints.clone());
        let request = MintX509svidRequest {
            csr: csr.clone().into(),
            ttl: 60,
        };
        async move {
            let _answer = client.mint_x509svid(request).await;
        }
    });
    forever(tasks, 2, move |_, nth| {
        let mut client = PolicyClient::new(channel.clone());
        let depth = 1 << (nth % 16);
        let text = format!(
            "permit (principal, action, resource) when {{ {}true{} }};",
            "(".repeat(depth),
            ")".repeat(depth)
        );
        let file = File {
            name: "policies/hostile.cedar".into(),
            text,
        };
        let part = PolicySetPart {
            files: vec![file],
            ..PolicySetPart::default()
        };
        async move {
            let _answer = client.plan(tokio_stream::once(part)).await;
        }
    });
}
