//! A server and its agents in virtual time: the real rotation, the real agent
//! cache and real bundles; the shell between them is played here, and can be given
//! a defect to show that the invariants find it.

mod agent;
mod bug;
mod chance;
mod clock;
mod life;
mod verifier;

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::belief::Belief;
use authority::rotation::{Dependents, Effect, Event, Phase, Policy, Slot, State, step};
use identity::{Bundle, Seconds, Timestamp, X509AuthorityCertificate};

use agent::{Agent, der, td};
pub(crate) use bug::{BUGS, Bug};
use chance::Chance;
use verifier::Verifier;

pub(crate) const LIFETIME: Seconds = Seconds(7_200);
pub(crate) const TTL: u32 = 600;
const AGENTS: usize = 50;
/// Of those, stock agents that only poll; in two of three fleets.
const POLLERS: usize = 10;
/// Relying parties that fetch the bundle as often as it says, and no more often.
const VERIFIERS: usize = 8;
const ENTRIES: usize = 2;
/// More rounds than any sound chain of events takes.
const ROUNDS: usize = 64;

/// What really happened to a key.
#[derive(Default)]
pub(crate) struct Truth {
    not_after: Timestamp,
    /// The latest expiry of anything it signed.
    last_expiry: Option<Timestamp>,
    /// An administrator revoked it; what was not held any more may fail.
    revoked: bool,
    /// It signs since there was nothing else that could: nobody was waited for.
    hurried: bool,
    /// Since when it really is in the bundle.
    public_at: Option<Timestamp>,
}

/// The fleet.
pub(crate) struct Fleet {
    /// The time of agents and verifiers, which is right.
    pub(crate) now: Timestamp,
    /// How far the server's wall clock is off, in seconds.
    skew: i64,
    /// When somebody puts it right, if it is off by hours.
    right_at: Option<Timestamp>,
    /// What the server thinks of its clock: the real guard.
    belief: Belief,
    /// Since when, by the uptime, a key is public as far as this run of the server knows.
    public_since: BTreeMap<Slot, Timestamp>,
    pub(crate) chance: Chance,
    pub(crate) state: State,
    bundle: Arc<Bundle>,
    signing: Option<Slot>,
    pub(crate) truth: BTreeMap<Slot, Truth>,
    pub(crate) agents: Vec<Agent>,
    verifiers: Vec<Verifier>,
    highest: u64,
    bug: Option<Bug>,
    /// The effect before which the server crashes once.
    crash_at: u64,
    carried: u64,
    /// How often a crash fell between two arrows.
    pub(crate) crashes: u64,
}

/// How long a key is public before it signs, and how long a bundle may be kept.
const INTERVAL: Seconds = Seconds(60);

fn policy() -> Policy {
    Policy::for_lifetime(LIFETIME, INTERVAL)
}

