//! Those who only read: relying parties that keep a bundle for as long as it allows, and
//! stock agents that poll and tell nothing.

use std::sync::Arc;

use identity::{Bundle, Timestamp};

use super::agent::td;
use super::{Fleet, INTERVAL};

/// A relying party, somewhere, that fetches the published bundle.
pub(crate) struct Verifier {
    pub(super) bundle: Arc<Bundle>,
    fetched_at: Timestamp,
    /// It fetches again after so many seconds: at most what the bundle allows.
    every: u32,
}

impl Verifier {
    pub(super) fn new(n: usize) -> Self {
        let n = u32::try_from(n).unwrap();
        Self {
            bundle: Arc::new(Bundle::empty(td())),
            fetched_at: Timestamp(0),
            every: INTERVAL.0 - 7 * n,
        }
    }
}

/// How often a stock agent polls, in seconds.
const POLL: u32 = 5;

/// For how long answers to one agent may be lost.
const LOST_FOR: u32 = 45;

impl Fleet {
    /// After time has passed: whoever fetches by the clock has fetched.
    pub(super) fn fetch(&mut self) {
        let now = self.now;
        for verifier in &mut self.verifiers {
            if now.since(verifier.fetched_at).0 >= verifier.every {
                verifier.fetched_at = now;
                verifier.bundle = Arc::clone(&self.bundle);
            }
        }
        for n in 0..self.agents.len() {
            if self.agents[n].polls {
                self.poll(n);
            }
        }
    }

    /// The server counts a bundle as fetched that it has given, and the answer can be
    /// lost all the same.
    fn poll(&mut self, n: usize) {
        let (bundle, now) = (Arc::clone(&self.bundle), self.now);
        let lost = self.chance.one_in(6);
        let agent = &mut self.agents[n];
        let since = now.since(agent.fetched_at).0;
        if since < POLL || bundle.x509_authorities.is_empty() {
            return;
        }
        agent.told.0 = bundle.sequence;
        if !lost || since >= LOST_FOR {
            agent.fetched_at = now;
            agent.take_bundle(&bundle, now);
        }
    }
}
