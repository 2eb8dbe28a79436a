//! Agents: attestation as a stranger, renewal as an agent, administration as admin.

use api::agent::attest_agent_request::{Params, Step};
use api::agent::{
    AgentX509svidParams, AttestAgentRequest, AttestAgentResponse, BanAgentRequest,
    CountAgentsRequest, CreateJoinTokenRequest, DeleteAgentRequest, GetAgentRequest,
    ListAgentsRequest, PostStatusRequest, RenewAgentRequest, attest_agent_response,
    count_agents_request, list_agents_request,
};
use api::convert::id_to_wire;
use api::types::AttestationData;
use tonic::{Code, Status};

use super::*;
use crate::rig::csr;

fn attestation(kind: &str, token: &str, csr: Vec<u8>) -> AttestAgentRequest {
    AttestAgentRequest {
        step: Some(Step::Params(Params {
            data: Some(AttestationData {
                r#type: kind.into(),
                payload: token.to_owned().into(),
            }),
            params: Some(AgentX509svidParams { csr: csr.into() }),
        })),
    }
}

async fn attest(
    clients: &mut Clients,
    requests: Vec<AttestAgentRequest>,
) -> Result<Option<AttestAgentResponse>, Status> {
    let answer = clients
        .agents
        .attest_agent(tokio_stream::iter(requests))
        .await?;
    answer.into_inner().message().await
}

async fn token(clients: &mut Clients) -> String {
    let request = CreateJoinTokenRequest {
        ttl: 60,
        ..Default::default()
    };
    clients
        .agents
        .create_join_token(request)
        .await
        .unwrap()
        .into_inner()
        .value
}

#[tokio::test]
async fn a_join_token_attests_once() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let mut stranger = connect(&rig, Who::Anonymous).await;
    let token = token(&mut admin).await;
    // A malformed CSR is refused and does not burn the token.
    let error = attest(
        &mut stranger,
        vec![attestation("join_token", &token, b"no csr".into())],
    )
    .await
    .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    let request = || vec![attestation("join_token", &token, csr())];
    let answer = attest(&mut stranger, request()).await.unwrap().unwrap();
    let Some(attest_agent_response::Step::Result(result)) = answer.step else {
        panic!("no result: {answer:?}");
    };
    assert!(!result.reattestable);
    let id = result.svid.unwrap().id.unwrap();
    assert!(
        id.path.starts_with("/spire/agent/join_token/"),
        "{}",
        id.path
    );
    let error = attest(&mut stranger, request()).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    assert!(!error.message().contains(&token));

    let get = GetAgentRequest {
        id: Some(id),
        output_mask: None,
    };
    let agent = admin.agents.get_agent(get).await.unwrap().into_inner();
    assert!(
        agent
            .x509svid_serial_number
            .bytes()
            .all(|b| b.is_ascii_digit())
    );
}

