//! Who may fill the decision log and its disk, through the parts that write to it.

use records::{AuditKind, AuditOutcome};

use super::*;
use crate::issue::{JwtRequest, JwtRight, X509Request, X509Right};
use crate::listeners::ops::Vitals as _;
use crate::revocation::Order;
use crate::rig::{ADMIN, Agent, Rig, csr, serial_of, subject_key};

const MIB: u64 = 1 << 20;

fn jwt(agent: &Agent, entry: &identity::EntryId, audience: Vec<String>) -> JwtRequest {
    JwtRequest {
        right: JwtRight::Entry {
            agent: agent.id.clone(),
            entry: entry.clone(),
        },
        audience,
    }
}

fn caller(agent: &Agent) -> Caller {
    Caller::Spiffe(agent.id.clone())
}

#[tokio::test]
async fn s8_strangers_that_fail_to_attest_cannot_fill_the_journal() {
    let rig = Rig::memory().await;
    let calls = limits::ADDRESS_REFUSALS.burst * 5;
    let csr = csr();
    for _ in 0..calls {
        rig.attest_with("no such token", &csr).await.unwrap_err();
    }
    let recorded = rig.count(AuditKind::Attest, AuditOutcome::Refused);
    assert_eq!(
        u64::try_from(recorded).unwrap(),
        limits::ADDRESS_REFUSALS.burst
    );
    // The others are told in one record.
    rig.server.audit.tell_unrecorded().await;
    rig.server.audit.tell_unrecorded().await;
    assert_eq!(rig.count(AuditKind::Refusal, AuditOutcome::Refused), 1);
    let records = rig.records();
    let told = records.last().unwrap().view();
    let missing = calls - limits::ADDRESS_REFUSALS.burst;
    assert!(
        told.reason
            .starts_with(&format!("{missing} more refusals of address 192.0.2.1"))
    );
    // Whoever has a token is attested all the same.
    let token = rig.token().await;
    rig.attest_with(&token, &csr).await.unwrap();
}

#[tokio::test]
async fn a2_one_entry_cannot_use_up_the_journal_nor_its_nodes_share() {
    let rig = Rig::with(|config| {
        config.audit.entry_kib = 1;
        config.audit.peer_kib = 4;
    })
    .await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "loud")).await;
    let quiet = rig.create(rig.entry(&agent.id, "quiet")).await;
    let issuer = &rig.server.issuer;
    let before = rig.journal.head().seq;
    let mut refused = None;
    for n in 0..2_000 {
        let audience = (0..16)
            .map(|m| format!("{n}-{m}-{}", "x".repeat(1_000)))
            .collect();
        let asked = jwt(&agent, &entry.id, audience);
        if let Err(refusal) = issuer.issue_jwt(&caller(&agent), asked).await {
            refused = Some(refusal);
            break;
        }
    }
    let refused = refused.expect("a bound");
    assert_eq!(refused.kind(), Kind::Exhausted);
    assert!(
        refused.to_string().contains("loud") || refused.to_string().contains(entry.id.as_str())
    );
    let written: usize = rig
        .journal
        .read(before + 1)
        .unwrap()
        .map(|stored| stored.unwrap().payload.len())
        .sum();
    let most = usize::try_from(limits::SHARE_BURST_SECONDS).unwrap() + 1;
    assert!(written <= most << 10, "{written} bytes");
    let asked = jwt(&agent, &quiet.id, vec!["db".into()]);
    issuer.issue_jwt(&caller(&agent), asked).await.unwrap();
    rig.clock.advance(std::time::Duration::from_secs(2));
    let asked = jwt(&agent, &entry.id, vec!["db".into()]);
    issuer.issue_jwt(&caller(&agent), asked).await.unwrap();
}

