//! Rotation and fleet in virtual time, over many seeds: crashes at every arrow,
//! lost connections, long sleeps, an administrator; then with planted defects,
//! each of which must be found. `BULLA_SEEDS` makes it more than 200.

use std::panic::{AssertUnwindSafe, catch_unwind};

use authority::rotation::Event;

use crate::fleet::{BUGS, Bug, Fleet};

const SEEDS: u64 = 200;
const STEPS: usize = 350;
/// Agents that talk to the server in one step.
const AT_ONCE: usize = 12;

fn seeds() -> u64 {
    let given = std::env::var("BULLA_SEEDS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// One life of a fleet. Panics where an invariant does not hold.
fn live(seed: u64, bug: Option<Bug>) -> u64 {
    let mut fleet = Fleet::new(seed, bug);
    let agents = fleet.agents.len();
    for _ in 0..STEPS {
        match fleet.chance.below(100) {
            0..30 => {
                let _ = fleet.drive(Event::Tick);
            }
            // Push is prompt, as a rule.
            30..45 => {
                for n in 0..agents {
                    fleet.exchange(n);
                    fleet.exchange(n);
                    fleet.issue(n);
                }
            }
            45..70 => {
                for _ in 0..AT_ONCE {
                    let n = fleet.chance.index(agents);
                    fleet.exchange(n);
                    fleet.issue(n);
                }
            }
            70..86 => {
                let seconds = 1 + fleet.chance.below(240);
                fleet.pass(u32::try_from(seconds).unwrap());
            }
            86..88 => {
                let n = fleet.chance.index(agents);
                fleet.restart(n);
            }
            88..92 => {
                let n = fleet.chance.index(agents);
                fleet.toggle(n);
            }
            92..97 => fleet.administer(),
            97 => fleet.crash(),
            // The server's clock is set wrong, by seconds or by years, and back.
            98 => fleet.set_clock(),
            // The machines sleep: an hour, a month, ten years.
            _ => {
                let longest = [3_600, 30 * 86_400, 10 * 365 * 86_400];
                let longest = longest[fleet.chance.index(longest.len())];
                let seconds = 1 + fleet.chance.below(longest);
                fleet.pass(u32::try_from(seconds).unwrap());
            }
        }
        fleet.check();
    }
    fleet.settle();
    fleet.crashes
}

#[test]
fn no_seed_breaks_an_invariant() {
    let crashes: u64 = (0..seeds()).map(|seed| live(seed, None)).sum();
    assert!(crashes >= seeds(), "{crashes} crashes");
}

/// Whether a life with a defect ends at the invariant that the defect breaks.
fn is_found(seed: u64, bug: Bug) -> bool {
    let lived = catch_unwind(AssertUnwindSafe(|| live(seed, Some(bug))));
    let why = lived.err().map(|why| {
        let text = why.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| why.downcast_ref::<String>().cloned())
    });
    let why = why.flatten().unwrap_or_default();
    why.starts_with(&format!("{}:", bug.breaks()))
}

#[test]
fn every_planted_defect_is_found() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let found = BUGS.map(|bug| (bug, (0..SEEDS).find(|seed| is_found(*seed, bug))));
    std::panic::set_hook(hook);
    for (bug, seed) in found {
        assert!(seed.is_some(), "{bug:?} is not found in {SEEDS} seeds");
    }
}

/// The clock of an emergency: from the taint until no agent holds anything that the
/// leaked key signed, with 100 agents that each look every few seconds.
#[test]
fn what_a_leaked_key_signed_is_gone_from_all_agents_soon() {
    let mut fleet = Fleet::with_agents(7, 100);
    fleet.settle();
    let leaked = fleet.state.active().unwrap().slot;
    assert_eq!(fleet.holders_of(leaked), 100);
    let taint = fleet.now;
    assert_eq!(fleet.drive(Event::Taint { slot: leaked }), None);
    while fleet.holders_of(leaked) > 0 {
        fleet.pass(5);
        let _ = fleet.drive(Event::Tick);
        for n in 0..100 {
            fleet.exchange(n);
            fleet.exchange(n);
            fleet.issue(n);
        }
        fleet.check();
        assert!(fleet.now.since(taint).0 < 120, "it takes too long");
    }
    let took = fleet.now.since(taint).0;
    println!("drill: 100 agents, the last SVID of the leaked key was gone after {took} s");
    // Nobody is waited for beyond the patience after a taint; then two looks.
    assert!(took <= 25, "{took}");
    while fleet.state.key(leaked).is_some() {
        fleet.revoke_if_safe(leaked);
        fleet.pass(5);
        for n in 0..100 {
            fleet.exchange(n);
        }
        fleet.check();
        assert!(fleet.now.since(taint).0 < 180, "the key stays");
    }
    let took = fleet.now.since(taint).0;
    println!("drill: the leaked key itself was gone after {took} s");
}
