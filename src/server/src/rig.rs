//! A whole server in a test's hands: real store, journal and keys in a folder of
//! its own, time that moves when told, no sockets.

pub(crate) mod far;

use std::path::Path;
use std::sync::Arc;

use authority::SubjectKey;
use identity::{
    CertificateSerial, Entry, EntryFields, EntryId, Selector, Selectors, SpiffeId, Timestamp,
    X509Svid,
};
use journal::Journal;
use keys::KeyStorage;
use keys::memory::MemoryKeys;
use store::Store;
use store::memory::Memory;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::attest::{Attested, Step, TokenOrder};
use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::{Config, Settings, StoreEngine};
use crate::entropy::Entropy;
use crate::failure::Failure;
use crate::open::{self, Opened};
use crate::server::Server;

pub(crate) const START: Timestamp = Timestamp(1_900_000_000);
pub(crate) const ADMIN: Caller = Caller::Local { uid: 0, pid: 1 };

/// A server, and what it stands on.
pub(crate) struct Rig {
    pub(crate) server: Arc<Server>,
    pub(crate) clock: Clock,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: Journal,
    keys: Arc<dyn KeyStorage>,
    stop: watch::Sender<bool>,
    dir: Arc<TempDir>,
    settings: Settings,
}

/// An attested agent.
pub(crate) struct Agent {
    pub(crate) id: SpiffeId,
    pub(crate) serial: CertificateSerial,
    pub(crate) svid: X509Svid,
}

