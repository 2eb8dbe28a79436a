//! Scoped tokens: decided by policy, recorded durably, signed.

use std::sync::Arc;

use api::policy::policy_client::PolicyClient;
use api::policy::{File, PolicySetPart};
use api::token::MintRequest;
use api::token::mint_request::Binding;
use api::token::tokens_client::TokensClient;
use bulla_tests::Domain;

use crate::changes::create;
use crate::load::Load;
use crate::observed::Observed;
use bulla_tests::{ServerEndpoint, unix};

/// Calls in flight.
const AT_ONCE: [u32; 2] = [16, 64];
/// Workloads that ask in turn: each may ask so often in a second.
const WORKLOADS: u32 = 64;

const CATALOGUE: &str = "
audience: bench
owner: team
description: Measured.
profiles: [at+jwt]
max_ttl: 10m
permissions:
  - {name: 'bench:read', description: Read., risk: low, endpoints: {http: ['GET /items/{id}']}}
  - {name: 'bench:write', description: Write., risk: low}
";

const POLICY: &str = r#"
@id("bench-1") @owner("team") @rationale("measured")
permit (principal in Path::"spiffe://example.org/scoped", action in [Action::"bench:read", Action::"bench:write"], resource == Audience::"bench");
"#;

pub(crate) async fn measure(domain: &Domain) {
    let server = Observed::server(domain);
    let admin = unix(&domain.admin_socket()).await;
    let door = ServerEndpoint::of(domain).await;
    let agent = door.join("/scoped-agent").await;
    let mut entries = Vec::new();
    for n in 0..WORKLOADS {
        entries.push(create(&admin, &format!("/scoped/w{n}"), "/scoped-agent").await);
    }
    let file = |name: &str, text: &str| File {
        name: name.into(),
        text: text.into(),
    };
    let set = PolicySetPart {
        files: vec![
            file("catalogue/bench.yaml", CATALOGUE),
            file("policies/bench.cedar", POLICY),
        ],
        ..Default::default()
    };
    let mut policies = PolicyClient::new(admin);
    let activated = policies.activate(tokio_stream::iter([set])).await;
    let activated = activated.unwrap().into_inner();
    assert!(activated.activation.is_some(), "{activated:?}");
    let entries = Arc::new(entries);
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for at_once in AT_ONCE {
        let load = Load {
            what: "Mint of a scoped token",
            process: server,
            at_once,
            items: 1,
        };
        let (agent, entries) = (agent.clone(), Arc::clone(&entries));
        let turn = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        load.run(move |_, _| {
            let n = turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut client = TokensClient::new(agent.clone());
            let request = MintRequest {
                entry_id: entries[n % entries.len()].clone(),
                audience: "bench".into(),
                permissions: vec!["bench:read".into(), "bench:write".into()],
                binding: Some(Binding::CertificateSha256(vec![7; 32].into())),
                svid_not_after: i64::try_from(now).unwrap() + 3_600,
                attested_at: i64::try_from(now).unwrap(),
                ..Default::default()
            };
            async move {
                let minted = client.mint(request).await.unwrap().into_inner();
                assert!(minted.error.is_none(), "{:?}", minted.error);
            }
        })
        .await;
    }
}
