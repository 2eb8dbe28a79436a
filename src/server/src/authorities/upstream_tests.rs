//! Under a CA in files: real files, real certificates, time that moves when told.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use identity::X509Svid;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use records::AuthorityProfile;

use super::report::Act;
use crate::config::DiskUpstreamSection;
use crate::failure::Kind;
use crate::issue::{X509Request, X509Right};
use crate::rig::{ADMIN, Rig, START, subject_key};

const X509: AuthorityProfile = AuthorityProfile::X509;
const DAY: i64 = 86_400;

/// A moment so many seconds from the test's beginning.
macro_rules! at {
    ($seconds:expr) => {
        rcgen::date_time_ymd(1970, 1, 1)
            + Duration::from_secs(u64::try_from(START.0 + $seconds).unwrap())
    };
}

/// A CA's files in a folder.
struct Files {
    dir: tempfile::TempDir,
}

/// A CA that openssl could have made, valid for some days around the test's time.
fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = at!(-DAY);
    params.not_after = at!(days * DAY);
    params
}

impl Files {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }

    /// A self-signed CA; answers its certificate in PEM.
    fn root(&self, params: &CertificateParams) -> String {
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        self.write("ca.pem", &pem);
        self.write("ca.key", &key.serialize_pem());
        self.write("bundle.pem", &pem);
        pem
    }

    /// A CA below an offline root: the root's key is nowhere.
    fn below_root(&self, root: &CertificateParams, ca: &CertificateParams) {
        let root_key = KeyPair::generate().unwrap();
        self.write("bundle.pem", &root.self_signed(&root_key).unwrap().pem());
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(root, &root_key);
        self.write("ca.pem", &ca.signed_by(&key, &issuer).unwrap().pem());
        self.write("ca.key", &key.serialize_pem());
    }

    fn section(&self) -> DiskUpstreamSection {
        DiskUpstreamSection {
            certificate_file: self.path("ca.pem"),
            key_file: self.path("ca.key"),
            bundle_file: Some(self.path("bundle.pem")),
        }
    }

    async fn rig(&self) -> Rig {
        Rig::with(|config| config.upstream.disk = Some(self.section())).await
    }

    /// Why a server does not start below these files.
    async fn refusal(&self) -> String {
        let started = Rig::try_with(|config| config.upstream.disk = Some(self.section())).await;
        started.err().unwrap().message().to_owned()
    }
}

impl Rig {
    async fn svid_of(&self, path: &str) -> X509Svid {
        let request = X509Request {
            right: X509Right::Mint {
                spiffe_id: self.id(path),
                dns_names: Vec::new(),
                ttl: None,
            },
            key: subject_key(),
        };
        let issued = self.server.issuer.issue_x509(&ADMIN, vec![request]).await;
        issued.into_iter().next().unwrap().unwrap().svid
    }

    async fn later(&self, seconds: i64) {
        let seconds = u64::try_from(seconds).unwrap();
        self.clock.advance(Duration::from_secs(seconds));
        self.settle().await;
        self.server.authorities.tick().await.unwrap();
    }

    fn bundle(&self) -> Arc<identity::Bundle> {
        let registry = self.server.state.registry();
        Arc::clone(registry.bundle(self.server.state.trust_domain()).unwrap())
    }

    fn problem(&self) -> String {
        self.server.authorities.upstream().unwrap().1.problem
    }

    fn x509_states(&self) -> Vec<&'static str> {
        let status = self.server.authorities.status();
        let keys = status.iter().filter(|key| key.profile == X509);
        keys.map(|key| key.state).collect()
    }
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn the_published_root_is_the_upstreams_and_intermediates_travel() {
    let files = Files::new();
    files.below_root(&params("Root", 3650), &params("Issuing CA", 365));
    let rig = files.rig().await;
    let root = pem_to_der(&std::fs::read_to_string(files.path("bundle.pem")).unwrap());
    let bundle = rig.bundle();
    assert_eq!(bundle.x509_authorities.len(), 1);
    assert_eq!(*bundle.x509_authorities[0].der, *root);
    let svid = rig.svid_of("/web").await;
    assert_eq!(svid.chain.len(), 3, "leaf, intermediate, issuing CA");
    assert!(rig.verifies(&svid));
    let agent = rig.agent().await;
    assert_eq!(agent.svid.chain.len(), 3);
    let status = rig.server.authorities.status();
    assert!(status[0].upstream.is_some() && status[1].upstream.is_none());
    assert_eq!(rig.problem(), "");
}

