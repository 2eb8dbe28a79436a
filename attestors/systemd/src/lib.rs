//! Workload selectors of a systemd unit.
//!
//! | selector | what it says |
//! |---|---|
//! | `systemd:id:payments.service` | the unit that the process runs in |
//! | `systemd:slice:system.slice` | the slice that the unit is in |
//!
//! `id` is SPIRE's; `slice` is ours. SPIRE's `fragment_path` is not stated: only
//! systemd itself can say which file a unit was loaded from
//! (`GetUnitByPIDFD` over D-Bus), and this attestor does not talk to it. What
//! the unit is needs no daemon: systemd puts each unit into a control group of
//! its name, and the kernel says which group the process is in.
//!
//! A process in no unit has no selectors here. One unit name can come from a
//! system unit only: all that a service or a user's manager (`user@1000.service`)
//! makes below its own group is inside that unit, whatever it is called.
//! So a user's own services are all `systemd:id:user@<uid>.service`.
//!
//! The agent must be in the host's control group namespace: in another one it
//! is shown paths that begin at its own group. Paths that lead out of that
//! namespace (`/../…`) are no fact.

mod unit;

use contract::{Inspect, InspectError, Process};
use identity::Selector;

pub use unit::{Unit, unit_of};

/// The attestor's name, and the kind of its selectors.
pub const KIND: &str = "systemd";

/// The attestor of systemd units.
#[derive(Debug, Clone, Copy, Default)]
pub struct Systemd;

impl Inspect for Systemd {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn inspect(&self, process: &dyn Process) -> Result<Vec<Selector>, InspectError> {
        let groups = process.control_groups()?;
        let unit =
            unit_of(&groups).map_err(|error| InspectError::Unavailable(error.to_string()))?;
        let Some(unit) = unit else {
            return Ok(Vec::new());
        };
        let state = |what: &'static str, value: &str| {
            Selector::new(KIND, &format!("{what}:{value}"))
                .map_err(|source| InspectError::Selector { what, source })
        };
        Ok(vec![state("id", &unit.id)?, state("slice", &unit.slice)?])
    }
}

#[cfg(test)]
mod tests;
