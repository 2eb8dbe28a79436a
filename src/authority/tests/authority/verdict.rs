//! What is safe to do by hand, and what would happen.

use authority::rotation::{
    Dependents, Event, Next, Reason, TAINT_PATIENCE, against_activating, against_revoking,
    against_tainting, foresee, next_step,
};
use identity::{Seconds, Timestamp};

use crate::world::{World, policy};

const QUIET: Dependents = Dependents {
    unexpired: 0,
    last_expiry: None,
    minted: 0,
    counted: true,
    behind: 0,
    holding: 0,
};

/// One key retired, one active.
fn rotated() -> World {
    let mut world = World::new();
    world.settle();
    world.sign(3_600);
    world.event(Event::PrepareNow);
    world.settle();
    let slot = world.state.successor().unwrap().slot;
    world.truth.get_mut(&slot).unwrap().waived = true;
    world.event(Event::ActivateNow { slot });
    world
}

#[test]
fn what_a_key_signed_depends_on_it_until_it_has_expired() {
    let world = rotated();
    let key = world.state.key(0).unwrap();
    let until = world.now.plus(Seconds(3_600));
    let valid = Dependents {
        unexpired: 7,
        last_expiry: Some(until),
        ..QUIET
    };
    let why = against_revoking(key, world.now, &valid);
    assert_eq!(why, [Reason::Unexpired(7, until)]);
    assert!(against_revoking(key, world.now, &QUIET).is_empty());
    let uncounted = Dependents {
        counted: false,
        ..QUIET
    };
    let why = against_revoking(key, world.now, &uncounted);
    assert_eq!(why, [Reason::NotCounted], "not knowing is not safe");
}

#[test]
fn of_a_tainted_key_only_those_count_who_have_not_replaced_it() {
    let mut world = rotated();
    world.event(Event::Taint { slot: 0 });
    let key = world.state.key(0).unwrap();
    let until = world.now.plus(Seconds(3_600));
    let replaced = Dependents {
        unexpired: 7,
        last_expiry: Some(until),
        ..QUIET
    };
    assert!(against_revoking(key, world.now, &replaced).is_empty());
    let held = Dependents {
        holding: 2,
        minted: 1,
        ..replaced
    };
    let why = against_revoking(key, world.now, &held);
    assert_eq!(why, [Reason::Held(2, until), Reason::Minted(1, until)]);
    let only_minted = Dependents {
        unexpired: 1,
        ..held
    };
    let why = against_revoking(key, world.now, &only_minted);
    assert_eq!(why, [Reason::Minted(1, until)]);
}

#[test]
fn u14_a_key_that_signs_is_not_revoked_and_may_be_tainted() {
    let world = rotated();
    let active = world.state.active().unwrap();
    assert_eq!(against_revoking(active, world.now, &QUIET), [Reason::Signs]);
    // As `foresee` says of the same event: the taint waits for the successor, which is made.
    assert!(against_tainting(active, &QUIET).is_empty());
    let retired = world.state.key(0).unwrap();
    assert!(against_tainting(retired, &QUIET).is_empty());
    let behind = Dependents { behind: 3, ..QUIET };
    assert_eq!(against_tainting(retired, &behind), [Reason::Behind(3)]);
}

#[test]
fn d9_reasons_show_dates() {
    let at = Timestamp(1_795_503_599);
    for reason in [
        Reason::Interval(at),
        Reason::Unexpired(2, at),
        Reason::JustExpired(at),
        Reason::Minted(1, at),
        Reason::Held(3, at),
    ] {
        let text = reason.to_string();
        assert!(text.contains("2026-11-24T06:59:59Z"), "{text}");
        assert!(!text.contains("1795503599"), "{text}");
    }
}

#[test]
fn a_published_key_signs_once_agents_know_it_and_its_interval_is_over() {
    let mut world = World::new();
    world.settle();
    world.event(Event::PrepareNow);
    world.settle();
    let published = world.state.successor().unwrap().clone();
    let why = against_activating(&world.state, &published, world.now, &policy(), &QUIET);
    let until = world.now.plus(policy().publication_interval);
    assert_eq!(why, [Reason::Interval(until)]);
    let why = against_activating(&world.state, &published, until, &policy(), &QUIET);
    assert!(
        why.is_empty(),
        "an administrator may be ahead of the schedule"
    );
}

#[test]
fn the_next_step_of_each_phase_has_a_time() {
    let mut world = World::new();
    world.settle();
    let next = |world: &World, slot| {
        let key = world.state.key(slot).unwrap();
        next_step(&world.state, key, world.now, &policy())
    };
    let end = world.state.active().unwrap().not_after;
    let half = end.minus(policy().prepare_before);
    assert_eq!(next(&world, 0), Next::Prepare(half));
    world.event(Event::PrepareNow);
    world.settle();
    let sixth = end.minus(policy().activate_before);
    assert_eq!(next(&world, 0), Next::Retire(sixth));
    assert_eq!(next(&world, 1), Next::Activate(sixth));
    world.event(Event::Taint { slot: 0 });
    let soon = world.now.plus(TAINT_PATIENCE);
    assert_eq!(
        next(&world, 1),
        Next::Activate(soon),
        "a taint waits for nobody longer"
    );
    let world = rotated();
    assert!(matches!(next(&world, 0), Next::Remove(_)));
}

#[test]
fn a_plan_says_what_would_happen_and_what_is_refused() {
    let world = rotated();
    let plan = |event| foresee(&world.state, event, world.now, &policy());
    let taint = plan(Event::Taint { slot: 1 }).unwrap();
    assert!(taint[0].contains("once its successor signs"), "{taint:?}");
    assert!(taint.iter().any(|s| s.contains("a successor is made")));
    let revoke = plan(Event::Revoke { slot: 0 }).unwrap();
    assert!(revoke[0].contains("leaves the bundle"), "{revoke:?}");
    assert!(plan(Event::Revoke { slot: 1 }).is_err());
    assert_eq!(plan(Event::Tick).unwrap(), ["nothing changes"]);
}