#[tokio::test]
async fn nothing_outlives_the_upstream_ca() {
    let files = Files::new();
    let mut short = params("Short", 1);
    short.not_after = at!(1_000);
    files.root(&short);
    let rig = files.rig().await;
    let svid = rig.svid_of("/web").await;
    assert_eq!(svid.not_after.0, START.0 + 1_000);
    for _ in 0..20 {
        rig.later(45).await;
    }
    assert_eq!(rig.x509_states(), ["active"]);
    assert_eq!(rig.svid_of("/web").await.not_after.0, START.0 + 1_000);
}

#[tokio::test]
async fn intermediates_are_renewed_at_half_life_without_a_wait() {
    let files = Files::new();
    files.root(&params("Root", 3650));
    let rig = files.rig().await;
    let first = rig.server.authorities.x509().unwrap().id().to_owned();
    rig.later(DAY / 2 - 100).await;
    assert_eq!(rig.server.authorities.x509().unwrap().id(), first);
    rig.later(100).await;
    let second = rig.server.authorities.x509().unwrap();
    assert_ne!(second.id(), first);
    assert_eq!(rig.bundle().x509_authorities.len(), 1);
    assert!(rig.verifies(&rig.svid_of("/web").await));
}

#[tokio::test]
async fn a_lost_upstream_is_an_alarm_until_the_intermediate_ends() {
    let files = Files::new();
    files.root(&params("Root", 3650));
    let rig = files.rig().await;
    std::fs::rename(files.path("ca.key"), files.path("away")).unwrap();
    rig.later(10).await;
    assert!(
        rig.problem().contains("upstream.disk.key_file"),
        "{}",
        rig.problem()
    );
    rig.later(DAY / 2).await;
    assert!(rig.verifies(&rig.svid_of("/web").await));
    assert_eq!(rig.x509_states(), ["active"]);
    std::fs::rename(files.path("away"), files.path("ca.key")).unwrap();
    rig.later(600).await;
    assert_eq!(rig.problem(), "");
    assert_eq!(rig.x509_states(), ["retired", "active"]);
}

#[tokio::test]
async fn a_restart_without_the_upstream_is_no_outage_and_a_first_start_says_why() {
    let files = Files::new();
    files.root(&params("Root", 3650));
    let rig = files.rig().await;
    std::fs::remove_file(files.path("ca.key")).unwrap();
    let rig = rig.restart_in_memory(60).await.unwrap();
    assert!(rig.verifies(&rig.svid_of("/web").await));
    assert!(rig.problem().contains("ca.key"));
    assert!(files.refusal().await.contains("upstream.disk.key_file"));
}

/// Both roots stand while one replaces the other.
#[tokio::test]
async fn a_replaced_ca_is_taken_up_and_its_old_root_leaves_last() {
    let files = Files::new();
    files.root(&params("Old", 30));
    let rig = files.rig().await;
    let before = rig.svid_of("/web").await;
    let sequence = rig.bundle().sequence;
    files.root(&params("New", 3650));
    rig.later(10).await;
    assert_eq!(rig.bundle().x509_authorities.len(), 2);
    assert!(rig.bundle().sequence > sequence);
    assert_eq!(
        rig.x509_states(),
        ["active", "published"],
        "a new root is waited for"
    );
    rig.later(31).await;
    assert_eq!(rig.x509_states(), ["retired", "active"]);
    let after = rig.svid_of("/web").await;
    assert!(rig.verifies(&before) && rig.verifies(&after));
    assert_ne!(before.chain[1], after.chain[1]);
    rig.later(DAY + 700).await;
    assert_eq!(rig.bundle().x509_authorities.len(), 1);
    assert!(rig.verifies(&rig.svid_of("/web").await));
}

#[tokio::test]
async fn a_new_root_signs_nothing_before_agents_have_it() {
    let files = Files::new();
    files.root(&params("Old", 30));
    let rig = files.rig().await;
    let agent = rig.agent().await;
    let state = &rig.server.state;
    state.note_poll(&agent.id);
    state.note_bundle_given(&agent.id, rig.bundle().sequence);
    files.root(&params("New", 3650));
    rig.later(10).await;
    state.note_poll(&agent.id);
    rig.later(40).await;
    assert_eq!(rig.x509_states(), ["active", "published"]);
    state.note_bundle_given(&agent.id, rig.bundle().sequence);
    rig.later(1).await;
    assert_eq!(rig.x509_states(), ["retired", "active"]);
}