impl Rig {
    /// A server with store and keys in memory and the journal on disk.
    pub(crate) async fn memory() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::try_with(change).await.unwrap()
    }

    /// A server whose keys are kept by `keys`; one signature may take a second.
    pub(crate) async fn with_keys(keys: Arc<dyn KeyStorage>) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = config(dir.path(), StoreEngine::Memory);
        config.keys.timeout = "1s".into();
        let store: Arc<dyn Store> = Arc::new(Memory::with_limits(7, open::store_limits()));
        let settings = config.check().unwrap();
        Self::on(dir, settings, (store, keys), Clock::manual(START))
            .await
            .unwrap()
    }

    /// A server whose keys are kept elsewhere, and who keeps them.
    pub(crate) async fn with_far_keys() -> (Self, Arc<far::Far>) {
        let far = Arc::new(far::Far::default());
        let rig = Self::with_keys(Arc::new(far::FarStorage(Arc::clone(&far)))).await;
        (rig, far)
    }

    /// A server on a store that already holds something.
    pub(crate) async fn on_store(store: Arc<dyn Store>) -> Result<Self, Failure> {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let settings = config(dir.path(), StoreEngine::Memory).check().unwrap();
        let keys: Arc<dyn KeyStorage> = Arc::new(MemoryKeys::new());
        Self::on(dir, settings, (store, keys), Clock::manual(START)).await
    }

    /// As [`Rig::with`], where the server may not start.
    pub(crate) async fn try_with(change: impl FnOnce(&mut Config)) -> Result<Self, Failure> {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = config(dir.path(), StoreEngine::Memory);
        change(&mut config);
        let settings = config.check().unwrap();
        let store: Arc<dyn Store> = Arc::new(Memory::with_limits(7, open::store_limits()));
        let keys: Arc<dyn KeyStorage> = Arc::new(MemoryKeys::new());
        Self::on(dir, settings, (store, keys), Clock::manual(START)).await
    }

    /// As [`Rig::restart_in_memory`], with another configuration.
    pub(crate) async fn restart_changed(
        mut self,
        seconds_later: i64,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = config(self.dir.path(), StoreEngine::Memory);
        change(&mut config);
        self.settings = config.check().unwrap();
        self.restart_in_memory(seconds_later).await.unwrap()
    }

    async fn on(
        dir: Arc<TempDir>,
        settings: Settings,
        (store, keys): (Arc<dyn Store>, Arc<dyn KeyStorage>),
        clock: Clock,
    ) -> Result<Self, Failure> {
        let entropy = Entropy::system();
        let mut opened = open_storage(&settings, &entropy, &clock).unwrap();
        opened.store = Arc::clone(&store);
        opened.keys = Arc::clone(&keys);
        Self::build(dir, settings, opened, clock).await
    }

    async fn build(
        dir: Arc<TempDir>,
        settings: Settings,
        opened: Opened,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let (stop, stopping) = watch::channel(false);
        let (store, journal, keys) = (
            Arc::clone(&opened.store),
            opened.journal.clone(),
            Arc::clone(&opened.keys),
        );
        let parts = (clock.clone(), Entropy::system());
        let (server, _svid) = Server::build(settings.clone(), opened, parts, stopping).await?;
        Ok(Self {
            server,
            clock,
            store,
            journal,
            keys,
            stop,
            dir,
            settings,
        })
    }

    /// Everything on disk, as it ships.
    pub(crate) async fn on_disk() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let settings = config(dir.path(), StoreEngine::Sled).check().unwrap();
        Self::open_disk(dir, settings, Clock::manual(START))
            .await
            .unwrap()
    }

    async fn open_disk(
        dir: Arc<TempDir>,
        settings: Settings,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let opened = open_storage(&settings, &Entropy::system(), &clock).unwrap();
        Self::build(dir, settings, opened, clock).await
    }

    /// Stops the server and starts another on what it left on disk.
    pub(crate) async fn restart_from_disk(self) -> Self {
        let Self {
            server,
            clock,
            store,
            journal,
            stop,
            dir,
            settings,
            keys,
        } = self;
        let _ = stop.send(true);
        store.close().await;
        journal.close();
        drop((server, store, journal, keys));
        Self::open_disk(dir, settings, clock).await.unwrap()
    }

    /// Stops the server and starts another on the same store, journal and keys,
    /// at another time.
    pub(crate) async fn restart_in_memory(self, seconds_later: i64) -> Result<Self, Failure> {
        let Self {
            server,
            clock,
            store,
            journal,
            stop,
            dir,
            settings,
            keys,
        } = self;
        let _ = stop.send(true);
        journal.close();
        drop((server, journal));
        let later = Clock::manual(Timestamp(clock.now().0 + seconds_later));
        Self::on(dir, settings, (store, keys), later).await
    }

    /// A join token's text.
    pub(crate) async fn token(&self) -> String {
        let made = self
            .server
            .attestation
            .create_token(&ADMIN, TokenOrder::default())
            .await;
        made.unwrap().token.expose().to_owned()
    }

    /// Attests with a token and a fresh key.
    pub(crate) async fn attest(&self, token: &str) -> Result<Attested, Failure> {
        self.attest_with(token, &csr()).await
    }

    pub(crate) async fn attest_with(&self, token: &str, csr: &[u8]) -> Result<Attested, Failure> {
        let caller = Caller::Anonymous("192.0.2.1:4000".into());
        let mut session = self
            .server
            .attestation
            .begin(&caller, "join_token", csr)
            .await?;
        match session.advance(token.as_bytes()).await? {
            Step::Done(attested) => Ok(attested),
            Step::Challenge(_) => panic!("join tokens need no challenge"),
        }
    }

    /// An attested agent.
    pub(crate) async fn agent(&self) -> Agent {
        let token = self.token().await;
        let svid = self.attest(&token).await.unwrap().svid;
        Agent {
            id: svid.spiffe_id.clone(),
            serial: serial_of(&svid),
            svid,
        }
    }

    /// An entry under `parent` for workload `name`, not yet created.
    pub(crate) fn entry(&self, parent: &SpiffeId, name: &str) -> Entry {
        self.entry_with(parent, name, |_| {})
    }

    pub(crate) fn entry_with(
        &self,
        parent: &SpiffeId,
        name: &str,
        change: impl FnOnce(&mut EntryFields),
    ) -> Entry {
        let id = EntryId::in_order(
            self.server.clock.now_ms(),
            0,
            self.server.entropy.bytes().unwrap(),
        );
        let mut fields = EntryFields {
            id,
            spiffe_id: self.id(&format!("/{name}")),
            parent_id: parent.clone(),
            selectors: selectors(&["unix:uid:1000"]),
            x509_ttl: None,
            jwt_ttl: None,
            federates_with: Vec::new(),
            admin: false,
            downstream: false,
            expires_at: None,
            dns_names: Vec::new(),
            revision: 0,
            store_svid: false,
            hint: String::new(),
            created_at: self.clock.now(),
            disable_x509_prefetch: false,
            jwt_include_jti: false,
        };
        change(&mut fields);
        Entry::new(fields, self.server.state.trust_domain()).unwrap()
    }

    /// Creates one entry.
    pub(crate) async fn create(&self, entry: Entry) -> Arc<Entry> {
        let mut made = self.server.state.create_entries(&ADMIN, vec![entry]).await;
        made.remove(0).unwrap()
    }

    pub(crate) fn id(&self, path: &str) -> SpiffeId {
        SpiffeId::new(self.server.state.trust_domain(), path).unwrap()
    }

    /// All decision records so far, oldest first.
    pub(crate) fn records(&self) -> Vec<records::AuditRecord> {
        let stored = self.journal.read(1).unwrap();
        stored
            .map(|s| records::AuditRecord::decode(&s.unwrap().payload).unwrap())
            .collect()
    }

    /// How many records are of this kind and outcome.
    pub(crate) fn count(&self, kind: records::AuditKind, outcome: records::AuditOutcome) -> usize {
        let records = self.records();
        records
            .iter()
            .filter(|r| r.view().kind == kind && r.view().outcome == outcome)
            .count()
    }

    /// Whether a chain verifies against the own bundle now.
    pub(crate) fn verifies(&self, svid: &X509Svid) -> bool {
        let registry = self.server.state.registry();
        let bundle = registry.bundle(self.server.state.trust_domain()).unwrap();
        let chain: Vec<&[u8]> = svid.chain.iter().map(|der| &**der).collect();
        verify::verify_x509_svid(&chain, bundle, self.clock.now())
            .is_ok_and(|v| v.spiffe_id == svid.spiffe_id)
    }
}

