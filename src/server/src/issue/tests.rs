//! No record, no credential; no entry, no credential; and what is issued verifies.

use std::time::Duration;

use records::{AuditKind, AuditOutcome};

use super::*;
use crate::caller::Caller;
use crate::failure::Kind;
use crate::rig::{ADMIN, Agent, Rig, serial_of, subject_key};

fn by_entry(agent: &SpiffeId, entry: &EntryId) -> X509Request {
    X509Request {
        right: X509Right::Entry {
            agent: agent.clone(),
            entry: entry.clone(),
        },
        key: subject_key(),
    }
}

fn token_for(agent: &Agent, entry: &EntryId, audience: &[&str]) -> JwtRequest {
    JwtRequest {
        right: JwtRight::Entry {
            agent: agent.id.clone(),
            entry: entry.clone(),
        },
        audience: audience.iter().map(|a| (*a).to_owned()).collect(),
    }
}

impl Rig {
    async fn issue(
        &self,
        agent: &Agent,
        requests: Vec<X509Request>,
    ) -> Vec<Result<IssuedX509, IssueRefusal>> {
        let caller = Caller::Spiffe(agent.id.clone());
        self.server.issuer.issue_x509(&caller, requests).await
    }

    async fn mint(&self, path: &str, ttl: Option<u32>) -> Result<IssuedX509, IssueRefusal> {
        let request = X509Request {
            right: X509Right::Mint {
                spiffe_id: self.id(path),
                dns_names: Vec::new(),
                ttl: ttl.map(Seconds),
            },
            key: subject_key(),
        };
        self.server
            .issuer
            .issue_x509(&ADMIN, vec![request])
            .await
            .remove(0)
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_recorded_item_by_item() {
    let rig = Rig::memory().await;
    let (agent, other) = (rig.agent().await, rig.agent().await);
    let mine = rig.create(rig.entry(&agent.id, "web")).await;
    let theirs = rig.create(rig.entry(&other.id, "db")).await;
    let nobody = EntryId::parse("nobody").unwrap();
    let requests = [&mine.id, &theirs.id, &nobody].map(|id| by_entry(&agent.id, id));
    let issued = rig.issue(&agent, requests.into()).await;
    let svid = &issued[0].as_ref().unwrap().svid;
    assert_eq!(svid.spiffe_id, mine.spiffe_id);
    assert!(rig.verifies(svid));
    for (n, id) in [(1, &theirs.id), (2, &nobody)] {
        assert_eq!(
            issued[n].as_ref().unwrap_err(),
            &IssueRefusal::NotAuthorised(id.clone())
        );
        assert_eq!(issued[n].as_ref().unwrap_err().kind(), Kind::Denied);
    }
    assert_eq!(rig.count(AuditKind::IssueX509, AuditOutcome::Granted), 1);
    assert_eq!(rig.count(AuditKind::IssueX509, AuditOutcome::Refused), 2);
}

#[tokio::test]
async fn the_record_names_the_serial_the_entry_and_the_authority() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let issued = rig
        .issue(&agent, vec![by_entry(&agent.id, &entry.id)])
        .await
        .remove(0)
        .unwrap();
    let records = rig.records();
    let record = records.last().unwrap().view();
    assert_eq!(record.serial, serial_of(&issued.svid).as_bytes());
    assert_eq!(record.entry_id, entry.id.as_str());
    assert_eq!(record.for_whom, entry.spiffe_id.as_str());
    assert_eq!(record.not_after, issued.svid.not_after.0);
    assert_eq!(
        record.authority_id,
        rig.server.authorities.x509().unwrap().id()
    );
    assert_eq!(record.caller, records::Caller::Spiffe(agent.id.as_str()));
}

#[tokio::test]
async fn no_record_no_credential() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let token = rig.token().await;
    rig.journal.close();
    let issued = rig
        .issue(&agent, vec![by_entry(&agent.id, &entry.id)])
        .await
        .remove(0);
    assert_eq!(issued.unwrap_err().kind(), Kind::Unavailable);
    let caller = Caller::Spiffe(agent.id.clone());
    let jwt = rig
        .server
        .issuer
        .issue_jwt(&caller, token_for(&agent, &entry.id, &["db"]))
        .await;
    assert_eq!(jwt.unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(
        rig.mint("/x", None).await.unwrap_err().kind(),
        Kind::Unavailable
    );
    assert_eq!(
        rig.attest(&token).await.unwrap_err().kind(),
        Kind::Unavailable
    );
    assert_eq!(
        rig.server.state.token_counts("").0,
        1,
        "the token was not used up"
    );
}

#[tokio::test]
async fn lifetimes_are_clamped_to_the_most_and_to_the_authority() {
    let rig = Rig::with(|config| config.svid.max_x509_ttl = "2h".into()).await;
    let now = rig.clock.now();
    let usual = rig.mint("/a", None).await.unwrap().svid;
    assert_eq!(usual.not_after, now.plus(Seconds(3_600)));
    let greedy = rig.mint("/a", Some(1_000_000)).await.unwrap().svid;
    assert_eq!(greedy.not_after, now.plus(Seconds(7_200)));
    // Without rotation, near the authority's end.
    let end = rig.server.authorities.x509().unwrap().not_after();
    rig.clock
        .advance(Duration::from_secs(u64::from(end.since(now).0) - 100));
    rig.settle().await;
    let late = rig.mint("/a", None).await.unwrap().svid;
    assert_eq!(late.not_after, end);
}

#[tokio::test]
async fn reserved_and_foreign_identities_are_not_minted() {
    let rig = Rig::memory().await;
    for path in ["/spire/server", "/spire/agent/join_token/x"] {
        assert_eq!(
            rig.mint(path, None).await.unwrap_err().kind(),
            Kind::Invalid,
            "{path}"
        );
    }
    let request = JwtRequest {
        right: JwtRight::Mint {
            spiffe_id: SpiffeId::parse("spiffe://other.test/x").unwrap(),
            ttl: None,
        },
        audience: vec!["db".into()],
    };
    let refused = rig
        .server
        .issuer
        .issue_jwt(&ADMIN, request)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert_eq!(rig.count(AuditKind::MintJwt, AuditOutcome::Refused), 1);
}

#[tokio::test]
async fn a_jwt_is_bound_to_its_record_by_its_jti() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let caller = Caller::Spiffe(agent.id.clone());
    let issued = rig
        .server
        .issuer
        .issue_jwt(&caller, token_for(&agent, &entry.id, &["db"]))
        .await
        .unwrap();
    assert_eq!(issued.svid.expires_at, rig.clock.now().plus(Seconds(300)));
    let records = rig.records();
    let record = records.last().unwrap().view();
    assert_eq!(record.kind, AuditKind::IssueJwt);
    assert_eq!(record.detail, "db");
    let claims = issued.svid.token.split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["jti"], record.jti);
    assert_eq!(claims["sub"], entry.spiffe_id.as_str());
    let empty = rig
        .server
        .issuer
        .issue_jwt(&caller, token_for(&agent, &entry.id, &[]))
        .await;
    assert_eq!(empty.unwrap_err().kind(), Kind::Invalid);
}

