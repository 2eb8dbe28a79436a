//! The budget table: how much of each resource each principal may take, and what of
//! it is taken now.
//!
//! A part of the server that holds somebody to a bound registers a [`Meter`] for it
//! when it is built. `bulla limits` and the metrics read them all. Nothing is decided
//! here: whoever holds the resource decides, and says here by which numbers.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::metrics;

/// Whose share a bound is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Principal {
    /// A caller without a certificate, by address; IPv6 by its /64 network.
    Address,
    /// An attested node, by its SPIFFE ID.
    Node,
    /// A registration entry, or the workload that it is for.
    Workload,
    /// A downstream server, by its SPIFFE ID or entry.
    Downstream,
    /// An administrator, on the admin socket or by SPIFFE ID.
    Administrator,
    /// Any holder of a certificate, by SPIFFE ID.
    Identity,
    /// All callers without a certificate together.
    Strangers,
    /// All callers together.
    Everyone,
}

impl Principal {
    /// The name in tables and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Node => "node",
            Self::Workload => "workload",
            Self::Downstream => "downstream",
            Self::Administrator => "administrator",
            Self::Identity => "identity",
            Self::Strangers => "strangers",
            Self::Everyone => "everyone",
        }
    }
}

/// What is taken of one budget now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The most that any one principal of the kind has taken.
    pub(crate) used: u64,
    /// Who is at the bound, at most [`Reading::NAMED`] of them, in order.
    pub(crate) at_bound: Vec<String>,
    /// How often somebody was refused for this bound since the start.
    pub(crate) refused: u64,
}

impl Reading {
    /// The most principals that are named.
    pub(crate) const NAMED: usize = 16;

    /// Of a budget that one party alone holds.
    pub(crate) const fn of(used: u64) -> Self {
        Self {
            used,
            at_bound: Vec::new(),
            refused: 0,
        }
    }
}

/// One row of the table.
pub(crate) struct Meter {
    /// Whose share it is.
    pub(crate) principal: Principal,
    /// Of what, with its unit: `connections`, `request_bytes`, `journal_records_per_second`.
    pub(crate) resource: &'static str,
    /// The most that one principal may have.
    pub(crate) bound: u64,
    /// Reads what is taken now. Called at each look, so it must be quick.
    pub(crate) read: Box<dyn Fn() -> Reading + Send + Sync>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meter({} {})", self.principal.as_str(), self.resource)
    }
}

/// One row as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) principal: Principal,
    pub(crate) resource: &'static str,
    pub(crate) bound: u64,
    pub(crate) reading: Reading,
}

/// All meters of a server. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Budgets(Arc<RwLock<Vec<Meter>>>);

impl Budgets {
    /// Adds a row.
    pub(crate) fn register(&self, meter: Meter) {
        let mut meters = self.0.write().unwrap_or_else(PoisonError::into_inner);
        meters.push(meter);
    }

    /// The table as it is now, ordered by principal and resource.
    pub(crate) fn table(&self) -> Vec<Row> {
        let meters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<Row> = meters
            .iter()
            .map(|meter| Row {
                principal: meter.principal,
                resource: meter.resource,
                bound: meter.bound,
                reading: (meter.read)(),
            })
            .collect();
        rows.sort_by_key(|row| (row.principal, row.resource));
        rows
    }

    /// Sets the gauges `bulla_limit_used`, `bulla_limit_bound` and
    /// `bulla_limit_refused` of each row.
    pub(crate) fn gauge(&self) {
        for row in self.table() {
            let principal = row.principal.as_str();
            metrics::limit(principal, row.resource, row.bound, &row.reading);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_read_anew_each_time() {
        let budgets = Budgets::default();
        let used = Arc::new(std::sync::atomic::AtomicU64::new(1));
        for (principal, resource) in [
            (Principal::Everyone, "connections"),
            (Principal::Address, "handshakes"),
            (Principal::Address, "connections"),
        ] {
            let used = Arc::clone(&used);
            budgets.register(Meter {
                principal,
                resource,
                bound: 5,
                read: Box::new(move || Reading::of(used.load(std::sync::atomic::Ordering::SeqCst))),
            });
        }
        let names = |budgets: &Budgets| -> Vec<(&str, &str, u64)> {
            let rows = budgets.table();
            let rows = rows.iter();
            rows.map(|row| (row.principal.as_str(), row.resource, row.reading.used))
                .collect()
        };
        let expected = |used| {
            [
                ("address", "connections", used),
                ("address", "handshakes", used),
                ("everyone", "connections", used),
            ]
        };
        assert_eq!(names(&budgets), expected(1));
        used.store(4, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(names(&budgets), expected(4));
    }
}