#[tokio::test]
async fn an_upstream_root_is_tainted_and_revoked() {
    let files = Files::new();
    files.root(&params("Old", 3650));
    let rig = files.rig().await;
    let authorities = &rig.server.authorities;
    let old = authorities.upstream_roots().await.remove(0);
    let agent = rig.agent().await;
    let act = |act, plan| {
        let id = old.id.clone();
        async move {
            authorities
                .act_on_root(&ADMIN, (act, &id), (plan, false))
                .await
        }
    };
    assert_eq!(
        act(Act::Taint, false).await.unwrap_err().kind(),
        Kind::Precondition
    );
    let id = authorities.x509().unwrap().id().to_owned();
    let refused = authorities.taint(&ADMIN, X509, &id).await.unwrap_err();
    assert!(refused.message().contains("upstream"), "{refused}");
    let report = authorities.report().await.remove(0);
    assert_eq!(
        report.against_tainting,
        [authority::rotation::Reason::BelowUpstream]
    );
    files.root(&params("New", 3650));
    rig.later(10).await;
    rig.later(31).await;
    assert!(act(Act::Revoke, true).await.unwrap().refused_because[0].contains("not tainted"));
    let _ = act(Act::Taint, false).await.unwrap();
    let bundle = rig.bundle();
    assert!(bundle.x509_authorities[0].tainted && !bundle.x509_authorities[1].tainted);
    let refused = act(Act::Revoke, false).await.unwrap_err();
    assert!(refused.message().contains("1 agents"), "{refused}");
    let forced = authorities.act_on_root(&ADMIN, (Act::Revoke, &old.id), (false, true));
    let _ = forced.await.unwrap();
    assert_eq!(rig.bundle().x509_authorities.len(), 1);
    rig.later(10).await;
    assert_eq!(
        rig.bundle().x509_authorities.len(),
        1,
        "it does not come back"
    );
    assert!(!rig.verifies(&agent.svid));
}

#[tokio::test]
async fn a_self_signed_server_moves_below_an_upstream_and_back() {
    let files = Files::new();
    files.root(&params("Root", 3650));
    let rig = Rig::memory().await;
    let before = rig.svid_of("/web").await;
    let rig = rig
        .restart_changed(60, |config| config.upstream.disk = Some(files.section()))
        .await;
    assert_eq!(rig.bundle().x509_authorities.len(), 2);
    rig.later(31).await;
    let below = rig.svid_of("/web").await;
    assert_eq!(below.chain.len(), 2);
    assert!(rig.verifies(&before) && rig.verifies(&below));
    let rig = rig
        .restart_changed(60, |config| config.upstream.disk = None)
        .await;
    assert!(rig.verifies(&rig.svid_of("/web").await) && rig.verifies(&below));
    rig.later(DAY / 2 + 100).await;
    rig.later(DAY / 3 + 100).await;
    let alone = rig.svid_of("/web").await;
    assert_eq!(alone.chain.len(), 1);
    assert!(rig.verifies(&alone));
    rig.later(DAY + 700).await;
    let root = pem_to_der(&std::fs::read_to_string(files.path("bundle.pem")).unwrap());
    let bundle = rig.bundle();
    assert!(
        bundle
            .x509_authorities
            .iter()
            .all(|held| *held.der != *root)
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_said_with_what_to_do() {
    let files = Files::new();
    let good = files.root(&params("Root", 3650));
    let loose = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(files.path("ca.key"), loose).unwrap();
    assert!(files.refusal().await.contains("chmod 0600"));
    let other = KeyPair::generate().unwrap();
    files.write("ca.key", &other.serialize_pem());
    assert!(files.refusal().await.contains("does not belong"));
    files.write(
        "ca.key",
        "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
    );
    assert!(files.refusal().await.contains("PKCS#8"));
    files.write("ca.key", &good);
    assert!(files.refusal().await.contains("private key"));
    let mut leaf = params("Leaf", 30);
    leaf.is_ca = IsCa::ExplicitNoCa;
    files.root(&leaf);
    assert!(files.refusal().await.contains("not a CA's"));
    let mut level = params("Level", 30);
    level.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    files.root(&level);
    assert!(files.refusal().await.contains("path length of at least 1"));
    let mut over = params("Over", 30);
    over.not_after = at!(-10);
    files.root(&over);
    assert!(files.refusal().await.contains("expired"));
    files.root(&params("Root", 30));
    files.write("bundle.pem", &good);
    assert!(
        files
            .refusal()
            .await
            .contains("nor by a root of the bundle")
    );
    files.write("bundle.pem", "");
    assert!(files.refusal().await.contains("bundle_file"));
}
