//! What goes on around the rotation: agents come and go, ask and are told; an
//! administrator acts; and the invariants, in what they mean for those who verify.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use authority::rotation::{Event, Slot, against_activating, against_revoking};
use identity::{Bundle, PrivateKeyDer, Seconds, X509Svid};
use workload::{Issued, Jitter};

use super::agent::{Agent, der, holds, slot_of};
use super::{Bug, ENTRIES, Fleet, TTL};

impl Fleet {
    /// An administrator who forces nothing.
    pub(crate) fn administer(&mut self) {
        if self.state.keys.is_empty() {
            return;
        }
        let at = self.chance.index(self.state.keys.len());
        let key = self.state.keys[at].clone();
        let (slot, known) = (key.slot, self.dependents(key.slot));
        match self.chance.below(8) {
            0 => drop(self.drive(Event::PrepareNow)),
            1 => drop(self.drive(Event::Taint { slot })),
            2 | 3
                if against_activating(
                    &self.state,
                    &key,
                    self.steady(slot),
                    &self.policy(),
                    &known,
                )
                .is_empty() =>
            {
                let _refused = self.drive(Event::ActivateNow { slot });
            }
            _ => self.revoke_if_safe(slot),
        }
    }

    /// Revokes a key if nothing speaks against it.
    pub(crate) fn revoke_if_safe(&mut self, slot: Slot) {
        let Some(key) = self.state.key(slot).cloned() else {
            return;
        };
        let known = self.dependents(slot);
        if against_revoking(&key, self.server_now(), &known).is_empty() {
            if let Some(truth) = self.truth.get_mut(&slot) {
                truth.revoked = true;
            }
            let _refused = self.drive(Event::Revoke { slot });
        }
    }

    /// An agent is sent the newest bundle, or tells what it did with it.
    pub(crate) fn exchange(&mut self, n: usize) {
        let (bundle, now) = (Arc::clone(&self.bundle), self.now);
        let sent_counts = self.has(Bug::SentIsDelivered);
        let lost = sent_counts && self.chance.one_in(2);
        let agent = &mut self.agents[n];
        if !agent.connected || agent.polls || bundle.x509_authorities.is_empty() {
            return;
        }
        if agent.delivered != bundle.sequence {
            if sent_counts {
                agent.told.0 = bundle.sequence;
            }
            if !lost {
                agent.take_bundle(&bundle, now);
            }
            return;
        }
        agent.note_replaced(now);
        agent.told = (agent.delivered, agent.replaced);
    }

    /// An agent asks for what is due.
    pub(crate) fn issue(&mut self, n: usize) {
        let (now, server_now) = (self.now, self.server_now());
        let Some(slot) = self.signing.filter(|_| !self.disbelieves()) else {
            return;
        };
        let clamped = !self.has(Bug::OutlivesItsKey);
        let truth = self.truth.get_mut(&slot).unwrap();
        let agent = &mut self.agents[n];
        // An agent that has just come back is given its bundle before anything else.
        if !agent.connected || agent.delivered == 0 || server_now >= truth.not_after {
            return;
        }
        for entry in agent.cache.take_due(now, ENTRIES) {
            let mut not_after = server_now.plus(Seconds(TTL));
            if clamped {
                not_after = not_after.min(truth.not_after);
            }
            truth.last_expiry = truth.last_expiry.max(Some(not_after));
            let issued = Issued {
                svid: X509Svid {
                    spiffe_id: entry.spiffe_id.clone(),
                    chain: vec![der(slot)],
                    not_before: now,
                    not_after,
                },
                key: PrivateKeyDer::new(b"key"),
                received_at: now,
            };
            assert!(not_after <= truth.not_after, "I3: it outlives its key");
            let issued = Arc::new(issued);
            agent.given.insert(entry.id.clone(), Arc::clone(&issued));
            let _ = agent.cache.store_x509(&entry, issued, Jitter::NONE, now);
        }
        agent.note_replaced(now);
        self.record();
    }

    /// An agent stops and starts again, whether its server is there or not.
    pub(crate) fn restart(&mut self, n: usize) {
        let (now, forgets) = (self.now, self.has(Bug::ForgetsAtRestart));
        let agent = &mut self.agents[n];
        agent.restart(|entry| !forgets || entry.id.as_str() != "e1", now);
        agent.told.1 = 0;
    }

