//! What agents and admins ask of the server: certificates, tokens, the entries.

use std::sync::Arc;

use api::entry::GetAuthorizedEntriesRequest;
use api::entry::entry_client::EntryClient;
use api::issuance::issuance_client::IssuanceClient;
use api::issuance::{IssueX509Request, issue_x509_request};
use api::svid::svid_client::SvidClient;
use api::svid::{
    BatchNewX509svidRequest, MintJwtsvidRequest, MintX509svidRequest, NewJwtsvidRequest,
    NewX509svidParams,
};
use bulla_tests::Domain;
use rcgen::{CertificateParams, KeyPair, PublicKeyData, SanType};
use tonic::transport::Channel;

use crate::changes::create;
use crate::load::Load;
use crate::observed::Observed;
use bulla_tests::{ServerEndpoint, certification_request, unix, wire_id};

/// Calls in flight.
const AT_ONCE: u32 = 16;
/// Items of a batch.
const BATCH: u32 = 50;

pub(crate) async fn measure(domain: &Domain) {
    let server = Observed::server(domain);
    let admin = unix(&domain.admin_socket()).await;
    let door = ServerEndpoint::of(domain).await;
    let agent = door.join("/bench-agent").await;
    let entry = create(&admin, "/issued", "/bench-agent").await;
    batches(server, &agent, &entry).await;
    tokens(server, &agent, &entry).await;
    mints(server, &admin).await;
    load("GetAuthorizedEntries of two", server, AT_ONCE, 1)
        .run(move |_, _| {
            let mut client = EntryClient::new(agent.clone());
            async move {
                let request = GetAuthorizedEntriesRequest::default();
                let answer = client.get_authorized_entries(request).await.unwrap();
                // The one of this bench and the agent's alias.
                assert_eq!(answer.into_inner().entries.len(), 2);
            }
        })
        .await;
}

const fn load(what: &str, process: Observed, at_once: u32, items: u32) -> Load<'_> {
    Load {
        what,
        process,
        at_once,
        items,
    }
}

async fn batches(server: Observed, agent: &Channel, entry: &str) {
    for items in [1, BATCH] {
        let params = (0..items).map(|_| NewX509svidParams {
            entry_id: entry.into(),
            csr: certification_request().0.into(),
        });
        let request = Arc::new(BatchNewX509svidRequest {
            params: params.collect(),
        });
        let agent = agent.clone();
        load("BatchNewX509SVID with CSRs", server, AT_ONCE, items)
            .run(move |_, _| {
                let (mut client, request) = (SvidClient::new(agent.clone()), Arc::clone(&request));
                async move {
                    let answer = client.batch_new_x509svid((*request).clone()).await;
                    let results = answer.unwrap().into_inner().results;
                    assert!(results.iter().all(|result| result.svid.is_some()));
                }
            })
            .await;
    }
    let items = (0..BATCH).map(|_| issue_x509_request::Item {
        entry_id: entry.into(),
        spki: KeyPair::generate()
            .unwrap()
            .subject_public_key_info()
            .into(),
    });
    let request = Arc::new(IssueX509Request {
        items: items.collect(),
    });
    let agent = agent.clone();
    load("IssueX509 with vouched keys", server, AT_ONCE, BATCH)
        .run(move |_, _| {
            let (mut client, request) = (IssuanceClient::new(agent.clone()), Arc::clone(&request));
            async move {
                let answer = client.issue_x509((*request).clone()).await;
                let results = answer.unwrap().into_inner().results;
                assert!(results.iter().all(|result| !result.chain.is_empty()));
            }
        })
        .await;
}

async fn tokens(server: Observed, agent: &Channel, entry: &str) {
    for at_once in [AT_ONCE, 64] {
        let (agent, entry) = (agent.clone(), entry.to_owned());
        load("NewJWTSVID", server, at_once, 1)
            .run(move |_, _| {
                let mut client = SvidClient::new(agent.clone());
                let request = NewJwtsvidRequest {
                    entry_id: entry.clone(),
                    audience: vec!["bench".into()],
                };
                async move {
                    client.new_jwtsvid(request).await.unwrap();
                }
            })
            .await;
    }
}

async fn mints(server: Observed, admin: &Channel) {
    let mut params = CertificateParams::default();
    let id = format!("spiffe://{}/minted", Domain::NAME);
    params
        .subject_alt_names
        .push(SanType::URI(id.try_into().unwrap()));
    let csr = params
        .serialize_request(&KeyPair::generate().unwrap())
        .unwrap();
    let csr = csr.der().to_vec();
    let channel = admin.clone();
    load("MintX509SVID, admin socket", server, AT_ONCE, 1)
        .run(move |_, _| {
            let mut client = SvidClient::new(channel.clone());
            let request = MintX509svidRequest {
                csr: csr.clone().into(),
                ttl: 3600,
            };
            async move {
                client.mint_x509svid(request).await.unwrap();
            }
        })
        .await;
    let channel = admin.clone();
    load("MintJWTSVID, admin socket", server, AT_ONCE, 1)
        .run(move |_, _| {
            let mut client = SvidClient::new(channel.clone());
            let request = MintJwtsvidRequest {
                id: Some(wire_id("/minted")),
                audience: vec!["bench".into()],
                ttl: 300,
            };
            async move {
                client.mint_jwtsvid(request).await.unwrap();
            }
        })
        .await;
}
