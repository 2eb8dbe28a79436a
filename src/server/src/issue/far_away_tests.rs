//! A signer that is slow, away or wrong: issuance says so and is never wrong, other
//! work goes on, and issuance is back when the signer is.

use super::*;
use crate::caller::Caller;
use crate::failure::Kind;
use crate::rig::far::{Far, Mood};
use crate::rig::{ADMIN, Agent, Rig, subject_key};

async fn rig() -> (Rig, Arc<Far>, Agent, Arc<Entry>) {
    let (rig, far) = Rig::with_far_keys().await;
    let agent = rig.agent().await;
    let entry = rig.create(rig.entry(&agent.id, "web")).await;
    (rig, far, agent, entry)
}

async fn batch(
    rig: &Rig,
    agent: &Agent,
    entry: &Entry,
    size: usize,
) -> Vec<Result<IssuedX509, IssueRefusal>> {
    let one = || X509Request {
        right: X509Right::Entry {
            agent: agent.id.clone(),
            entry: entry.id.clone(),
        },
        key: subject_key(),
    };
    let caller = Caller::Spiffe(agent.id.clone());
    let requests = (0..size).map(|_| one()).collect();
    rig.server.issuer.issue_x509(&caller, requests).await
}

async fn token(rig: &Rig) -> Result<IssuedJwt, IssueRefusal> {
    let request = JwtRequest {
        right: JwtRight::Mint {
            spiffe_id: rig.id("/web"),
            ttl: None,
        },
        audience: vec!["db".into()],
    };
    rig.server.issuer.issue_jwt(&ADMIN, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_away_or_hangs_makes_issuance_unavailable_and_it_comes_back() {
    let (rig, far, agent, entry) = rig().await;
    for (mood, reason) in [
        (Mood::Away, "nobody is at home"),
        (Mood::Hangs, "did not answer within 1 s"),
    ] {
        far.set(mood);
        let issued = batch(&rig, &agent, &entry, 100).await;
        assert_eq!(issued.len(), 100);
        for item in issued {
            let refusal = item.unwrap_err();
            assert_eq!(refusal.kind(), Kind::Unavailable);
            assert!(refusal.to_string().contains(reason), "{refusal}");
        }
        let refusal = token(&rig).await.unwrap_err();
        assert_eq!(refusal.kind(), Kind::Unavailable);
        assert!(refusal.to_string().contains(reason), "{refusal}");
        // Other work goes on.
        let made = rig.create(rig.entry(&agent.id, &format!("{mood:?}"))).await;
        assert!(rig.server.state.registry().entry(&made.id).is_some());
        far.set(Mood::Works);
        let issued = batch(&rig, &agent, &entry, 40).await;
        assert!(
            issued
                .iter()
                .all(|item| item.as_ref().is_ok_and(|i| rig.verifies(&i.svid)))
        );
        assert!(token(&rig).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_beyond_those_that_wait_for_a_signer_are_answered_too() {
    let (rig, far, _, _) = rig().await;
    far.set(Mood::Hangs);
    let many = (0..2 * crate::limits::FAR_SIGNATURES).map(|_| token(&rig));
    for refused in futures_util::future::join_all(many).await {
        assert_eq!(refused.unwrap_err().kind(), Kind::Unavailable);
    }
    far.set(Mood::Works);
    assert!(token(&rig).await.is_ok());
}

#[tokio::test]
async fn a_wrong_signature_never_leaves_the_server() {
    let (rig, far, agent, entry) = rig().await;
    far.set(Mood::Lies);
    for item in batch(&rig, &agent, &entry, 3).await {
        assert_eq!(item.unwrap_err().kind(), Kind::Unavailable);
    }
    assert_eq!(token(&rig).await.unwrap_err().kind(), Kind::Unavailable);
}

/// What its caller no longer waits for is not signed later, when a thread is free.
#[tokio::test]
async fn nothing_is_signed_for_somebody_who_has_given_up() {
    let far = FarAway::new(std::time::Duration::ZERO, 1);
    let signed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, saw) = (Arc::clone(&signed), Arc::clone(&signed));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build();
    let (free, busy) = std::sync::mpsc::channel::<()>();
    let outcome = std::thread::spawn(move || {
        let runtime = runtime.unwrap();
        let outcome = runtime.block_on(async {
            let blocked = tokio::task::spawn_blocking(move || busy.recv());
            let refused = far.sign(move || {
                told.store(true, std::sync::atomic::Ordering::SeqCst);
                Ok(())
            });
            let refused = refused.await;
            free.send(()).unwrap();
            let _ = blocked.await.unwrap();
            // The only thread takes its work in order: what was queued is done by now.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            refused
        });
        drop(runtime);
        outcome
    });
    let outcome = outcome.join().unwrap();
    assert_eq!(outcome.unwrap_err().kind(), Kind::Unavailable);
    assert!(!saw.load(std::sync::atomic::Ordering::SeqCst));
}

#[test]
fn a_signer_that_refuses_is_quoted() {
    let refused = keys::SignError::Refused("the key may not sign SHA-384".into());
    let refusal = refusal(&authority::IssueError::Sign(refused));
    assert_eq!(refusal.kind(), Kind::Unavailable);
    assert!(refusal.to_string().contains("the key may not sign SHA-384"));
}