#[tokio::test]
async fn what_is_no_attestation_is_refused() {
    let rig = Rig::memory().await;
    let mut stranger = connect(&rig, Who::Anonymous).await;
    let unknown = attest(&mut stranger, vec![attestation("tpm", "x", csr())])
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::FailedPrecondition);
    let out_of_order = AttestAgentRequest {
        step: Some(Step::ChallengeResponse("x".into())),
    };
    let empty = AttestAgentRequest { step: None };
    let no_data = AttestAgentRequest {
        step: Some(Step::Params(Params::default())),
    };
    for request in [out_of_order, empty, no_data] {
        let error = attest(&mut stranger, vec![request]).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
    let long = attest(
        &mut stranger,
        vec![attestation("join_token", &"x".repeat(100_000), csr())],
    )
    .await;
    assert_eq!(long.unwrap_err().code(), Code::InvalidArgument);
    assert!(attest(&mut stranger, Vec::new()).await.unwrap().is_none());
    // A stranger may attest, and nothing else.
    let error = stranger
        .agents
        .create_join_token(CreateJoinTokenRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn renewal_and_status_are_the_agents_own() {
    let rig = Rig::memory().await;
    let node = rig.agent().await;
    let mut agent = connect(&rig, Who::agent(&node)).await;
    let renew = |csr: Vec<u8>| RenewAgentRequest {
        params: Some(AgentX509svidParams { csr: csr.into() }),
    };
    let svid = agent
        .agents
        .renew_agent(renew(csr()))
        .await
        .unwrap()
        .into_inner()
        .svid
        .unwrap();
    assert_eq!(svid.id, Some(id_to_wire(&node.id)));
    for bad in [renew(b"no csr".into()), RenewAgentRequest { params: None }] {
        let error = agent.agents.renew_agent(bad).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    let status = PostStatusRequest {
        current_bundle_serial: 1,
        agent_version: "1.2.3\n".into(),
    };
    agent.agents.post_status(status).await.unwrap();
    let registry = rig.server.state.registry();
    assert_eq!(registry.node(&node.id).unwrap().agent_version, "1.2.3");
}

#[tokio::test]
async fn admins_list_ban_and_evict() {
    let rig = Rig::memory().await;
    let (one, two) = (rig.agent().await, rig.agent().await);
    let mut admin = connect(&rig, Who::Local).await;
    let ban = |id: &SpiffeId| BanAgentRequest {
        id: Some(id_to_wire(id)),
    };
    admin.agents.ban_agent(ban(&one.id)).await.unwrap();
    let banned = |banned| list_agents_request::Filter {
        by_banned: Some(banned),
        ..Default::default()
    };
    let list = ListAgentsRequest {
        filter: Some(banned(true)),
        ..Default::default()
    };
    let agents = admin
        .agents
        .list_agents(list)
        .await
        .unwrap()
        .into_inner()
        .agents;
    assert_eq!(agents.len(), 1);
    assert_eq!(agents[0].id, Some(id_to_wire(&one.id)));

    let evict = |id: &SpiffeId| DeleteAgentRequest {
        id: Some(id_to_wire(id)),
    };
    admin.agents.delete_agent(evict(&two.id)).await.unwrap();
    let error = admin.agents.delete_agent(evict(&two.id)).await;
    assert_eq!(error.unwrap_err().code(), Code::NotFound);
    let web = rig.id("/web");
    let error = admin.agents.ban_agent(ban(&web)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn agents_are_paged_and_filtered_by_expiry() {
    let rig = Rig::memory().await;
    let _two = (rig.agent().await, rig.agent().await);
    let mut admin = connect(&rig, Who::Local).await;
    let page = ListAgentsRequest {
        page_size: 1,
        ..Default::default()
    };
    let first = admin
        .agents
        .list_agents(page.clone())
        .await
        .unwrap()
        .into_inner();
    let second = ListAgentsRequest {
        page_token: first.next_page_token.clone(),
        ..page
    };
    let second = admin.agents.list_agents(second).await.unwrap().into_inner();
    assert_ne!(first.agents[0].id, second.agents[0].id);
    assert!(!first.next_page_token.is_empty() && second.next_page_token.is_empty());

    let count = |before: &str| CountAgentsRequest {
        filter: Some(count_agents_request::Filter {
            by_expires_before: before.into(),
            ..Default::default()
        }),
    };
    let counted = admin
        .agents
        .count_agents(count("2200-01-01 00:00:00 +0000 +00"))
        .await
        .unwrap();
    assert_eq!(counted.into_inner().count, 2);
    // A time that cannot be read must not match every agent.
    let error = admin
        .agents
        .count_agents(count("tomorrow"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn d12_what_spire_refuses_is_refused_with_its_code() {
    let rig = Rig::memory().await;
    let mut stranger = connect(&rig, Who::Anonymous).await;
    let untyped = attest(&mut stranger, vec![attestation("", "x", csr())]).await;
    assert_eq!(untyped.unwrap_err().code(), Code::InvalidArgument);
    let mut admin = connect(&rig, Who::Local).await;
    let nothing = api::bundle::AppendBundleRequest::default();
    let appended = admin.bundles.append_bundle(nothing).await;
    assert_eq!(appended.unwrap_err().code(), Code::InvalidArgument);
    let mut agent = connect(&rig, Who::agent(&rig.agent().await)).await;
    let nothing = api::svid::BatchNewX509svidRequest::default();
    let issued = agent.svids.batch_new_x509svid(nothing).await;
    assert_eq!(issued.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn token_orders_are_checked() {
    let rig = Rig::memory().await;
    let mut admin = connect(&rig, Who::Local).await;
    let bad = [
        CreateJoinTokenRequest {
            ttl: -1,
            ..Default::default()
        },
        CreateJoinTokenRequest {
            ttl: i32::MAX,
            ..Default::default()
        },
        CreateJoinTokenRequest {
            token: "short".into(),
            ..Default::default()
        },
        CreateJoinTokenRequest {
            agent_id: wire_id("/spire/agent/x/y"),
            ..Default::default()
        },
        CreateJoinTokenRequest {
            agent_id: wire_id("no slash"),
            ..Default::default()
        },
    ];
    for request in bad {
        let error = admin.agents.create_join_token(request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
    // As `token generate -spiffeID`: the agent gets another name through an entry.
    let aliased = CreateJoinTokenRequest {
        agent_id: wire_id("/host"),
        ..Default::default()
    };
    admin.agents.create_join_token(aliased).await.unwrap();
    let registry = rig.server.state.registry();
    let entry = registry.entries().next().unwrap();
    assert_eq!(
        entry.selectors.as_slice()[0].as_str(),
        format!("spiffe_id:{}", entry.parent_id)
    );
}
