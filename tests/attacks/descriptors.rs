//! Connections in other hands than those that made them.

use std::fs;

use crate::server::{Kind, Server};
use crate::world::{ATTACKER_UID, Actor, World, must_be_refused, must_hold};

/// A connection passed to another user speaks for its connector, never for its
/// holder, and for nobody once the connector is dead.
pub(crate) fn a_passed_descriptor_dies_with_its_connector(rounds: usize) {
    // Root, so that it can start a receiver of another user.
    held_after_death("pass", 0, rounds);
}

/// A child that keeps its parent's connection loses it with the parent.
pub(crate) fn a_child_does_not_outlive_its_parent(rounds: usize) {
    held_after_death("leave-a-child", ATTACKER_UID, rounds);
}

fn held_after_death(role: &str, uid: u32, rounds: usize) {
    let world = World::new();
    let attack = |server: &Server| {
        let mut attacker = Actor::start(&world.attacker, uid, &[role, &server.path]);
        let alive = attacker.line();
        attacker.wait();
        (alive, attacker.line())
    };
    let connector = format!("unix:uid:{uid}");
    let control = Server::start(Kind::ProcOnce, world.folder.path());
    must_hold(&attack(&control).1, &connector);
    for kind in [
        Kind::Guarded,
        Kind::GuardedCalls,
        Kind::GuardedPushes,
        Kind::GuardedWeakly,
    ] {
        let guarded = Server::start(kind, world.folder.path());
        for _ in 0..rounds {
            let (alive, dead) = attack(&guarded);
            must_hold(&alive, &connector);
            must_be_refused(&dead);
            must_hold(&world.honest(&guarded.path, uid), &connector);
        }
    }
}

/// Callers that are refused cost nothing that stays.
pub(crate) fn failing_attestations_leak_no_descriptors(rounds: usize) {
    let world = World::new();
    let guarded = Server::start(Kind::Guarded, world.folder.path());
    let round = || {
        let role = ["drop-privileges", &guarded.path];
        must_be_refused(&Actor::start(&world.attacker, 0, &role).line());
    };
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    round();
    // An honest call comes after the refused one on the same event loop, which
    // has then closed what the refused one held.
    let settled = || {
        world.honest(&guarded.path, 0);
        open()
    };
    let before = settled();
    for _ in 0..rounds {
        round();
    }
    let after = settled();
    // A few may be open at any moment; a leak would have kept one of each round.
    assert!(
        after < before + rounds.min(20),
        "{before} descriptors became {after} in {rounds} rounds"
    );
}
