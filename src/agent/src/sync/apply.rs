//! Taking over what the server says, and saying what was taken over.

use std::sync::Arc;

use api::sync::{
    Ack, Bundles, CatalogueFile, Delta, Heartbeat, PolicySet, Revocations, Snapshot, StreamBehind,
};
use api::types;
use bytes::Bytes;
use identity::{Bundle, Entry, EntryId};
use tokio::sync::watch;
use verify::RevocationListFault;

use crate::core::Core;
use crate::disk::{KeptRevocations, TrustedBundle, entry_from_held};
use crate::health::Part;
use crate::hub::{Progress, RevocationNews, ViewPosition};
use crate::limits;
use crate::scoped::PolicyHeld;

/// Collects the parts of large messages and applies them whole.
pub(super) struct Applier<'a> {
    core: &'a Arc<Core>,
    acks: watch::Sender<Ack>,
    put: Vec<Arc<Entry>>,
    removed: Vec<EntryId>,
    skipped: usize,
    catalogue: Vec<CatalogueFile>,
    catalogue_bytes: usize,
}

impl<'a> Applier<'a> {
    pub(super) fn new(core: &'a Arc<Core>) -> Self {
        Self {
            core,
            acks: watch::Sender::new(Ack::default()),
            put: Vec::new(),
            removed: Vec::new(),
            skipped: 0,
            catalogue: Vec::new(),
            catalogue_bytes: 0,
        }
    }

    /// Follows what is to be acknowledged.
    pub(super) fn acks(&self) -> watch::Receiver<Ack> {
        self.acks.subscribe()
    }

    /// One message of a snapshot; applied with the last.
    pub(super) fn snapshot(&mut self, part: Snapshot) {
        self.collect(&part.entries);
        if part.more {
            return;
        }
        let entries = std::mem::take(&mut self.put);
        let count = entries.len();
        self.core
            .hub
            .replace_entries(entries, self.position(part.position, part.view_digest));
        tracing::debug!(entries = count, "took over a snapshot");
        self.acknowledge();
    }

    /// One message of a delta; applied with the last.
    pub(super) fn delta(&mut self, part: Delta) {
        self.collect(&part.put);
        // An id that does not parse names no entry that we hold.
        let removed = part.removed.iter().filter_map(|id| EntryId::parse(id).ok());
        self.removed.extend(removed);
        if part.more {
            return;
        }
        let (put, removed) = (
            std::mem::take(&mut self.put),
            std::mem::take(&mut self.removed),
        );
        tracing::debug!(
            put = put.len(),
            removed = removed.len(),
            "took over a delta"
        );
        self.core
            .hub
            .change_entries(put, removed, self.position(part.position, part.view_digest));
        self.acknowledge();
    }

    /// All bundles. The own one is stored before it is acknowledged.
    pub(super) async fn bundles(&mut self, wire: Bundles) {
        let Some(own) = wire.own.as_ref().and_then(|own| self.own_bundle(own)) else {
            return;
        };
        let Some(own) = self.with_access_keys(own, &wire.access_keys) else {
            return;
        };
        let federated = wire
            .federated
            .iter()
            .filter_map(|b| self.bundle(b))
            .collect();
        self.core.link.bundles().set(Arc::clone(&own));
        let sequence = own.sequence;
        self.core.hub.replace_bundles(Arc::clone(&own), federated);
        if !self.core.own_stands() {
            tracing::warn!("the authority of the agent's SVID is tainted or gone; it is renewed");
            self.core.rekey.notify_one();
        }
        // Milliseconds, and rare; the stream waits for it because its answer says "stored".
        match TrustedBundle::store(&self.core.folder, &own) {
            Ok(()) => {
                self.core.works(Part::Storage);
                self.acks
                    .send_modify(|ack| ack.bundle_sequence_stored = sequence);
            }
            Err(error) => self.core.problem(Part::Storage, error.to_string()),
        }
    }

