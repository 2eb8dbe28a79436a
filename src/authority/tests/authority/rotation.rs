//! Rotation keeps its invariants, and keys go through their phases in time.

use authority::rotation::{
    Effect, Event, Phase, State, TAINT_PATIENCE, Waiting, is_out_of_patience, step, waiting_for,
};
use identity::Seconds;
use proptest::prelude::*;

use crate::world::{LIFETIME, Move, World, moves, policy};

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
    // Relying parties that fetch at intervals are not waited for: 900 s here.
    world.now = world.now.plus(TAINT_PATIENCE);
    world.settle();
    let kept = world.state.key(0).is_none_or(|key| key.tainted);
    assert!(kept && world.state.active().is_some_and(|key| key.slot == 1));
}

/// Whoever does not acknowledge is waited for, and not for ever.
#[test]
fn a1_patience_with_those_who_never_acknowledge_ends() {
    let mut world = World::new();
    world.settle();
    world.event(Event::PrepareNow);
    world.settle();
    let ends = |world: &World, after: u32| {
        let key = world.state.successor().unwrap();
        let Phase::Published { at, .. } = key.phase else {
            panic!("{:?}", key.phase);
        };
        let then = at.plus(Seconds(after));
        is_out_of_patience(&world.state, key, then, then, &policy())
    };
    let whole = policy().publication_interval.0 + policy().patience.0;
    assert!(!ends(&world, whole - 1) && ends(&world, whole));
    world.event(Event::Taint { slot: 0 });
    assert!(!ends(&world, TAINT_PATIENCE.0 - 1) && ends(&world, TAINT_PATIENCE.0));
}
