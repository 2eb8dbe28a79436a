//! Dying, so that a victim gets the number, in a PID namespace of its own where
//! the next number can be chosen.

use std::fs;
use std::process::{Command, Stdio};

use crate::roles::{FLAG, LINGER};
use crate::server::{Kind, Server};
use crate::world::{ATTACKER_UID, Actor, VICTIM_UID, World, must_be_refused, must_hold};

/// Runs [`inside`] as the first process of a new PID namespace.
pub(crate) fn a_reused_pid_is_not_the_victim(rounds: usize) {
    let world = Command::new(std::env::current_exe().unwrap())
        .args([FLAG, "pid-world", &rounds.to_string()])
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(world.success(), "{world}");
}

/// The attacker connects, leaves the socket to a child and exits; a victim is
/// started with its number; then the child asks.
pub(crate) fn inside(rounds: usize) {
    let world = World::new();
    let control = Server::start(Kind::ProcWhenAsked, world.folder.path());
    let answer = after_accept(&world, &control);
    must_hold(&answer, &format!("unix:uid:{VICTIM_UID}"));
    must_hold(&answer, &world.victim_path());
    for kind in [Kind::Guarded, Kind::GuardedCalls, Kind::GuardedWeakly] {
        let guarded = Server::start(kind, world.folder.path());
        for _ in 0..rounds {
            must_be_refused(&after_accept(&world, &guarded));
            let honest = world.honest(&guarded.path, VICTIM_UID);
            must_hold(&honest, &world.victim_path());
        }
    }
    // All of it before the connection is accepted, and with a victim of the same
    // user: now only the kernel's handle can tell. This is what "weak" means.
    let (answer, _) = before_accept(&world, Kind::GuardedWeakly);
    must_hold(&answer, &world.victim_path());
    for kind in [Kind::Guarded, Kind::GuardedCalls] {
        for _ in 0..rounds {
            let (answer, honest) = before_accept(&world, kind);
            must_be_refused(&answer);
            must_hold(&honest, &world.victim_path());
        }
    }
}

fn after_accept(world: &World, server: &Server) -> String {
    let mut attacker = Actor::start(&world.attacker, ATTACKER_UID, &["hand-over", &server.path]);
    attacker.wait();
    let _victim = victim_with_number(world, attacker.child.id(), VICTIM_UID);
    attacker.line()
}

fn before_accept(world: &World, kind: Kind) -> (String, String) {
    let late = Server::start_late(kind, world.folder.path());
    let mut attacker = Actor::start(&world.attacker, ATTACKER_UID, &["hand-over", &late.path]);
    attacker.wait();
    let _victim = victim_with_number(world, attacker.child.id(), ATTACKER_UID);
    let accepting = late.accepting();
    (attacker.line(), world.honest(&accepting.path, VICTIM_UID))
}

fn victim_with_number(world: &World, wanted: u32, uid: u32) -> Actor {
    loop {
        // Where the kernel lets nobody choose, this takes a turn of all numbers.
        let _chosen = fs::write("/proc/sys/kernel/ns_last_pid", (wanted - 1).to_string());
        let victim = Actor::start(&world.victim, uid, &[LINGER]);
        if victim.child.id() == wanted {
            return victim;
        }
    }
}

/// Waits until a process has become the victim's program.
pub(crate) fn until_it_runs_the_victim(pid: u32) {
    loop {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        if String::from_utf8_lossy(&arguments).contains(LINGER) {
            return;
        }
        std::thread::yield_now();
    }
}