    /// One message of the active policy set; applied with the last.
    pub(super) async fn policy_set(&mut self, part: PolicySet) {
        for file in part.catalogue {
            self.catalogue_bytes += file.text.len() + file.name.len();
            if self.catalogue_bytes <= limits::CATALOGUE_BYTES {
                self.catalogue.push(file);
            }
        }
        if part.more {
            return;
        }
        let files = std::mem::take(&mut self.catalogue);
        let bytes = std::mem::take(&mut self.catalogue_bytes);
        let (core, fits) = (Arc::clone(self.core), bytes <= limits::CATALOGUE_BYTES);
        // A large catalogue takes its time to read and to write.
        let taking = tokio::task::spawn_blocking(move || {
            take_policy_set(&core, (part.digest, part.issuer), fits.then_some(files));
        });
        if taking.await.is_err() {
            let why = "the policy set from the server could not be read".to_owned();
            self.core.problem(Part::Contents, why);
        }
        // Whoever waits for a token may be granted more now, or less.
        self.core.hub.wake_all();
    }

    /// What is revoked, if the list is signed and newer than the one in hand. Stored
    /// before anything is refused by it, so that no restart takes it back.
    pub(super) fn revocations(&self, wire: Revocations) {
        let hub = &self.core.hub;
        let held = hub.newest_revocations();
        let held = held.as_ref().map(|held| &*held.revocations);
        let Some(own) = hub.own_bundle() else {
            return;
        };
        let read = match verify::Revocations::read(&wire.list, &own, held) {
            Ok(read) => Arc::new(read),
            // A server says again what it said before, to a stream opened anew.
            Err(RevocationListFault::NotNewer { sequence, held }) if sequence == held => return,
            Err(fault) => {
                let why = format!("a list from the server was refused: {fault}");
                return self.core.problem(Part::Contents, why);
            }
        };
        tracing::debug!(
            sequence = read.sequence(),
            entries = read.len(),
            "took over revocations"
        );
        let bytes: usize = wire.crls.iter().map(Bytes::len).sum();
        let crls = if bytes <= limits::CRL_BYTES {
            wire.crls
        } else {
            let why = "the server's certificate revocation lists are too large for workloads";
            self.core.problem(Part::Contents, why);
            Vec::new()
        };
        let news = RevocationNews {
            revocations: Arc::clone(&read),
            list: wire.list.into(),
            crls: crls.into(),
        };
        match KeptRevocations::store(&self.core.folder, &news) {
            Ok(()) => self.core.works(Part::Storage),
            Err(error) => self.core.problem(Part::Storage, error.to_string()),
        }
        self.core.link.bundles().set_revocations(read);
        hub.revoke(news);
    }

    /// Revocations come before the first entries of a stream: whoever has these has been
    /// told all there is.
    pub(super) fn revocations_are_told(&self) {
        self.core.hub.revocations_are_told();
        self.core.works(Part::Revocations);
    }

    /// The server lives.
    pub(super) fn heartbeat(&mut self, beat: &Heartbeat) {
        metrics::gauge!("bulla_agent_server_view_age_seconds")
            .set(std::time::Duration::from_millis(beat.view_age_ms).as_secs_f64());
    }

    /// Every stream that is waited for has been sent the own bundle of this sequence.
    pub(super) fn delivered(&self, progress: Progress) {
        let behind = progress.named.into_iter().map(|laggard| StreamBehind {
            uid: laggard.uid.unwrap_or(u32::MAX),
            pid: laggard.pid,
            since: laggard.since.0,
            bundle_sequence: laggard.sequence,
        });
        let behind: Vec<StreamBehind> = behind.collect();
        let count = u32::try_from(progress.behind).unwrap_or(u32::MAX);
        self.acks.send_if_modified(|ack| {
            let before = ack.clone();
            ack.bundle_sequence_delivered = progress.lowest;
            ack.streams_behind_count = count;
            ack.streams_behind = behind;
            *ack != before
        });
    }

    /// No workload's SVID is suspect by the own bundle of this sequence. The agent's
    /// own counts too; when it is replaced the stream is opened anew.
    pub(super) fn replaced(&self, sequence: u64) {
        if self.core.own_stands() {
            self.acks.send_if_modified(|ack| {
                let news = ack.bundle_sequence_replaced != sequence;
                ack.bundle_sequence_replaced = sequence;
                news
            });
        }
    }

    fn acknowledge(&mut self) {
        let position = self.core.hub.view_position().position;
        self.acks.send_modify(|ack| ack.position = position);
    }

    /// The position of a view with holes is not remembered, so that the next
    /// connection asks for all of it.
    fn position(&mut self, position: Bytes, digest: Bytes) -> ViewPosition {
        let skipped = std::mem::take(&mut self.skipped);
        if skipped > 0 {
            self.core.problem(
                Part::Contents,
                format!("{skipped} entries from the server cannot be read and were skipped"),
            );
        }
        ViewPosition {
            position,
            digest,
            is_whole: skipped == 0,
        }
    }

