//! A server in which rotation runs: it loses, delays and repeats everything.

use std::collections::BTreeMap;

use authority::rotation::{Effect, Event, MAX_KEYS, Phase, Policy, Slot, State, step};
use identity::{Seconds, Timestamp};
use proptest::prelude::*;

pub(crate) const LIFETIME: Seconds = Seconds(86_400);
pub(crate) const LONGEST_TTL: u32 = 3_600;

pub(crate) fn policy() -> Policy {
    Policy::for_lifetime(LIFETIME, Seconds(900))
}

/// What really happened to a key, whatever the state believes.
#[derive(Default, Debug)]
pub(crate) struct Truth {
    pub(crate) not_after: Timestamp,
    pub(crate) published: bool,
    pub(crate) acknowledged: bool,
    pub(crate) waived: bool,
    pub(crate) revoked: bool,
    pub(crate) removed: bool,
    pub(crate) last_signed: Option<Timestamp>,
}

/// A server: its committed state, the effects not yet carried out, the answers
/// not yet delivered, and the truth to hold them against.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) state: State,
    pub(crate) effects: Vec<Effect>,
    pub(crate) answers: Vec<Event>,
    pub(crate) signing: Option<Slot>,
    pub(crate) truth: BTreeMap<Slot, Truth>,
}

#[derive(Clone, Debug)]
pub(crate) enum Move {
    Wait(u32),
    Tick,
    CarryOut(usize),
    CarryOutAgain(usize),
    Deliver(usize),
    DeliverAgain(usize),
    Sign(u32),
    Crash,
    LoseAnswers,
    PrepareNow,
    ActivateNow(usize),
    Taint(usize),
    Revoke(usize),
}