fn open_storage(
    settings: &Settings,
    entropy: &Entropy,
    clock: &Clock,
) -> Result<Opened, open::StorageFailure> {
    open::own_directory(&settings.data_dir)?;
    open::open(settings, entropy, clock)
}

fn config(dir: &Path, engine: StoreEngine) -> Config {
    let mut config = Config::for_domain("example.org", dir.join("data"));
    config.store.engine = engine;
    config.listen = "127.0.0.1:0".into();
    config
}

/// A certificate request with a fresh P-256 key.
pub(crate) fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    params.serialize_request(&key).unwrap().der().to_vec()
}

pub(crate) fn subject_key() -> SubjectKey {
    SubjectKey::from_csr(&csr()).unwrap()
}

pub(crate) fn selectors(texts: &[&str]) -> Selectors {
    Selectors::new(
        texts
            .iter()
            .map(|text| Selector::parse(text).unwrap())
            .collect(),
    )
    .unwrap()
}

/// The serial of an SVID's leaf.
pub(crate) fn serial_of(svid: &X509Svid) -> CertificateSerial {
    use x509_parser::prelude::FromDer as _;
    let (_, leaf) = x509_parser::certificate::X509Certificate::from_der(&svid.chain[0]).unwrap();
    CertificateSerial::new(leaf.raw_serial())
}

impl Rig {
    /// Waits until the view is known to be fresh after the clock was moved.
    pub(crate) async fn settle(&self) {
        // Any commit comes back through the log, and marks the view fresh.
        let commit = self.server.state.commit(Vec::new(), Vec::new());
        commit.await.unwrap();
    }

    /// An attestation of its own on the same state, as another server's would be.
    pub(crate) fn another_attestation(&self) -> crate::attest::Attestation {
        let attestors = crate::attest::attestors(&self.settings).unwrap();
        self.attestation_of(self.server.state.clone(), attestors)
    }

    /// An attestation on a state, with attestors of a test's choice.
    pub(crate) fn attestation_of(
        &self,
        state: crate::state::State,
        attestors: Vec<Box<dyn contract::Verify>>,
    ) -> crate::attest::Attestation {
        let server = &self.server;
        crate::attest::Attestation::new(
            state,
            server.issuer.clone(),
            server.audit.clone(),
            (self.clock.clone(), server.entropy.clone()),
            crate::metrics::Meters::new(),
            crate::server::terms(&self.settings),
            attestors,
        )
    }
}
