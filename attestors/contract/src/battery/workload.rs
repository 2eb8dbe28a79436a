//! What each workload attestor must do, whatever it states.

use super::{Ask, StillProcess};
use crate::Inspect;

/// Holds a workload attestor to the contract. `process` is one that it can
/// state facts about; `needs` names what it asks of the host.
///
/// # Panics
/// When the attestor breaks the contract; the message says how.
pub fn workload(attestor: &dyn Inspect, process: &StillProcess, needs: &[Ask]) {
    let stated = match attestor.inspect(process) {
        Ok(stated) => stated,
        Err(error) => unreachable!("an honest process was refused: {error}"),
    };
    assert!(
        !stated.is_empty(),
        "nothing was stated of an honest process"
    );
    for selector in &stated {
        assert_eq!(
            selector.kind(),
            attestor.kind(),
            "a foreign kind: {selector:?}"
        );
    }
    let mut distinct = stated.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), stated.len(), "a fact was stated twice");
    assert_eq!(
        attestor.inspect(process).ok().as_ref(),
        Some(&stated),
        "the same process led to other facts"
    );
    for ask in Ask::ALL {
        let mut failing = process.clone();
        failing.failing.insert(ask);
        let outcome = attestor.inspect(&failing);
        if needs.contains(&ask) {
            // No partial sets: what could not be found out fails the call.
            assert!(outcome.is_err(), "{ask:?} failed and the attestor went on");
        } else {
            assert_eq!(
                outcome.ok().as_ref(),
                Some(&stated),
                "{ask:?} was not needed"
            );
        }
    }
}
