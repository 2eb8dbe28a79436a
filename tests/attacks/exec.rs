//! Becoming another program, or another user, after connecting.

use std::path::Path;

use crate::server::{Kind, Server};
use crate::world::{ATTACKER_UID, Actor, World, must_be_refused, must_hold};

/// The attacker connects, leaves the socket to a child, and becomes the
/// victim's program: number and start time stay what they were.
pub(crate) fn exec_after_accept_is_not_the_victims_program(rounds: usize) {
    let world = World::new();
    let victim = world.victim.to_str().unwrap();
    let attack = |server: &Server| {
        Actor::start(
            &world.attacker,
            ATTACKER_UID,
            &["exec", &server.path, victim],
        )
        .line()
    };
    let control = Server::start(Kind::ProcWhenAsked, world.folder.path());
    must_hold(&attack(&control), &world.victim_path());
    for kind in [Kind::Guarded, Kind::GuardedWeakly] {
        let guarded = Server::start(kind, world.folder.path());
        for _ in 0..rounds {
            must_be_refused(&attack(&guarded));
            must_hold(
                &world.honest(&guarded.path, ATTACKER_UID),
                &world.victim_path(),
            );
        }
    }
}

/// A stream that was opened honestly goes on to whom it was opened for: not to
/// the child that holds it after its parent has become another program, and
/// not when the parent is dead.
pub(crate) fn a_push_does_not_reach_another_program(rounds: usize) {
    let world = World::new();
    let victim = world.victim.to_str().unwrap();
    let attack = |server: &Server| {
        let role = ["ask-and-exec", &server.path, victim];
        let mut attacker = Actor::start(&world.attacker, ATTACKER_UID, &role);
        (attacker.line(), attacker.line())
    };
    let own = format!("unix:path:{}", world.attacker.display());
    let control = Server::start(Kind::ProcOnce, world.folder.path());
    must_hold(&attack(&control).1, &own);
    let guarded = Server::start(Kind::GuardedPushes, world.folder.path());
    for _ in 0..rounds {
        let (opened, pushed) = attack(&guarded);
        must_hold(&opened, &own);
        must_be_refused(&pushed);
        let role = ["honest-stream", &guarded.path];
        let pushed = Actor::start(&world.victim, ATTACKER_UID, &role).line();
        must_hold(&pushed, &world.victim_path());
    }
}

/// The known limit: who becomes the victim's program while its connection still
/// waits to be accepted is taken for it. It gains nothing that the same user
/// could not do with `LD_PRELOAD`; and it does not gain another user.
pub(crate) fn exec_before_accept_stays_within_one_user(rounds: usize) {
    let world = World::new();
    let attack = |program: &Path| {
        let late = Server::start_late(Kind::Guarded, world.folder.path());
        let role = ["exec", &late.path, program.to_str().unwrap()];
        let mut attacker = Actor::start(&world.attacker, ATTACKER_UID, &role);
        crate::pid_reuse::until_it_runs_the_victim(attacker.child.id());
        let accepting = late.accepting();
        (attacker.line(), world.honest(&accepting.path, 0))
    };
    let (answer, _) = attack(&world.victim);
    must_hold(&answer, &format!("unix:uid:{ATTACKER_UID}"));
    for _ in 0..rounds {
        let (answer, honest) = attack(&world.setuid_victim);
        must_be_refused(&answer);
        must_hold(&honest, "unix:uid:0");
    }
}

/// The same, with a program that changes the user: whoever reads the user from
/// `/proc` when asked takes the attacker for root.
pub(crate) fn setuid_exec_after_connect_is_not_root(rounds: usize) {
    let world = World::new();
    let victim = world.setuid_victim.to_str().unwrap();
    let attack = |server: &Server| {
        Actor::start(
            &world.attacker,
            ATTACKER_UID,
            &["exec", &server.path, victim],
        )
        .line()
    };
    let control = Server::start(Kind::ProcWhenAsked, world.folder.path());
    must_hold(&attack(&control), "unix:uid:0");
    let guarded = Server::start(Kind::Guarded, world.folder.path());
    for _ in 0..rounds {
        must_be_refused(&attack(&guarded));
        must_hold(&world.honest(&guarded.path, 0), "unix:uid:0");
    }
}

/// A process that connected as root and is root no more is not served as root:
/// the credentials of its socket are of the past.
pub(crate) fn dropped_privileges_are_not_kept(rounds: usize) {
    let world = World::new();
    let attack = |server: &Server| {
        Actor::start(&world.attacker, 0, &["drop-privileges", &server.path]).line()
    };
    let control = Server::start(Kind::ProcOnce, world.folder.path());
    must_hold(&attack(&control), "unix:uid:0");
    let guarded = Server::start(Kind::Guarded, world.folder.path());
    for _ in 0..rounds {
        must_be_refused(&attack(&guarded));
        must_hold(&world.honest(&guarded.path, 0), "unix:uid:0");
    }
}