#[tokio::test]
async fn a_clock_far_behind_the_records_stops_signing() {
    let rig = Rig::memory().await;
    rig.clock.step_wall(-50);
    assert!(rig.mint("/a", None).await.is_ok());
    rig.clock.step_wall(-100);
    let refused = rig.mint("/a", None).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    assert!(refused.to_string().contains("clock"), "{refused}");
    rig.clock.step_wall(200);
    assert!(rig.mint("/a", None).await.is_ok());
}

#[tokio::test]
async fn an_expired_entry_authorises_nothing() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let end = rig.clock.now().plus(Seconds(10));
    let entry = rig
        .create(rig.entry_with(&agent.id, "web", |fields| fields.expires_at = Some(end)))
        .await;
    let issued = rig
        .issue(&agent, vec![by_entry(&agent.id, &entry.id)])
        .await;
    assert!(issued[0].is_ok());
    rig.clock.advance(Duration::from_secs(10));
    rig.settle().await;
    let issued = rig
        .issue(&agent, vec![by_entry(&agent.id, &entry.id)])
        .await;
    assert!(issued[0].is_err());
    crate::housekeeping::sweep(&rig.server).await;
    assert_eq!(rig.server.state.registry().counts().entries, 0);
}

#[tokio::test]
async fn the_servers_own_svid_is_recorded_and_shown() {
    let rig = Rig::memory().await;
    assert!(rig.server.identity.is_set());
    assert_eq!(rig.count(AuditKind::ServerX509, AuditOutcome::Granted), 1);
    let renewed = rig
        .server
        .issuer
        .renew_server_svid(&rig.server.identity)
        .await
        .unwrap();
    assert_eq!(renewed.renew_at, rig.clock.now().plus(Seconds(1_800)));
}
