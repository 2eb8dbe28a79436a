//! Who brings what into the bundle: no server below can take the space that the
//! server's own keys need, nobody's key passes for the server's, and everything goes
//! with its owner or by hand.

use ::keys::{KeyType, generate_pkcs8};
use api::bundle::{AppendBundleRequest, GetBundleRequest, PublishJwtAuthorityRequest};
use api::trust::trust_client::TrustClient;
use api::trust::{Authority, OwnersRequest, RemoveRequest};
use identity::{Bundle, CertificateSerial, Entry, JwtAuthorityKey};
use records::AuthorityProfile;
use store::{Commit, CommitId, Key, Write};
use tonic::Code;

use super::*;
use crate::limits;
use crate::rig::ADMIN;

mod key_ids;

const DAY: i64 = 86_400;

/// A `downstream` entry and the clients of the server it stands for.
async fn below(rig: &Rig, name: &str) -> (Arc<Entry>, Clients) {
    let parent = rig.id("/spire/agent/join_token/none");
    let entry = rig.entry_with(&parent, name, |entry| entry.downstream = true);
    let entry = rig.create(entry).await;
    let peer = TestPeer {
        spiffe_id: entry.spiffe_id.clone(),
        serial: CertificateSerial::new(&[1]),
        not_after: Timestamp(START.0 + 400 * DAY),
    };
    let clients = connect(rig, Who::Peer(peer)).await;
    (entry, clients)
}

fn spki(rig: &Rig) -> Vec<u8> {
    let made = generate_pkcs8(KeyType::EcP256, rig.server.entropy.source());
    made.unwrap().1.spki_der().to_vec()
}

fn key(kid: &str, spki: &[u8], end: i64) -> types::JwtKey {
    types::JwtKey {
        public_key: spki.to_vec().into(),
        key_id: kid.into(),
        expires_at: end,
        tainted: false,
    }
}

async fn publish(clients: &mut Clients, key: types::JwtKey) -> Result<(), Code> {
    let request = PublishJwtAuthorityRequest {
        jwt_authority: Some(key),
    };
    let published = clients.bundles.publish_jwt_authority(request).await;
    published.map(|_| ()).map_err(|status| status.code())
}

fn bundle(rig: &Rig) -> Arc<Bundle> {
    let registry = rig.server.state.registry();
    Arc::clone(registry.bundle(rig.server.state.trust_domain()).unwrap())
}

fn has(rig: &Rig, kid: &str) -> bool {
    let bundle = bundle(rig);
    bundle.jwt_authorities.iter().any(|key| *key.key_id == *kid)
}

/// Every key of the server can have a successor, sign, and be followed by the next.
async fn rotation_goes_on(rig: &Rig) {
    for profile in AuthorityProfile::ALL {
        let authorities = &rig.server.authorities;
        let next = authorities.prepare(&ADMIN, profile).await.unwrap();
        let active = authorities.activate(&ADMIN, profile, &next.id).await;
        assert_eq!(active.unwrap().state, "active");
    }
}

async fn owners(rig: &Rig) -> Vec<Authority> {
    let mut admin = TrustClient::new(channel(rig, Who::Local).await);
    let answer = admin.owners(OwnersRequest {}).await.unwrap();
    answer.into_inner().authorities
}

fn root(end: i64) -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1)
        + std::time::Duration::from_secs(u64::try_from(end).unwrap());
    params.self_signed(&key).unwrap().der().to_vec()
}

async fn append(rig: &Rig, roots: &[Vec<u8>], keys: Vec<types::JwtKey>) -> Result<(), Code> {
    let request = AppendBundleRequest {
        x509_authorities: roots
            .iter()
            .map(|der| types::X509Certificate {
                asn1: der.clone().into(),
                tainted: false,
            })
            .collect(),
        jwt_authorities: keys,
        ..Default::default()
    };
    let mut admin = connect(rig, Who::Local).await;
    let appended = admin.bundles.append_bundle(request).await;
    appended.map(|_| ()).map_err(|status| status.code())
}

#[tokio::test]
async fn s1_a_downstream_server_cannot_fill_the_bundle() {
    let rig = Rig::memory().await;
    let (_, mut nested) = below(&rig, "nested").await;
    let (_, mut other) = below(&rig, "other").await;
    let mine = spki(&rig);
    let mut refused = None;
    for n in 0..limits::MAX_BUNDLE_AUTHORITIES {
        // As long as a key id may be.
        let kid = format!("{n:0>64}");
        if let Err(code) = publish(&mut nested, key(&kid, &mine, START.0 + 365 * DAY)).await {
            refused = Some((n, code));
            break;
        }
    }
    rotation_goes_on(&rig).await;
    let most = limits::MAX_DOWNSTREAM_KEYS;
    assert_eq!(refused, Some((most, Code::ResourceExhausted)));
    // Its neighbour has lost nothing either, and the administrator neither.
    publish(&mut other, key("neighbour", &mine, START.0 + DAY))
        .await
        .unwrap();
    append(&rig, &[root(START.0 + DAY)], Vec::new())
        .await
        .unwrap();
    let rig = rig.restart_in_memory(3600).await.unwrap();
    rotation_goes_on(&rig).await;
    let registry_keys = bundle(&rig).jwt_authorities.len();
    assert!(
        registry_keys > most,
        "{registry_keys} keys are still published"
    );
}

