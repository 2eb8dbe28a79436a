//! Join tokens work once, renewal loses nobody, bans hold.

use std::time::Duration;

use identity::Seconds;
use records::{AuditKind, AuditOutcome, key};

use super::*;
use crate::caller::Caller;
use crate::failure::Kind;
use crate::issue::{IssueRefusal, X509Request, X509Right};
use crate::rig::{ADMIN, Agent, Rig, csr, serial_of, subject_key};

impl Rig {
    async fn admit(&self, agent: &Agent) -> Result<(), AgentDenied> {
        let not_after = agent.svid.not_after;
        self.server
            .attestation
            .admit(&agent.id, &agent.serial, not_after)
            .await
    }

    async fn renew(&self, agent: &Agent) -> Agent {
        let svid = self
            .server
            .attestation
            .renew(&agent.id, &csr())
            .await
            .unwrap();
        Agent {
            id: svid.spiffe_id.clone(),
            serial: serial_of(&svid),
            svid,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_tries_with_one_token_exactly_one_succeeds() {
    let rig = Arc::new(Rig::memory().await);
    for _ in 0..4 {
        let token = rig.token().await;
        let tries = (0..64).map(|_| {
            let (rig, token) = (Arc::clone(&rig), token.clone());
            tokio::spawn(async move { rig.attest(&token).await })
        });
        let outcomes = futures_util::future::join_all(tries).await;
        let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
        let won = outcomes.iter().filter(|o| o.is_ok()).count();
        assert_eq!(won, 1);
        for lost in outcomes.iter().filter_map(|o| o.as_ref().err()) {
            assert_eq!(lost.kind(), Kind::Invalid, "{lost}");
        }
    }
    assert_eq!(rig.server.state.registry().counts().nodes, 4);
    assert_eq!(rig.count(AuditKind::Attest, AuditOutcome::Granted), 4);
    // One each up to the budget of one address; the others are counted.
    let recorded = usize::try_from(crate::limits::ADDRESS_REFUSALS.burst).unwrap();
    assert_eq!(
        rig.count(AuditKind::Attest, AuditOutcome::Refused),
        recorded
    );
}

/// The local claim is an economy; the store's condition is the authority. Planted: two
/// servers' worth of attestations that know nothing of each other's claims.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_commit_alone_lets_one_try_win() {
    let rig = Arc::new(Rig::memory().await);
    let token = rig.token().await;
    let tries = (0..16).map(|_| {
        let (rig, token) = (Arc::clone(&rig), token.clone());
        // An attestation of its own has claims of its own, like another server's.
        let other = rig.another_attestation();
        tokio::spawn(async move {
            let caller = Caller::Anonymous("192.0.2.1:4000".into());
            let mut session = other.begin(&caller, "join_token", &csr()).await.unwrap();
            session.advance(token.as_bytes()).await
        })
    });
    let outcomes = futures_util::future::join_all(tries).await;
    let won = outcomes
        .into_iter()
        .filter(|o| o.as_ref().is_ok_and(Result::is_ok))
        .count();
    assert_eq!(won, 1);
    assert_eq!(rig.server.state.registry().counts().nodes, 1);
}

#[tokio::test]
async fn the_first_svid_verifies_and_names_the_node() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    assert!(agent.id.path().starts_with("/spire/agent/join_token/"));
    assert!(rig.verifies(&agent.svid));
    let registry = rig.server.state.registry();
    let node = registry.node(&agent.id).unwrap();
    assert_eq!(node.serial, agent.serial);
    assert_eq!(node.expires_at, agent.svid.not_after);
}

#[tokio::test]
async fn a_bad_csr_does_not_burn_the_token() {
    let rig = Rig::memory().await;
    let token = rig.token().await;
    let mut broken = csr();
    let last = broken.len() - 1;
    broken[last] ^= 1;
    for bad in [&b"nonsense"[..], &broken] {
        let refused = rig.attest_with(&token, bad).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
    }
    rig.attest(&token).await.unwrap();
}

#[tokio::test]
async fn an_answer_lost_on_its_way_is_given_again_to_the_same_key_alone() {
    let rig = Rig::memory().await;
    let token = rig.token().await;
    let mine = csr();
    let lost = rig.attest_with(&token, &mine).await.unwrap().svid;
    let again = rig.attest_with(&token, &mine).await.unwrap().svid;
    assert_eq!(again.spiffe_id, lost.spiffe_id);
    let admit = |svid: &identity::X509Svid| {
        let (id, serial, end) = (svid.spiffe_id.clone(), serial_of(svid), svid.not_after);
        let attestation = rig.server.attestation.clone();
        async move { attestation.admit(&id, &serial, end).await }
    };
    admit(&again).await.unwrap();
    assert_eq!(
        admit(&lost).await,
        Err(AgentDenied::NotActive),
        "one SVID, not two"
    );
    assert!(
        rig.attest(&token).await.is_err(),
        "another key gets nothing"
    );
    rig.server
        .attestation
        .ban(&ADMIN, &again.spiffe_id)
        .await
        .unwrap();
    assert_eq!(
        rig.attest_with(&token, &mine).await.unwrap_err().kind(),
        Kind::Denied
    );
    rig.server
        .attestation
        .evict(&ADMIN, &again.spiffe_id)
        .await
        .unwrap();
    assert!(
        rig.attest_with(&token, &mine).await.is_err(),
        "an evicted node needs a new token"
    );
}

#[tokio::test]
async fn unknown_used_and_expired_tokens_get_one_answer() {
    let rig = Rig::memory().await;
    let used = rig.token().await;
    rig.attest(&used).await.unwrap();
    let expired = rig.token().await;
    rig.clock.advance(Duration::from_secs(601));
    rig.settle().await;
    let mut answers = Vec::new();
    for token in [
        "bjt_0123456789abcdef0123456789abcdef01234567",
        &used,
        &expired,
    ] {
        let refused = rig.attest(token).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        assert!(!refused.message().contains(token));
        answers.push(refused.message().to_owned());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
}

#[tokio::test]
async fn an_unknown_attestor_is_a_failed_precondition() {
    let rig = Rig::memory().await;
    let refused = rig
        .server
        .attestation
        .begin(&ADMIN, "aws_iid", &csr())
        .await;
    assert_eq!(refused.err().unwrap().kind(), Kind::Precondition);
}

#[tokio::test]
async fn tokens_are_hashed_at_rest() {
    let rig = Rig::memory().await;
    let token = rig.token().await;
    let loaded = rig
        .store
        .load(&key::all(rig.server.state.trust_domain()))
        .await
        .unwrap();
    let holds = |bytes: &[u8]| bytes.windows(token.len()).any(|w| w == token.as_bytes());
    assert!(
        loaded
            .records
            .iter()
            .all(|(key, value)| !holds(key) && !holds(value))
    );
    let journal = format!("{:?}", rig.records());
    assert!(!journal.contains(&token));
}

#[tokio::test]
async fn a_token_lives_no_longer_than_the_cap() {
    let rig = Rig::memory().await;
    let order = TokenOrder {
        ttl: Some(Seconds(86_401)),
        ..TokenOrder::default()
    };
    let refused = rig
        .server
        .attestation
        .create_token(&ADMIN, order)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("86400"), "{refused}");
}

#[tokio::test]
async fn an_alias_gives_the_agent_another_name_until_it_is_evicted() {
    let rig = Rig::memory().await;
    let alias = rig.id("/rack/1");
    let order = TokenOrder {
        alias: Some(alias.clone()),
        ..TokenOrder::default()
    };
    let made = rig
        .server
        .attestation
        .create_token(&ADMIN, order)
        .await
        .unwrap();
    let svid = rig.attest(made.token.expose()).await.unwrap().svid;
    assert_eq!(svid.spiffe_id, made.agent);
    let entry = rig.create(rig.entry(&alias, "web")).await;
    let now = rig.clock.now();
    let found = rig
        .server
        .state
        .registry()
        .is_authorised(&made.agent, &entry.id, now);
    assert!(found.is_some(), "entries under the alias are the agent's");
    rig.server
        .attestation
        .evict(&ADMIN, &made.agent)
        .await
        .unwrap();
    let registry = rig.server.state.registry();
    assert!(
        registry.children(&made.agent).next().is_none(),
        "the alias went with the node"
    );
    assert!(registry.entry(&entry.id).is_some());
}

#[tokio::test]
async fn both_svids_work_until_the_renewed_one_is_used() {
    let rig = Rig::memory().await;
    let old = rig.agent().await;
    let lost = rig.renew(&old).await;
    let new = rig.renew(&old).await;
    rig.admit(&old).await.unwrap();
    assert_eq!(
        rig.admit(&lost).await,
        Err(AgentDenied::NotActive),
        "a later renewal replaced it"
    );
    rig.admit(&new).await.unwrap();
    rig.admit(&new).await.unwrap();
    assert_eq!(rig.admit(&old).await, Err(AgentDenied::NotActive));
    let registry = rig.server.state.registry();
    assert_eq!(registry.node(&new.id).unwrap().serial, new.serial);
}

#[tokio::test]
async fn first_uses_of_a_renewed_svid_at_one_time_all_pass() {
    let rig = Rig::memory().await;
    let old = rig.agent().await;
    let new = rig.renew(&old).await;
    let calls = (0..16).map(|_| rig.admit(&new));
    for outcome in futures_util::future::join_all(calls).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn an_expired_svid_is_refused_on_its_open_connection() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    rig.clock.advance(Duration::from_secs(3_601));
    rig.settle().await;
    assert_eq!(rig.admit(&agent).await, Err(AgentDenied::Expired));
}

#[tokio::test]
async fn a_ban_stops_calls_issuance_renewal_and_attestation() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    rig.server.attestation.ban(&ADMIN, &agent.id).await.unwrap();
    rig.server.attestation.ban(&ADMIN, &agent.id).await.unwrap();
    assert_eq!(rig.admit(&agent).await, Err(AgentDenied::Banned));
    let request = X509Request {
        right: X509Right::Entry {
            agent: agent.id.clone(),
            entry: entry.id.clone(),
        },
        key: subject_key(),
    };
    let caller = Caller::Spiffe(agent.id.clone());
    let issued = rig.server.issuer.issue_x509(&caller, vec![request]).await;
    assert!(matches!(issued[0], Err(IssueRefusal::NotAuthorised(_))));
    let renewal = rig
        .server
        .attestation
        .renew(&agent.id, &csr())
        .await
        .unwrap_err();
    assert_eq!(renewal.kind(), Kind::Denied);
    assert_eq!(rig.count(AuditKind::NodeBan, AuditOutcome::Granted), 1);
    rig.server
        .attestation
        .evict(&ADMIN, &agent.id)
        .await
        .unwrap();
    assert_eq!(rig.admit(&agent).await, Err(AgentDenied::NotAttested));
}

