//! A signer that is slow, away or wrong: issuance says so and is never wrong, other
//! work goes on, and issuance is back when the signer is.

use std::sync::{Condvar, Mutex};

use keys::memory::MemoryKeys;
use keys::{KeyStorage, KeyType, Protection, PublicKey, SignError, Signer, StorageError};
use ring::rand::SecureRandom;

use super::*;
use crate::caller::Caller;
use crate::failure::Kind;
use crate::rig::{ADMIN, Agent, Rig, subject_key};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Works,
    /// Says that it cannot now.
    Away,
    /// Says nothing at all.
    Hangs,
    /// Gives a signature of something else.
    Lies,
}

struct Far {
    mood: Mutex<Mood>,
    changed: Condvar,
    keys: MemoryKeys,
}

impl Far {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mood: Mutex::new(Mood::Works),
            changed: Condvar::new(),
            keys: MemoryKeys::new(),
        })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }
}

struct FarStorage(Arc<Far>);

struct FarSigner(Arc<Far>, Arc<dyn Signer>);

impl Signer for FarSigner {
    fn public_key(&self) -> &PublicKey {
        self.1.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mood = self.0.mood.lock().unwrap();
        let hangs = |mood: &mut Mood| *mood == Mood::Hangs;
        let mood = *self.0.changed.wait_while(mood, hangs).unwrap();
        match mood {
            Mood::Away => Err(SignError::Unavailable("nobody is at home".into())),
            Mood::Lies => self.1.sign(b"something else"),
            _ => self.1.sign(message),
        }
    }

    fn is_remote(&self) -> bool {
        true
    }
}

impl KeyStorage for FarStorage {
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        let made = self.0.keys.create(id, key_type, rng)?;
        Ok(Arc::new(FarSigner(Arc::clone(&self.0), made)))
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        let found = self.0.keys.load(id)?;
        Ok(found.map(|key| Arc::new(FarSigner(Arc::clone(&self.0), key)) as Arc<dyn Signer>))
    }

    fn remove(&self, id: &str) -> Result<(), StorageError> {
        self.0.keys.remove(id)
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.0.keys.list()
    }

    fn protection(&self) -> Protection {
        Protection::Pkcs11
    }
}

async fn rig() -> (Rig, Arc<Far>, Agent, Arc<Entry>) {
    let far = Far::new();
    let rig = Rig::with_keys(Arc::new(FarStorage(Arc::clone(&far)))).await;
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
