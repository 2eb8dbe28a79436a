//! Running the rows of one file.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A row by the name of its function.
pub(crate) type Row<W> = (&'static str, fn(&W));

/// Runs rows in order; all of them, also after one has failed.
#[expect(clippy::print_stdout, reason = "which rows ran is the point of it")]
pub(crate) fn run<W>(world: &W, rows: &[Row<W>]) {
    let mut failed = Vec::new();
    for (name, row) in rows {
        let outcome = catch_unwind(AssertUnwindSafe(|| row(world)));
        println!(
            "row {name} ... {}",
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        if outcome.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "rows that failed: {failed:?}");
}

/// What rows share that start a trust domain of their own.
pub(crate) const NOTHING: () = ();

/// The rows of a file, by the names of their functions.
macro_rules! rows {
    ($world:expr; $($row:ident),+ $(,)?) => {
        crate::rows::run($world, &[$((stringify!($row), $row as fn(&_))),+])
    };
}
pub(crate) use rows;