impl Fleet {
    pub(crate) fn with_agents(seed: u64, agents: usize) -> Self {
        let mut fleet = Self::new(seed, None);
        fleet.agents = (0..agents).map(|n| Agent::new(n, false)).collect();
        fleet
    }

    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut chance = Chance::new(seed);
        let now = Timestamp(1_795_507_200);
        let polls = |n: usize| !seed.is_multiple_of(3) && n < POLLERS;
        Self {
            now,
            skew: 0,
            right_at: None,
            belief: clock::belief(now),
            public_since: BTreeMap::new(),
            verifiers: (0..VERIFIERS).map(Verifier::new).collect(),
            crash_at: chance.below(80),
            chance,
            state: State::default(),
            bundle: Arc::new(Bundle::empty(td())),
            signing: None,
            truth: BTreeMap::new(),
            agents: (0..AGENTS).map(|n| Agent::new(n, polls(n))).collect(),
            highest: 0,
            bug,
            carried: 0,
            crashes: 0,
        }
    }

    fn policy(&self) -> Policy {
        match self.bug {
            Some(Bug::PublishesForNoTime) => Policy::for_lifetime(LIFETIME, Seconds(0)),
            _ => policy(),
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// One event, driven as the server drives it, until nothing is left to do or
    /// the server crashes. Gives what refused it.
    pub(crate) fn drive(&mut self, event: Event) -> Option<&'static str> {
        if self.disbelieves() {
            return Some("the clock is wrong");
        }
        let policy = self.policy();
        let mut event = event;
        for _ in 0..ROUNDS {
            let (next, effects) = step(&self.state, event, self.server_now(), &policy);
            if let Some(Effect::Refuse { why }) = effects.first() {
                return Some(why);
            }
            self.state = next;
            self.record();
            let mut answer = None;
            for effect in effects {
                self.carried += 1;
                if self.carried == self.crash_at || self.chance.one_in(400) {
                    self.crash();
                    return None;
                }
                answer = self.carry_out(&effect);
                self.check();
                if answer.is_some() {
                    break;
                }
            }
            match answer {
                Some(next) => event = next,
                None => return None,
            }
        }
        panic!("rest: the rotation does not come to rest");
    }

    /// Only what is committed survives; agents tell all of it again.
    pub(crate) fn crash(&mut self) {
        self.crashes += 1;
        self.signing = None;
        self.public_since.clear();
        self.restart_clock();
        for agent in &mut self.agents {
            agent.told = (0, 0);
        }
        for key in &mut self.state.keys {
            if let Phase::Published { acknowledged, .. } = &mut key.phase {
                *acknowledged = false;
            }
        }
        if self.has(Bug::SequenceStartsAnew) {
            Arc::make_mut(&mut self.bundle).sequence = 1;
        }
    }

    fn carry_out(&mut self, effect: &Effect) -> Option<Event> {
        match *effect {
            Effect::Create { slot } => Some(self.create(slot)),
            Effect::Publish { slot } => {
                if !self.has(Bug::PublishesNothing) {
                    self.edit_bundle(None);
                }
                Some(Event::Published { slot })
            }
            Effect::AwaitAcknowledgement { slot } => {
                let uptime = self.uptime();
                self.public_since.entry(slot).or_insert(uptime);
                let known = !self.has(Bug::PublishesNothing) || self.behind() == 0;
                let waits = !self.has(Bug::AcknowledgesAtOnce) && self.behind() > 0;
                let good = known && !waits && !self.is_too_soon(slot);
                good.then_some(Event::Acknowledged { slot })
            }
            Effect::Activate { slot } => {
                let goes_on = self.has(Bug::SignsAfterRetirement) && self.signing.is_some();
                if !goes_on {
                    self.check_patience(slot);
                    let hurried = self.is_hurried(slot);
                    self.signing = Some(slot);
                    self.truth.get_mut(&slot).unwrap().hurried |= hurried;
                }
                None
            }
            Effect::Retire { slot } => self.drained(slot),
            Effect::Taint { slot } => {
                let removed = self.has(Bug::TaintRemoves).then_some(slot);
                self.edit_bundle(removed);
                None
            }
            Effect::Remove { slot } => {
                self.edit_bundle(Some(slot));
                Some(Event::Removed { slot })
            }
            Effect::Refuse { .. } => None,
        }
    }

    fn create(&mut self, slot: Slot) -> Event {
        let not_after = self.server_now().plus(LIFETIME);
        let truth = self.truth.entry(slot).or_insert_with(|| Truth {
            not_after,
            ..Truth::default()
        });
        Event::Created {
            slot,
            id: format!("key-{slot}").into(),
            not_before: truth.not_after.minus(LIFETIME),
            not_after: truth.not_after,
        }
    }

    fn drained(&self, slot: Slot) -> Option<Event> {
        let Phase::Retired { last_expiry, .. } = self.state.key(slot)?.phase else {
            return None;
        };
        let forgets = self.has(Bug::ForgetsWhatWasSigned)
            || self.has(Bug::CrashForgetsWhatWasSigned) && self.crashes > 0;
        let latest = if forgets {
            self.server_now().minus(Seconds(10_000))
        } else {
            self.truth[&slot]
                .last_expiry
                .unwrap_or_else(|| self.server_now())
        };
        (latest < last_expiry).then_some(Event::Drained {
            slot,
            last_expiry: latest,
        })
    }

    /// The bundle as the rotation has it, without one key. As the server does it.
    fn edit_bundle(&mut self, without: Option<Slot>) {
        let mut authorities = Vec::new();
        for key in &self.state.keys {
            if without != Some(key.slot) {
                let signs = matches!(key.phase, Phase::Active { .. });
                authorities.push(X509AuthorityCertificate {
                    der: der(key.slot),
                    tainted: key.tainted && !signs,
                });
            }
        }
        if authorities != self.bundle.x509_authorities {
            let bundle = Arc::make_mut(&mut self.bundle);
            bundle.x509_authorities = authorities;
            bundle.sequence += 1;
        }
        for key in &self.state.keys {
            if let Some(truth) = self.truth.get_mut(&key.slot) {
                truth.public_at.get_or_insert(self.now);
            }
        }
    }

    /// Connected agents that have not told of the newest bundle.
    fn behind(&self) -> usize {
        let live = self.agents.iter().filter(|agent| agent.connected);
        live.filter(|agent| agent.told.0 < self.bundle.sequence)
            .count()
    }

    fn dependents(&self, slot: Slot) -> Dependents {
        let last_expiry = self.truth.get(&slot).and_then(|truth| truth.last_expiry);
        let valid = last_expiry.is_some_and(|at| at > self.server_now());
        let sequence = self.bundle.sequence;
        let holding = self.agents.iter().filter(|a| a.told.1 < sequence).count();
        Dependents {
            unexpired: u64::from(valid),
            last_expiry,
            minted: 0,
            counted: true,
            behind: self.behind(),
            holding: if self.has(Bug::RevokesWhatIsHeld) {
                0
            } else {
                holding
            },
        }
    }
}
