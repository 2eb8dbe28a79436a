//! A node proxy that may act for other workloads: subscriptions for any selectors
//! and processes, and tokens for audiences nobody has.

use std::time::Duration;

use api::delegated_identity::delegated_identity_client::DelegatedIdentityClient;
use api::delegated_identity::{FetchJwtsviDsRequest, SubscribeToX509sviDsRequest};
use api::types::Selector;
use bulla_tests::unix;
use tokio::task::JoinSet;

use super::{Target, forever};
use crate::stage::ATTACKER_UID;

pub(crate) async fn attack(target: &Target, tasks: &mut JoinSet<()>) {
    let channel = unix(&target.agent_admin).await;
    let selector = |nth: u64| Selector {
        r#type: "unix".into(),
        value: format!("uid:{}", u64::from(ATTACKER_UID) + nth % 7),
    };
    let subscribed = channel.clone();
    forever(tasks, 90, move |task, nth| {
        let mut client = DelegatedIdentityClient::new(subscribed.clone());
        async move {
            let request = SubscribeToX509sviDsRequest {
                selectors: vec![selector(nth + task as u64)],
                pid: 0,
            };
            if let Ok(stream) = client.subscribe_to_x509svi_ds(request).await {
                let mut stream = stream.into_inner();
                let _first = stream.message().await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    forever(tasks, 8, move |task, nth| {
        let mut client = DelegatedIdentityClient::new(channel.clone());
        async move {
            let request = FetchJwtsviDsRequest {
                audience: vec![format!("{task}-{nth}-{}", "x".repeat(900))],
                selectors: vec![selector(0)],
                pid: 0,
            };
            let _answer = client.fetch_jwtsvi_ds(request).await;
        }
    });
}
