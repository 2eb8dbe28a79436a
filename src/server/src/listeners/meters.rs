//! The connections of the server API as rows of the budget table.

use std::sync::Arc;

use channel::{Connections, Occupancy};

use crate::budgets::{Budgets, Meter, Principal, Reading};

/// Connections of one sort, as they are now.
type Look = fn(&Connections) -> Occupancy;

/// Registers what the listener holds its callers to.
pub(super) fn register(budgets: &Budgets, connections: &Arc<Connections>) {
    let kinds: [(&'static str, Principal, Principal, Look); 3] = [
        (
            "handshakes",
            Principal::Address,
            Principal::Strangers,
            Connections::pending,
        ),
        (
            "connections",
            Principal::Address,
            Principal::Strangers,
            Connections::anonymous,
        ),
        (
            "certified_connections",
            Principal::Identity,
            Principal::Everyone,
            Connections::certified,
        ),
    ];
    for (resource, one, all, occupancy) in kinds {
        let now = occupancy(connections);
        let of = Arc::clone(connections);
        budgets.register(Meter {
            principal: one,
            resource,
            bound: whole(now.share),
            read: Box::new(move || {
                let now = occupancy(&of);
                Reading {
                    used: whole(now.largest),
                    at_bound: now.at_share,
                    refused: now.evicted + now.refused,
                }
            }),
        });
        let of = Arc::clone(connections);
        budgets.register(Meter {
            principal: all,
            resource,
            bound: whole(now.bound),
            read: Box::new(move || Reading::of(whole(occupancy(&of).total))),
        });
    }
    let of = Arc::clone(connections);
    budgets.register(Meter {
        principal: Principal::Everyone,
        resource: "connections_ended_by_floods",
        bound: 0,
        read: Box::new(move || Reading {
            refused: of.flooded(),
            ..Reading::default()
        }),
    });
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
