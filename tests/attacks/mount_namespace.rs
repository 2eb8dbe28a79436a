//! Giving one's own program the victim's path, in a private mount namespace.

use crate::server::{Kind, Server};
use crate::world::{ATTACKER_UID, Actor, World, must_hold};

/// Any user can make a user and a mount namespace and mount its own program
/// over the victim's: `/proc/<pid>/exe` then shows the victim's path.
pub(crate) fn a_private_mount_gives_no_path(rounds: usize) {
    let world = World::new();
    let victim = world.victim.to_str().unwrap();
    let attack = |server: &Server| {
        let role = ["mount-over", &server.path, victim];
        Actor::start(&world.attacker, ATTACKER_UID, &role).line()
    };
    let control = Server::start(Kind::ProcWhenAsked, world.folder.path());
    must_hold(&attack(&control), &world.victim_path());
    let guarded = Server::start(Kind::Guarded, world.folder.path());
    for _ in 0..rounds {
        let answer = attack(&guarded);
        // It is still the user it is, and nothing more.
        must_hold(&answer, &format!("unix:uid:{ATTACKER_UID}"));
        assert!(
            !answer.contains("unix:path:"),
            "the attack succeeded: {answer}"
        );
        must_hold(
            &world.honest(&guarded.path, ATTACKER_UID),
            &world.victim_path(),
        );
    }
}