#[tokio::test]
async fn a2_in_a_batch_only_what_is_beyond_the_share_is_refused() {
    let rig = Rig::with(|config| config.audit.entry_kib = 1).await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let request = || X509Request {
        right: X509Right::Entry {
            agent: agent.id.clone(),
            entry: entry.id.clone(),
        },
        key: subject_key(),
    };
    let issuer = &rig.server.issuer;
    let mut issued = Vec::new();
    for _ in 0..4 {
        let requests = (0..400).map(|_| request()).collect();
        issued.extend(issuer.issue_x509(&caller(&agent), requests).await);
    }
    let granted = issued.iter().filter(|one| one.is_ok()).count();
    assert!((10..1_600).contains(&granted), "{granted}");
    assert_eq!(
        rig.count(AuditKind::IssueX509, AuditOutcome::Granted),
        granted
    );
    let refused = issued.iter().find_map(|one| one.as_ref().err()).unwrap();
    assert_eq!(refused.kind(), Kind::Exhausted);
}

#[tokio::test]
async fn c10_a_full_disk_stops_strangers_then_issuance_and_never_bans_or_revocations() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    let disk = &rig.server.audit.0.disk;
    let ready = || {
        crate::health::Health(Arc::clone(&rig.server))
            .report()
            .ready
    };
    let ask = || {
        let asked = jwt(&agent, &entry.id, vec!["db".into()]);
        let (rig, caller) = (&rig, caller(&agent));
        async move { rig.server.issuer.issue_jwt(&caller, asked).await }
    };
    ask().await.unwrap();
    assert!(ready());

    disk.note(150 * MIB);
    let before = rig.journal.head();
    rig.attest("no such token").await.unwrap_err();
    assert_eq!(
        rig.journal.head(),
        before,
        "a stranger's refusal was recorded"
    );
    ask().await.unwrap();
    assert!(ready());

    disk.note(80 * MIB);
    let refused = ask().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    assert!(refused.to_string().contains("80 MiB free"), "{refused}");
    assert!(!ready());
    rig.create(rig.entry(&agent.id, "admins-go-on")).await;

    disk.note(0);
    let made = rig.entry(&agent.id, "no-more");
    let outcome = rig.server.state.create_entries(&ADMIN, vec![made]).await;
    assert!(outcome[0].is_err());
    rig.server.attestation.ban(&ADMIN, &agent.id).await.unwrap();
    let order = Order {
        what: Revoked::Id(rig.id("/web")),
        reason: "a test".into(),
        until_lifted: false,
        force: false,
    };
    rig.server.revocations.revoke(&ADMIN, &order).await.unwrap();

    disk.note(1_000 * MIB);
    assert!(ready());
    rig.attest("no such token").await.unwrap_err();
    assert!(rig.count(AuditKind::Attest, AuditOutcome::Refused) >= 1);
    rig.agent().await;
}

/// The old way read the journal before each revocation. Without the journal it must work.
#[tokio::test]
async fn s8_a_revocation_reads_no_journal() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let sealed_away = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(rig.journal.dir()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|it| it == "journal") {
            std::fs::rename(&path, sealed_away.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let serial = serial_of(&agent.svid);
    let order = |what| Order {
        what,
        reason: "a test".into(),
        until_lifted: false,
        force: false,
    };
    let revocations = &rig.server.revocations;
    let (outcome, _) = revocations
        .revoke(&ADMIN, &order(Revoked::Serial(serial)))
        .await
        .unwrap();
    assert_eq!(outcome.hit_count, 1);
    assert_eq!(outcome.hits[0].spiffe_id, agent.id.as_str());
    let unknown = order(Revoked::Jti("never-issued".into()));
    let refused = revocations.revoke(&ADMIN, &unknown).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
}

#[tokio::test]
async fn s8_after_a_start_the_index_is_filled_from_the_journal() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let rig = rig.restart_in_memory(1).await.unwrap();
    let what = Revoked::Serial(serial_of(&agent.svid));
    let found = rig.server.audit.find_outstanding(&what, rig.clock.now());
    assert_eq!((found.count, found.is_complete), (1, true));
}
