//! What the gate lets through: every RPC with every sort of caller, and what each
//! refusal tells an agent to do.

use std::net::SocketAddr;
use std::time::Duration;

use api::status::denial_reason;
use api::types::permission_denied_details::Reason;
use identity::{CertificateSerial, EntryFields, SpiffeId, Timestamp};
use tonic::Code;

use super::gate::Denial;
use super::origin::Origin;
use super::table::TABLE;
use super::*;
use crate::rig::{ADMIN, Agent, Rig, START, csr, serial_of};

mod forged;

const OWN_UID: u32 = 1000;
const RENEW: &str = "/spire.api.server.agent.v1.Agent/RenewAgent";
const COUNT: &str = "/spire.api.server.agent.v1.Agent/CountAgents";
const GET_BUNDLE: &str = "/spire.api.server.bundle.v1.Bundle/GetBundle";
const FEDERATED: &str = "/spire.api.server.bundle.v1.Bundle/GetFederatedBundle";

fn gate(rig: &Rig) -> Gate {
    let server = &rig.server;
    Gate::new(
        server.state.clone(),
        server.attestation.clone(),
        server.authorities.clone(),
        server.clock.clone(),
        OWN_UID,
    )
}

fn local(uid: u32) -> Origin {
    Origin::Local { uid, pid: 7 }
}

fn anonymous() -> Origin {
    Origin::Address(SocketAddr::from(([192, 0, 2, 1], 4000)))
}

fn peer(id: &SpiffeId, serial: &CertificateSerial) -> Origin {
    Origin::Test(TestPeer {
        spiffe_id: id.clone(),
        serial: serial.clone(),
        not_after: Timestamp(START.0 + 3600),
    })
}

fn agent_peer(agent: &Agent) -> Origin {
    peer(&agent.id, &agent.serial)
}

async fn workload(rig: &Rig, name: &str, change: impl FnOnce(&mut EntryFields)) -> Origin {
    let parent = rig.id("/spire/agent/join_token/none");
    let entry = rig.create(rig.entry_with(&parent, name, change)).await;
    peer(&entry.spiffe_id, &CertificateSerial::new(&[9]))
}

async fn status(rig: &Rig, method: &str, origin: &Origin) -> Status {
    let denial: Denial = gate(rig).admit(method, Some(origin)).await.unwrap_err();
    denial.status
}

/// What the reference says of each RPC (roles, section 8), apart from the table.
fn may_call(method: &str, role: &str) -> bool {
    let (service, rpc) = method.rsplit_once('/').unwrap();
    let agents_only = matches!(
        rpc,
        "RenewAgent"
            | "PostStatus"
            | "GetAuthorizedEntries"
            | "SyncAuthorizedEntries"
            | "BatchNewX509SVID"
            | "NewJWTSVID"
            | "BatchNewWITSVID"
            | "Follow"
            | "IssueX509"
            | "Mint"
    );
    let downstream_only = matches!(
        rpc,
        "NewDownstreamX509CA" | "PublishJWTAuthority" | "PublishWITAuthority"
    );
    let local_only = [".debug.", ".logger.", ".health.", ".reflection."];
    if matches!(rpc, "GetBundle" | "AttestAgent" | "Signed") {
        return role != "stranger";
    }
    if agents_only {
        return role == "agent";
    }
    if downstream_only {
        return role == "downstream";
    }
    if local_only.iter().any(|part| service.contains(part)) {
        return matches!(role, "local" | "root");
    }
    if rpc == "GetFederatedBundle" && role == "agent" {
        return true;
    }
    matches!(role, "local" | "root" | "admin")
}

#[tokio::test]
async fn every_rpc_with_every_role() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let callers = [
        ("anonymous", anonymous()),
        ("local", local(OWN_UID)),
        ("root", local(0)),
        ("stranger", local(OWN_UID + 1)),
        ("agent", agent_peer(&agent)),
        ("workload", workload(&rig, "web", |_| {}).await),
        (
            "admin",
            workload(&rig, "ops", |entry| entry.admin = true).await,
        ),
        (
            "downstream",
            workload(&rig, "nested", |entry| entry.downstream = true).await,
        ),
        (
            "foreign",
            peer(
                &SpiffeId::parse("spiffe://other.test/spire/agent/x/y").unwrap(),
                &agent.serial,
            ),
        ),
    ];
    let gate = gate(&rig);
    for (method, _) in TABLE {
        for (role, origin) in &callers {
            let admitted = gate.admit(method, Some(origin)).await;
            assert_eq!(admitted.is_ok(), may_call(method, role), "{role} {method}");
        }
    }
}

#[test]
fn the_table_covers_every_rpc_and_nothing_else() {
    check_coverage(api::FILE_DESCRIPTOR_SET).unwrap();
}

