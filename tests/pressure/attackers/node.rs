//! An attested node that somebody has taken over: certificates and tokens for its
//! own entries and for others', lists, sync streams, without a pause.

use std::sync::Arc;

use api::entry::GetAuthorizedEntriesRequest;
use api::entry::entry_client::EntryClient;
use api::issuance::issuance_client::IssuanceClient;
use api::issuance::{IssueX509Request, issue_x509_request::Item};
use api::svid::svid_client::SvidClient;
use api::svid::{BatchNewX509svidRequest, NewJwtsvidRequest, NewX509svidParams};
use bulla_tests::certification_request;
use tokio::task::JoinSet;

use super::{Target, forever};
use crate::attackers::downstream;

pub(crate) async fn attack(target: &Target, tasks: &mut JoinSet<()>) {
    let server = target.server().await;
    let entry = downstream::entry(target, "/taken", "/taken/web", false).await;
    let agent = server.join("/taken").await;
    let (csr, key) = certification_request();
    let csr = Arc::new(csr);
    let spki: Arc<[u8]> = rcgen::PublicKeyData::subject_public_key_info(&key).into();
    for of in [entry, "nobody-knows-it".to_owned()] {
        let (channel, id, csr) = (agent.clone(), of.clone(), Arc::clone(&csr));
        forever(tasks, 8, move |_, _| {
            let params = NewX509svidParams {
                entry_id: id.clone(),
                csr: csr.to_vec().into(),
            };
            let request = BatchNewX509svidRequest {
                params: vec![params; 100],
            };
            let mut client = SvidClient::new(channel.clone());
            async move {
                let _answer = client.batch_new_x509svid(request).await;
            }
        });
        let (channel, id, spki) = (agent.clone(), of.clone(), Arc::clone(&spki));
        forever(tasks, 8, move |_, _| {
            let item = Item {
                entry_id: id.clone(),
                spki: spki.to_vec().into(),
            };
            let request = IssueX509Request {
                items: vec![item; 100],
            };
            let mut client = IssuanceClient::new(channel.clone());
            async move {
                let _answer = client.issue_x509(request).await;
            }
        });
        let channel = agent.clone();
        forever(tasks, 32, move |task, nth| {
            let request = NewJwtsvidRequest {
                entry_id: of.clone(),
                audience: vec![format!("{task}-{nth}-{}", "x".repeat(900))],
            };
            let mut client = SvidClient::new(channel.clone());
            async move {
                let _answer = client.new_jwtsvid(request).await;
            }
        });
    }
    forever(tasks, 8, move |_, _| {
        let mut client = EntryClient::new(agent.clone());
        async move {
            let _answer = client
                .get_authorized_entries(GetAuthorizedEntriesRequest::default())
                .await;
        }
    });
}