#[tokio::test]
async fn nodes_that_are_not_there_cannot_be_banned_or_evicted() {
    let rig = Rig::memory().await;
    let id = rig.id("/spire/agent/join_token/none");
    let ban = rig.server.attestation.ban(&ADMIN, &id).await.unwrap_err();
    let evict = rig.server.attestation.evict(&ADMIN, &id).await.unwrap_err();
    assert_eq!((ban.kind(), evict.kind()), (Kind::NotFound, Kind::NotFound));
}

#[tokio::test]
async fn expired_tokens_are_swept_with_their_aliases() {
    let rig = Rig::memory().await;
    let order = TokenOrder {
        alias: Some(rig.id("/rack/2")),
        ..TokenOrder::default()
    };
    rig.server
        .attestation
        .create_token(&ADMIN, order)
        .await
        .unwrap();
    assert_eq!(rig.server.attestation.sweep_tokens().await, Ok(0));
    rig.clock.advance(Duration::from_secs(601));
    rig.settle().await;
    assert_eq!(rig.server.attestation.sweep_tokens().await, Ok(1));
    assert_eq!(rig.server.state.token_counts("").0, 0);
    assert_eq!(rig.server.state.registry().counts().entries, 0);
}

#[tokio::test]
async fn a_version_is_kept_without_what_could_hurt_a_terminal() {
    let rig = Rig::memory().await;
    let agent = rig.agent().await;
    let hostile = format!("1.2\u{1b}[31m\n{}", "x".repeat(100));
    rig.server
        .attestation
        .post_status(&agent.id, &hostile)
        .await
        .unwrap();
    let registry = rig.server.state.registry();
    let kept = &registry.node(&agent.id).unwrap().agent_version;
    assert!(kept.starts_with("1.2[31mxxx") && kept.len() == 64, "{kept}");
}

#[tokio::test]
async fn more_than_the_slots_wait_and_get_their_turn() {
    let rig = Arc::new(Rig::with(|config| config.attestation.concurrency = 1).await);
    let mut tokens = Vec::new();
    for _ in 0..8 {
        tokens.push(rig.token().await);
    }
    let tries = tokens.into_iter().map(|token| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.attest(&token).await })
    });
    for outcome in futures_util::future::join_all(tries).await {
        outcome.unwrap().unwrap();
    }
}