#[test]
fn a_missing_row_is_noticed() {
    use prost::Message as _;
    let mut set = prost_types::FileDescriptorSet::decode(api::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter_mut().flat_map(|file| &mut file.service);
    let service = services.into_iter().find(|s| s.name() == "Entry").unwrap();
    service.method[0].name = Some("DeleteEverything".into());
    let fault = check_coverage(&set.encode_to_vec()).unwrap_err();
    assert!(
        fault.contains("Entry/DeleteEverything has no row"),
        "{fault}"
    );
    assert!(fault.contains("Entry/CountEntries names no RPC"), "{fault}");
}

#[tokio::test]
async fn what_is_not_known_is_refused() {
    let rig = Rig::memory().await;
    let gate = gate(&rig);
    let unknown = gate
        .admit("/spire.api.server.entry.v1.Entry/Nope", Some(&local(0)))
        .await;
    assert_eq!(unknown.unwrap_err().status.code(), Code::Unimplemented);
    // No listener said where the call comes from.
    let nowhere = gate.admit(GET_BUNDLE, None).await;
    assert_eq!(nowhere.unwrap_err().status.code(), Code::PermissionDenied);
    // What the admin socket alone offers is not there on the network.
    let debug = "/spire.api.server.debug.v1.Debug/GetInfo";
    assert_eq!(
        status(&rig, debug, &anonymous()).await.code(),
        Code::Unimplemented
    );
    assert_eq!(
        status(&rig, debug, &local(1)).await.code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn a_refusal_tells_an_agent_what_to_do() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let reason =
        async |method: &str, origin: &Origin| denial_reason(&status(&rig, method, origin).await);
    let admin = workload(&rig, "ops", |entry| entry.admin = true).await;
    assert_eq!(reason(RENEW, &admin).await, Some(Reason::AgentNotAttested));
    assert_eq!(reason(RENEW, &anonymous()).await, None);
    assert_eq!(reason(RENEW, &local(0)).await, None);
    assert_eq!(reason(COUNT, &agent_peer(&agent)).await, None);
    let stale = peer(&agent.id, &CertificateSerial::new(&[1]));
    assert_eq!(reason(RENEW, &stale).await, Some(Reason::AgentNotActive));

    rig.server.attestation.ban(&ADMIN, &agent.id).await.unwrap();
    assert_eq!(
        reason(RENEW, &agent_peer(&agent)).await,
        Some(Reason::AgentBanned)
    );
    assert_eq!(
        reason(FEDERATED, &agent_peer(&agent)).await,
        Some(Reason::AgentBanned)
    );
    rig.server
        .attestation
        .evict(&ADMIN, &agent.id)
        .await
        .unwrap();
    assert_eq!(
        reason(RENEW, &agent_peer(&agent)).await,
        Some(Reason::AgentNotAttested)
    );
}

#[tokio::test]
async fn a_certificate_that_expires_on_an_open_connection_is_refused() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let gate = gate(&rig);
    assert!(gate.admit(RENEW, Some(&agent_peer(&agent))).await.is_ok());
    let admin = workload(&rig, "ops", |entry| entry.admin = true).await;
    assert!(gate.admit(COUNT, Some(&admin)).await.is_ok());

    rig.clock.advance(Duration::from_secs(3600));
    rig.settle().await;
    let refused = status(&rig, RENEW, &agent_peer(&agent)).await;
    assert_eq!(denial_reason(&refused), Some(Reason::AgentExpired));
    assert_eq!(
        status(&rig, COUNT, &admin).await.code(),
        Code::PermissionDenied
    );
    // Not even what anyone may call: an expired certificate proves nothing.
    assert_eq!(
        status(&rig, GET_BUNDLE, &admin).await.code(),
        Code::PermissionDenied
    );
}

#[tokio::test]
async fn the_first_use_of_a_renewed_svid_retires_the_old_one() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let renewed = rig
        .server
        .attestation
        .renew(&agent.id, &csr())
        .await
        .unwrap();
    let (old, new) = (agent_peer(&agent), peer(&agent.id, &serial_of(&renewed)));
    let gate = gate(&rig);
    assert!(
        gate.admit(RENEW, Some(&old)).await.is_ok(),
        "until the new one is used"
    );
    assert!(gate.admit(RENEW, Some(&new)).await.is_ok());
    let refused = gate.admit(RENEW, Some(&old)).await.unwrap_err();
    assert_eq!(denial_reason(&refused.status), Some(Reason::AgentNotActive));
}

#[tokio::test]
async fn a_role_is_lost_with_the_entry_that_gave_it() {
    let rig = Rig::memory().await;
    let parent = rig.id("/spire/agent/join_token/none");
    let made = rig.create(rig.entry_with(&parent, "ops", |entry| {
        entry.admin = true;
        entry.expires_at = Some(Timestamp(START.0 + 60));
    }));
    let entry = made.await;
    let admin = peer(&entry.spiffe_id, &CertificateSerial::new(&[9]));
    let gate = gate(&rig);
    assert!(gate.admit(COUNT, Some(&admin)).await.is_ok());
    rig.clock.advance(Duration::from_secs(60));
    rig.settle().await;
    assert!(
        gate.admit(COUNT, Some(&admin)).await.is_err(),
        "the entry has expired"
    );
}

#[tokio::test]
async fn a_view_that_is_too_old_decides_nothing() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    // The boot clock moves on, and nothing comes through the change log meanwhile.
    // (The log's own probe may come in between, so once is not enough.)
    let mut codes = Vec::new();
    for _ in 0..5 {
        rig.clock.advance(Duration::from_secs(6));
        let admitted = gate(&rig).admit(RENEW, Some(&agent_peer(&agent))).await;
        codes.push(admitted.err().map(|denial| denial.status.code()));
    }
    assert!(codes.contains(&Some(Code::Unavailable)), "{codes:?}");
}
