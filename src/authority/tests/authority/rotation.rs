//! Rotation in a small world that loses, delays and repeats everything.

use std::collections::BTreeMap;

use authority::rotation::{
    Effect, Event, MAX_KEYS, Phase, Policy, Slot, State, Waiting, step, waiting_for,
};
use identity::{Seconds, Timestamp};
use proptest::prelude::*;

const LIFETIME: Seconds = Seconds(86_400);
const LONGEST_TTL: u32 = 3_600;

fn policy() -> Policy {
    Policy::for_lifetime(LIFETIME, Seconds(900))
}

/// What really happened to a key, whatever the state believes.
#[derive(Default, Debug)]
struct Truth {
    not_after: Timestamp,
    published: bool,
    acknowledged: bool,
    waived: bool,
    revoked: bool,
    removed: bool,
    last_signed: Option<Timestamp>,
}

/// A server: its committed state, the effects not yet carried out, the answers
/// not yet delivered, and the truth to hold them against.
struct World {
    now: Timestamp,
    state: State,
    effects: Vec<Effect>,
    answers: Vec<Event>,
    signing: Option<Slot>,
    truth: BTreeMap<Slot, Truth>,
}

#[derive(Clone, Debug)]
enum Move {
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

fn moves(admin: bool) -> impl Strategy<Value = Vec<Move>> {
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
    fn new() -> Self {
        Self {
            now: Timestamp(1_795_507_200),
            state: State::default(),
            effects: Vec::new(),
            answers: Vec::new(),
            signing: None,
            truth: BTreeMap::new(),
        }
    }

    fn event(&mut self, event: Event) {
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

    fn check_state(&self) {
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

    fn carry_out(&mut self, effect: Effect) {
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
    fn sign(&mut self, ttl: u32) {
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

    fn slot(&self, n: usize) -> Option<Slot> {
        self.state
            .keys
            .get(n % self.state.keys.len().max(1))
            .map(|k| k.slot)
    }

    fn play(&mut self, next: Move) {
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
    fn settle(&mut self) {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// I1 and I2 hold through any order, loss and repetition; afterwards a working
    /// world always comes to have a key that signs.
    #[test]
    fn invariants_hold_without_an_admin(moves in moves(false)) {
        let mut world = World::new();
        for next in moves {
            world.play(next);
        }
        world.answers.clear();
        world.settle();
        let active = world.state.active().map(|key| key.slot);
        prop_assert!(active.is_some(), "{:?}", world.state);
        prop_assert_eq!(world.signing, active);
    }

    #[test]
    fn invariants_hold_whatever_an_admin_does(moves in moves(true)) {
        let mut world = World::new();
        for next in moves {
            world.play(next);
        }
        world.answers.clear();
        world.settle();
        prop_assert!(world.state.active().is_some(), "{:?}", world.state);
    }

    #[test]
    fn the_same_question_gets_the_same_answer(moves in moves(true)) {
        let mut world = World::new();
        for next in moves {
            world.play(next);
        }
        let ask = || step(&world.state, Event::Tick, world.now, &policy());
        prop_assert_eq!(ask(), ask());
    }
}

/// The world's own checks can fail: a rotation that forgets to wait is caught.
#[test]
#[should_panic(expected = "I1")]
fn a_key_that_signs_before_its_acknowledgement_is_caught() {
    let mut world = World::new();
    world.event(Event::Tick);
    world.play(Move::CarryOut(8));
    world.play(Move::Deliver(0));
    world.play(Move::CarryOut(8));
    world.play(Move::Deliver(0));
    let key = world.state.keys.first_mut().unwrap();
    assert!(matches!(key.phase, Phase::Published { .. }));
    key.phase = Phase::Active { at: world.now };
    world.check_state();
}

#[test]
#[should_panic(expected = "I2")]
fn a_key_removed_before_its_last_expiry_is_caught() {
    let mut world = World::new();
    world.settle();
    world.sign(3_600);
    world.signing = None;
    world.carry_out(Effect::Remove { slot: 0 });
}

fn phases(state: &State) -> Vec<&'static str> {
    let name = |phase: &Phase| match phase {
        Phase::Prepared => "prepared",
        Phase::Published { .. } => "published",
        Phase::Active { .. } => "active",
        Phase::Retired { .. } => "retired",
    };
    state.keys.iter().map(|key| name(&key.phase)).collect()
}

#[test]
fn a_key_goes_through_all_phases_in_its_time() {
    let mut world = World::new();
    let start = world.now;
    world.settle();
    assert_eq!(
        phases(&world.state),
        ["active"],
        "the first key waits for nobody"
    );
    world.now = start.plus(Seconds(43_199));
    world.settle();
    assert_eq!(
        phases(&world.state),
        ["active"],
        "before half its life nothing moves"
    );
    world.now = start.plus(Seconds(43_201));
    world.settle();
    assert_eq!(phases(&world.state), ["active", "published"]);
    let successor = world.state.successor().unwrap();
    assert!(matches!(
        waiting_for(&world.state, successor, world.now, &policy())[..],
        [Waiting::PublicationInterval(_), Waiting::Schedule(_)]
    ));
    world.sign(3_600);
    let signed_until = world.now.plus(Seconds(3_600));
    world.now = start.plus(Seconds(72_001));
    assert!(world.now > signed_until.plus(policy().removal_skew));
    world.event(Event::Tick);
    assert_eq!(phases(&world.state), ["retired", "active"]);
    world.settle();
    assert_eq!(
        phases(&world.state),
        ["active"],
        "all it signed expired long ago"
    );
    assert_eq!(world.state.next_slot, 2);
}

#[test]
fn a_retired_key_stays_until_the_last_thing_it_signed_has_expired() {
    let mut world = World::new();
    let start = world.now;
    world.settle();
    world.now = start.plus(Seconds(43_201));
    world.settle();
    world.now = start.plus(Seconds(71_990));
    world.sign(3_600);
    let last = world.now.plus(Seconds(3_600));
    world.now = start.plus(Seconds(72_001));
    world.settle();
    assert_eq!(phases(&world.state), ["retired", "active"]);
    world.now = last.plus(Seconds(600));
    world.settle();
    assert_eq!(phases(&world.state), ["retired", "active"]);
    world.now = last.plus(Seconds(601));
    world.settle();
    assert_eq!(phases(&world.state), ["active"]);
}

#[test]
fn an_unacknowledged_key_waits_even_when_its_time_has_come() {
    let mut world = World::new();
    world.settle();
    world.now = world.now.plus(Seconds(80_000));
    world.event(Event::Tick);
    world.play(Move::CarryOut(8));
    let created = world.answers.pop().unwrap();
    world.event(created);
    let slot = world.state.successor().unwrap().slot;
    world.truth.get_mut(&slot).unwrap().published = true;
    world.event(Event::Published { slot });
    world.now = world.now.plus(Seconds(5_000));
    world.event(Event::Tick);
    assert_eq!(phases(&world.state), ["active", "published"]);
    world.truth.get_mut(&slot).unwrap().acknowledged = true;
    world.event(Event::Acknowledged { slot });
    assert_eq!(phases(&world.state), ["retired", "active"]);
}

#[test]
fn a_successor_that_expired_while_waiting_makes_room() {
    let mut world = World::new();
    world.event(Event::Tick);
    world.play(Move::CarryOut(0));
    world.now = world.now.plus(LIFETIME);
    world.settle();
    assert_eq!(world.state.active().map(|key| key.slot), Some(1));
}

#[test]
fn what_an_admin_may_not_do_is_refused_with_a_way_out() {
    let mut world = World::new();
    world.settle();
    let refused = |world: &World, event: Event| {
        let (next, effects) = step(&world.state, event, world.now, &policy());
        assert_eq!(next, world.state, "a refused event changes nothing");
        matches!(effects[..], [Effect::Refuse { .. }])
    };
    assert!(refused(&world, Event::Revoke { slot: 0 }), "active");
    assert!(refused(&world, Event::Revoke { slot: 9 }), "unknown");
    assert!(refused(&world, Event::Taint { slot: 9 }), "unknown");
    world.event(Event::PrepareNow);
    world.play(Move::CarryOut(0));
    world.play(Move::CarryOut(0));
    let created = |a: &Event| matches!(a, Event::Created { .. });
    let at = world.answers.iter().position(created).unwrap();
    let created = world.answers.remove(at);
    world.event(created);
    assert_eq!(phases(&world.state), ["active", "prepared"]);
    assert!(
        refused(&world, Event::ActivateNow { slot: 1 }),
        "not published"
    );
}

#[test]
fn a_tainted_active_key_is_replaced_as_soon_as_its_successor_is_known() {
    let mut world = World::new();
    world.settle();
    world.event(Event::Taint { slot: 0 });
    world.settle();
    assert_eq!(phases(&world.state), ["active", "published"]);
    world.now = world.now.plus(Seconds(901));
    world.settle();
    let kept = world.state.key(0).is_none_or(|key| key.tainted);
    assert!(kept && world.state.active().is_some_and(|key| key.slot == 1));
}