    // One poison entry costs its own workload, never the others.
    fn collect(&mut self, wire: &[types::Entry]) {
        let most = usize::try_from(self.core.settings.config.limits.entries).unwrap_or(usize::MAX);
        for entry in wire {
            if self.put.len() >= most {
                self.skipped += 1;
                continue;
            }
            match entry_from_held(entry, &self.core.settings.trust_domain) {
                Ok(entry) => self.put.push(entry),
                Err(why) => {
                    self.skipped += 1;
                    tracing::warn!(
                        entry = entry.id,
                        why,
                        "skipped an entry that cannot be read"
                    );
                }
            }
        }
    }

    /// The own bundle, if it may replace the one that is held.
    fn own_bundle(&self, wire: &types::Bundle) -> Option<Arc<Bundle>> {
        let bundle = self.bundle(wire)?;
        let held = self.core.hub.own_bundle();
        let held_sequence = held.map_or(0, |b| b.sequence);
        let why = if bundle.trust_domain != self.core.settings.trust_domain {
            "it is of another trust domain"
        } else if bundle.x509_authorities.is_empty() {
            "it has no X.509 authority"
        } else if bundle.x509_authorities.len() > limits::BUNDLE_AUTHORITIES {
            "it has too many authorities"
        } else if bundle.sequence < held_sequence {
            "its sequence is lower than that of the bundle in hand"
        } else {
            return Some(bundle);
        };
        self.core.problem(
            Part::Contents,
            format!("a bundle from the server was refused: {why}"),
        );
        None
    }

    /// The keys of access tokens come beside the bundle that counts for them.
    fn with_access_keys(&self, own: Arc<Bundle>, keys: &[types::JwtKey]) -> Option<Arc<Bundle>> {
        match api::convert::keys_from_wire(keys) {
            Ok(keys) if keys.len() <= limits::BUNDLE_AUTHORITIES => {
                let mut own = Arc::unwrap_or_clone(own);
                own.access_keys = keys;
                return Some(Arc::new(own));
            }
            Ok(_) => self.core.problem(
                Part::Contents,
                "the server sent too many keys of access tokens".to_owned(),
            ),
            Err(error) => self.core.problem(
                Part::Contents,
                format!("a key of access tokens cannot be read: {error}"),
            ),
        }
        None
    }

    fn bundle(&self, wire: &types::Bundle) -> Option<Arc<Bundle>> {
        match api::convert::bundle_from_wire(wire) {
            Ok(bundle) => Some(Arc::new(bundle)),
            Err(error) => {
                let why = format!("a bundle from the server cannot be read: {error}");
                self.core.problem(Part::Contents, why);
                None
            }
        }
    }
}

/// Takes a policy set over and keeps it for the next start. Of one that cannot be read
/// here only the name counts, so that no token of an older set is handed out: an older
/// catalogue would answer for endpoints as they were. Nothing of it is kept, so that the
/// next start asks for it again.
fn take_policy_set(
    core: &Core,
    (digest, issuer): (String, String),
    files: Option<Vec<CatalogueFile>>,
) {
    let read = files.as_deref().map_or_else(
        || Err("it is too large".to_owned()),
        |files| PolicyHeld::read(digest.clone(), issuer.clone(), files),
    );
    let kept = match read {
        _ if digest.is_empty() => {
            core.policies.set(None);
            PolicyHeld::store(&core.folder, "", "", &[])
        }
        Ok(held) => {
            core.policies.set(Some(held));
            let files = files.unwrap_or_default();
            PolicyHeld::store(&core.folder, &digest, &issuer, &files)
        }
        Err(why) => {
            let why = format!("the catalogue of policy set {digest} cannot be read: {why}");
            core.problem(Part::Contents, why);
            core.policies.set(Some(PolicyHeld {
                digest: digest.clone(),
                issuer,
                catalogue: None,
            }));
            PolicyHeld::store(&core.folder, "", "", &[])
        }
    };
    tracing::info!(policy_set = digest, "another policy set is active");
    match kept {
        Ok(()) => core.works(Part::Storage),
        Err(error) => core.problem(Part::Storage, error.to_string()),
    }
}