pub(crate) fn moves(admin: bool) -> impl Strategy<Value = Vec<Move>> {
    let world = prop_oneof![
        4 => (0_u32..20_000).prop_map(Move::Wait),
        6 => Just(Move::Tick),
        8 => (0_usize..8).prop_map(Move::CarryOut),
        2 => (0_usize..8).prop_map(Move::CarryOutAgain),
        8 => (0_usize..8).prop_map(Move::Deliver),
        2 => (0_usize..8).prop_map(Move::DeliverAgain),
        6 => (1_u32..LONGEST_TTL).prop_map(Move::Sign),
        1 => Just(Move::Crash),
        1 => Just(Move::LoseAnswers),
    ];
    let by_admin = prop_oneof![
        Just(Move::PrepareNow),
        (0_usize..4).prop_map(Move::ActivateNow),
        (0_usize..4).prop_map(Move::Taint),
        (0_usize..4).prop_map(Move::Revoke),
    ];
    let weight = u32::from(admin) * 2;
    prop::collection::vec(prop_oneof![20 => world, weight.max(1) => by_admin], 1..300).prop_map(
        move |all| {
            let natural = |m: &Move| {
                !matches!(
                    m,
                    Move::ActivateNow(_) | Move::Taint(_) | Move::Revoke(_) | Move::PrepareNow
                )
            };
            all.into_iter().filter(|m| admin || natural(m)).collect()
        },
    )
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Timestamp(1_795_507_200),
            state: State::default(),
            effects: Vec::new(),
            answers: Vec::new(),
            signing: None,
            truth: BTreeMap::new(),
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        let (next, effects) = step(&self.state, event.clone(), self.now, &policy());
        // Repeating any report at once changes nothing more. Asking for a successor
        // twice may mean two: the first may have been activated meanwhile.
        if event != Event::PrepareNow {
            let (again, _) = step(&next, event, self.now, &policy());
            assert_eq!(again, next, "a repeated report changed the state");
        }
        self.state = next;
        self.effects = effects;
        self.check_state();
    }

    pub(crate) fn check_state(&self) {
        let phase = |wanted: fn(&Phase) -> bool| {
            self.state.keys.iter().filter(|k| wanted(&k.phase)).count()
        };
        assert!(phase(|p| matches!(p, Phase::Active { .. })) <= 1);
        assert!(phase(|p| matches!(p, Phase::Prepared | Phase::Published { .. })) <= 1);
        assert!(self.state.keys.len() <= MAX_KEYS);
        for key in &self.state.keys {
            let truth = &self.truth[&key.slot];
            if matches!(key.phase, Phase::Active { .. }) {
                let known = truth.published && (truth.acknowledged || truth.waived);
                assert!(known, "I1: slot {} is active too soon: {truth:?}", key.slot);
            }
        }
    }

    pub(crate) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Create { slot } => {
                let not_after = self.now.plus(LIFETIME);
                // The storage finds a key it made before.
                let truth = self.truth.entry(slot).or_insert_with(|| Truth {
                    not_after,
                    ..Truth::default()
                });
                self.answers.push(Event::Created {
                    slot,
                    id: format!("key-{slot}").into(),
                    not_before: truth.not_after.minus(LIFETIME),
                    not_after: truth.not_after,
                });
            }
            Effect::Publish { slot } => {
                self.truth.get_mut(&slot).unwrap().published = true;
                self.answers.push(Event::Published { slot });
            }
            Effect::AwaitAcknowledgement { slot } => {
                let truth = self.truth.get_mut(&slot).unwrap();
                truth.acknowledged = truth.published;
                self.answers.push(Event::Acknowledged { slot });
            }
            Effect::Activate { slot } => self.signing = Some(slot),
            Effect::Retire { slot } => {
                if self.signing == Some(slot) {
                    self.signing = None;
                }
                let last = self.truth[&slot].last_signed;
                self.answers.push(Event::Drained {
                    slot,
                    last_expiry: last.unwrap_or(Timestamp(0)),
                });
            }
            Effect::Remove { slot } => {
                assert_ne!(self.signing, Some(slot), "a key is removed while it signs");
                let truth = self.truth.get_mut(&slot).unwrap();
                let expired = truth.last_signed.is_none_or(|last| last < self.now);
                assert!(
                    expired || truth.revoked,
                    "I2: {slot} removed too soon: {truth:?}"
                );
                truth.removed = true;
                self.answers.push(Event::Removed { slot });
            }
            Effect::Taint { .. } | Effect::Refuse { .. } => {}
        }
    }

    /// Signs if the shell believes it may: clamped to the key, as the authority does.
    pub(crate) fn sign(&mut self, ttl: u32) {
        let Some(slot) = self.signing else { return };
        let now = self.now;
        let truth = self.truth.get_mut(&slot).unwrap();
        if now >= truth.not_after {
            return;
        }
        assert!(!truth.removed, "{slot} signs after its removal");
        assert!(
            truth.published && (truth.acknowledged || truth.waived),
            "I1"
        );
        let expiry = now.plus(Seconds(ttl)).min(truth.not_after);
        truth.last_signed = truth.last_signed.max(Some(expiry));
    }

    pub(crate) fn slot(&self, n: usize) -> Option<Slot> {
        self.state
            .keys
            .get(n % self.state.keys.len().max(1))
            .map(|k| k.slot)
    }

    pub(crate) fn play(&mut self, next: Move) {
        match next {
            Move::Wait(seconds) => self.now = self.now.plus(Seconds(seconds)),
            Move::Tick => self.event(Event::Tick),
            // The shell carries effects out in order; a crash may cut them short.
            Move::CarryOut(n) => {
                let count = (n + 1).min(self.effects.len());
                for effect in self.effects.drain(..count).collect::<Vec<_>>() {
                    self.carry_out(effect);
                }
            }
            Move::CarryOutAgain(n) => {
                let repeated = self.effects.iter().take(n).cloned().collect::<Vec<_>>();
                for effect in repeated {
                    self.carry_out(effect);
                }
            }
            Move::Deliver(n) if !self.answers.is_empty() => {
                let answer = self.answers.remove(n % self.answers.len());
                self.event(answer);
            }
            Move::DeliverAgain(n) if !self.answers.is_empty() => {
                let answer = self.answers[n % self.answers.len()].clone();
                self.event(answer);
            }
            Move::Deliver(_) | Move::DeliverAgain(_) => {}
            Move::Sign(ttl) => self.sign(ttl),
            // Only the committed state and the truth survive.
            Move::Crash => {
                self.effects.clear();
                self.answers.clear();
                self.signing = None;
            }
            Move::LoseAnswers => self.answers.clear(),
            Move::PrepareNow => self.event(Event::PrepareNow),
            Move::ActivateNow(n) => {
                if let Some(slot) = self.slot(n) {
                    self.truth.get_mut(&slot).unwrap().waived = true;
                    self.event(Event::ActivateNow { slot });
                }
            }
            Move::Taint(n) => {
                if let Some(slot) = self.slot(n) {
                    self.event(Event::Taint { slot });
                }
            }
            Move::Revoke(n) => {
                if let Some(slot) = self.slot(n) {
                    self.truth.get_mut(&slot).unwrap().revoked = true;
                    self.event(Event::Revoke { slot });
                }
            }
        }
    }

    /// Everything works for a while: ticks, effects and answers, all in order.
    pub(crate) fn settle(&mut self) {
        for _ in 0..6 {
            self.event(Event::Tick);
            for effect in std::mem::take(&mut self.effects) {
                self.carry_out(effect);
            }
            for answer in std::mem::take(&mut self.answers) {
                self.event(answer);
            }
        }
        for effect in std::mem::take(&mut self.effects) {
            self.carry_out(effect);
        }
    }
}