#[tokio::test]
async fn s1_an_administrator_cannot_fill_the_bundle_either() {
    let rig = Rig::memory().await;
    let mut refused = None;
    for n in 0..limits::MAX_BUNDLE_AUTHORITIES {
        if let Err(code) = append(&rig, &[root(START.0 + DAY)], Vec::new()).await {
            refused = Some((n, code));
            break;
        }
    }
    rotation_goes_on(&rig).await;
    let most = limits::MAX_APPENDED_ROOTS;
    assert_eq!(refused, Some((most, Code::ResourceExhausted)));
    let long = key(&"k".repeat(65), &spki(&rig), START.0 + DAY);
    assert_eq!(
        append(&rig, &[], vec![long]).await,
        Err(Code::InvalidArgument)
    );
}

/// A store as it was written before authorities had owners, with a bundle that leaves
/// no room for another key.
#[tokio::test]
async fn s1_a_store_with_a_full_bundle_of_the_old_layout_opens() {
    let rig = Rig::memory().await;
    let mut old = Bundle::clone(&bundle(&rig));
    let access = rig
        .server
        .authorities
        .access()
        .unwrap()
        .key_id()
        .to_string();
    let mut full = records::encode_bundle(&old).unwrap();
    for n in 0.. {
        let kid = if n == 0 {
            access.clone()
        } else {
            format!("{n:0>256}")
        };
        old.jwt_authorities.push(JwtAuthorityKey {
            key_id: kid.into(),
            spki: spki(&rig).into(),
            expires_at: Some(Timestamp(START.0 + 10 * DAY)),
            tainted: false,
        });
        match records::encode_bundle(&old) {
            Ok(bytes) => full = bytes,
            Err(_too_large) => break,
        }
    }
    let td = rig.server.state.trust_domain().clone();
    let own: Key = records::key::bundle(&td, &td).into();
    let commit = Commit {
        id: CommitId([7; 16]),
        conditions: Vec::new(),
        writes: vec![Write::Put(own, full.into())],
    };
    rig.store.commit(commit).await.unwrap();
    let rig = rig.restart_in_memory(60).await.unwrap();
    let kid = format!("{:0>256}", 1);
    assert!(has(&rig, &kid), "what was trusted still is");
    assert!(
        !has(&rig, &access),
        "a key of others never has an id of the server's"
    );
    rotation_goes_on(&rig).await;
    let unrecorded = owners(&rig)
        .await
        .into_iter()
        .filter(|it| it.owner == "unrecorded");
    assert!(unrecorded.count() > 50);
    let mut admin = TrustClient::new(channel(&rig, Who::Local).await);
    let remove = RemoveRequest {
        id: kid.clone(),
        plan: false,
    };
    admin.remove(remove).await.unwrap();
    assert!(!has(&rig, &kid));
    let rig = rig.restart_in_memory(12 * DAY).await.unwrap();
    rig.server.authorities.prune_expired().await.unwrap();
    assert!(owners(&rig).await.iter().all(|it| it.owner == "server"));
}

#[tokio::test]
async fn s6_what_was_appended_is_listed_removed_and_pruned() {
    let rig = Rig::memory().await;
    let (soon, later) = (root(START.0 + 100), root(START.0 + 10 * DAY));
    append(
        &rig,
        &[soon, later.clone()],
        vec![key("spire", &spki(&rig), START.0 + DAY)],
    )
    .await
    .unwrap();
    let listed = owners(&rig).await;
    let appended: Vec<_> = listed
        .iter()
        .filter(|it| it.owner == "administrator")
        .collect();
    assert_eq!(appended.len(), 3);
    assert!(
        appended
            .iter()
            .all(|it| it.since == START.0 && !it.by.is_empty() && it.until > 0)
    );
    assert_eq!(listed.iter().filter(|it| it.owner == "server").count(), 3);
    // Expired, X.509 as well.
    rig.clock.advance(std::time::Duration::from_secs(100 + 601));
    rig.settle().await;
    rig.server.authorities.prune_expired().await.unwrap();
    assert_eq!(bundle(&rig).x509_authorities.len(), 2);
    // By hand: a plan first, then by the digest.
    let mut admin = TrustClient::new(channel(&rig, Who::Local).await);
    let digest = |der: &[u8]| hex::encode(ring::digest::digest(&ring::digest::SHA256, der));
    let remove = |id: &str, plan| RemoveRequest {
        id: id.to_owned(),
        plan,
    };
    let plan = admin
        .remove(remove(&digest(&later), true))
        .await
        .unwrap()
        .into_inner();
    assert!(!plan.done && plan.refused_because.is_empty() && plan.authorities.len() == 1);
    assert_eq!(bundle(&rig).x509_authorities.len(), 2);
    let done = admin
        .remove(remove(&digest(&later), false))
        .await
        .unwrap()
        .into_inner();
    assert!(done.done);
    admin.remove(remove("spire", false)).await.unwrap();
    let own = bundle(&rig);
    assert_eq!(
        (own.x509_authorities.len(), own.jwt_authorities.len()),
        (1, 1)
    );
    let gone = admin.remove(remove("spire", false)).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    // Not what signs.
    let signs = rig.server.authorities.x509().unwrap().id().to_owned();
    let refused = admin.remove(remove(&signs, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("bulla keys"), "{refused}");
    let mut anyone = connect(&rig, Who::Anonymous).await;
    let shown = anyone.bundles.get_bundle(GetBundleRequest::default()).await;
    assert_eq!(shown.unwrap().into_inner().x509_authorities.len(), 1);
}