    /// An agent loses its connection, or has it back: then it gets the newest bundle
    /// before it serves anything new.
    pub(crate) fn toggle(&mut self, n: usize) {
        let (bundle, now) = (Arc::clone(&self.bundle), self.now);
        let agent = &mut self.agents[n];
        if agent.polls {
            return;
        }
        agent.connected = !agent.connected;
        agent.told = (0, 0);
        if agent.connected && !bundle.x509_authorities.is_empty() {
            agent.take_bundle(&bundle, now);
        }
    }

    pub(crate) fn pass(&mut self, seconds: u32) {
        if self
            .right_at
            .is_some_and(|at| self.now.plus(Seconds(seconds)) >= at)
        {
            self.right_clock();
        }
        self.now = self.now.plus(Seconds(seconds));
        for agent in &mut self.agents {
            let _ = agent.cache.tick(self.now);
        }
        self.fetch();
    }

    /// I1, I2, I10, in what they mean for those who verify.
    pub(crate) fn check(&mut self) {
        assert!(
            self.bundle.sequence >= self.highest,
            "I10: the bundle's sequence fell"
        );
        self.highest = self.bundle.sequence;
        let now = self.now;
        let live = || self.agents.iter().filter(|agent| agent.connected);
        let mut signers = BTreeSet::new();
        for agent in live() {
            signers.extend(
                agent
                    .held(now)
                    .map(|issued| Arc::clone(&issued.svid.chain[0])),
            );
        }
        let follow = self.bundles(|agent| !agent.polls);
        let poll = self.bundles(|agent| agent.polls);
        for signer in &signers {
            assert!(
                holds(&self.bundle, signer),
                "I2: held, and no longer vouched for"
            );
            for own in &follow {
                assert!(holds(own, signer), "I1: a peer cannot verify what is held");
            }
            // Where nothing could sign, or what signed had leaked, those are not waited for
            // who tell nothing.
            if !self.truth[&slot_of(signer)].hurried {
                let kept = self.verifiers.iter().map(|verifier| &verifier.bundle);
                for own in kept.chain(poll.iter().copied()) {
                    let known = holds(own, signer);
                    assert!(known, "I1: a relying party cannot verify what is held");
                }
            }
        }
        for agent in &self.agents {
            agent.check_holdings(now);
        }
        for (slot, truth) in &self.truth {
            let valid = truth.last_expiry.is_some_and(|at| at > now);
            if valid && !truth.revoked {
                assert!(holds(&self.bundle, &der(*slot)), "I2: removed too soon");
            }
        }
    }

    /// The bundles of live agents of a kind, each once: most have the very same.
    fn bundles(&self, of: impl Fn(&Agent) -> bool) -> Vec<&Arc<Bundle>> {
        let live = self.agents.iter().filter(|a| a.connected && of(a));
        let own = live.filter_map(|agent| agent.cache.own_bundle());
        let own: BTreeMap<_, _> = own.map(|own| (Arc::as_ptr(own), own)).collect();
        own.into_values().collect()
    }

    /// Everything works for a while: the fleet comes to rest with a key that signs.
    pub(crate) fn settle(&mut self) {
        self.crash_at = 0;
        // A server that does not believe a clock that was put right says: restart me.
        self.right_clock();
        self.crash();
        for n in 0..self.agents.len() {
            if !self.agents[n].connected {
                self.toggle(n);
            }
        }
        for _ in 0..40 {
            self.pass(30);
            let _ = self.drive(Event::Tick);
            for n in 0..self.agents.len() {
                self.exchange(n);
                self.exchange(n);
                self.issue(n);
            }
            self.check();
        }
        assert!(self.state.active().is_some_and(|key| !key.tainted));
        for agent in &self.agents {
            assert_eq!(agent.held(self.now).count(), agent.entries.len());
        }
    }

    /// Until no agent holds anything of a key.
    pub(crate) fn holders_of(&self, slot: Slot) -> usize {
        let (signer, now) = (der(slot), self.now);
        let holds = |agent: &&Agent| agent.held(now).any(|i| i.svid.chain[0] == signer);
        self.agents.iter().filter(holds).count()
    }
}
