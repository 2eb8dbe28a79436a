//! Health as tools see it: what `/ready`, gRPC health and the doctor say of duties.

use std::time::Duration;

use ::keys::{KeyStorage, KeyType, Protection, Signer, StorageError};
use api::doctor::ExamineRequest;
use api::doctor::doctor_client::DoctorClient;
use ring::rand::SecureRandom;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::{health, housekeeping};

/// Keys in memory, of which no new ones are made while it is full.
#[derive(Default)]
struct Full {
    keys: ::keys::memory::MemoryKeys,
    is_full: AtomicBool,
}

impl KeyStorage for Full {
    fn create(
        &self,
        id: &str,
        key_type: KeyType,
        rng: &dyn SecureRandom,
    ) -> Result<Arc<dyn Signer>, StorageError> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(StorageError::Full);
        }
        self.keys.create(id, key_type, rng)
    }

    fn load(&self, id: &str) -> Result<Option<Arc<dyn Signer>>, StorageError> {
        self.keys.load(id)
    }

    fn remove(&self, id: &str) -> Result<(), StorageError> {
        self.keys.remove(id)
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        self.keys.list()
    }

    fn protection(&self) -> Protection {
        self.keys.protection()
    }
}

async fn asked(rig: &Rig) -> ServingStatus {
    health::tell(&rig.server).await;
    let mut client = HealthClient::new(channel(rig, Who::Local).await);
    let answer = client.check(HealthCheckRequest::default()).await;
    answer.unwrap().into_inner().status()
}

#[tokio::test]
async fn s13_rotation_that_fails_makes_the_server_not_ready_well_before_the_ca_ends() {
    let keys = Arc::new(Full::default());
    let rig = Rig::with_keys(Arc::clone(&keys) as Arc<dyn KeyStorage>).await;
    let server = &rig.server;
    let mut svid = server
        .issuer
        .renew_server_svid(&server.identity)
        .await
        .unwrap();
    keys.is_full.store(true, Ordering::Relaxed);
    let ends = server.authorities.x509().unwrap().not_after();
    // A look each minute, as without a cron schedule; other duties are in time.
    let noticed = loop {
        rig.clock.advance(Duration::from_secs(60));
        rig.settle().await;
        svid = housekeeping::rotate(server, svid).await;
        server.duties.revocation_list.done(rig.clock.since_boot());
        server.audit.probe().await;
        let report = health::report(server);
        if !report.ready {
            let why = report.reasons.join("; ");
            assert!(why.contains("rotation is late"), "{why}");
            assert!(why.contains("keys are stored already"), "{why}");
            assert!(report.live, "a new start would not help");
            break rig.clock.now();
        }
        assert!(rig.clock.now() < ends, "ready until the CA ended");
    };
    let left = ends.since(noticed).0;
    assert!(left > 6 * 3600, "noticed {left} s before the CA ends");
    assert_eq!(asked(&rig).await, ServingStatus::NotServing);

    keys.is_full.store(false, Ordering::Relaxed);
    housekeeping::rotate(server, svid).await;
    let report = health::report(server);
    assert!(report.ready, "{:?}", report.reasons);
}

#[tokio::test]
async fn d12_s13_a_dead_journal_is_not_serving_and_asks_for_a_new_start() {
    let rig = Rig::memory().await;
    assert_eq!(asked(&rig).await, ServingStatus::Serving);
    assert_eq!(
        rig.server.duties.asks_for_restart(rig.clock.since_boot()),
        None
    );
    rig.journal.close();
    // Nobody calls; the probe alone finds out.
    rig.server.audit.probe().await;
    let late = rig.server.duties.asks_for_restart(rig.clock.since_boot());
    assert_eq!(late.expect("it asks for a new start").name, "journal");
    assert_eq!(asked(&rig).await, ServingStatus::NotServing);

    let mut doctor = DoctorClient::new(channel(&rig, Who::Local).await);
    let found = doctor
        .examine(ExamineRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(!found.ready && !found.live);
    let journal = found.duties.iter().find(|duty| duty.name == "journal");
    assert_eq!(journal.unwrap().condition, "lost");
    assert!(found.reasons.iter().any(|why| why.contains("journal")));
}

#[tokio::test]
async fn a_store_that_closes_asks_for_a_new_start() {
    let rig = Rig::memory().await;
    rig.store.close().await;
    let asks = async {
        loop {
            if let Some(late) = rig.server.duties.asks_for_restart(rig.clock.since_boot()) {
                return late.name;
            }
            tokio::task::yield_now().await;
        }
    };
    let asks = tokio::time::timeout(Duration::from_secs(30), asks).await;
    assert_eq!(asks.unwrap(), "following");
}

#[tokio::test]
async fn the_doctor_answers_administrators_alone() {
    let rig = Rig::memory().await;
    let mut doctor = DoctorClient::new(channel(&rig, Who::Anonymous).await);
    let refused = doctor.examine(ExamineRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
