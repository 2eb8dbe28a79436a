//! The shipped server and agent as processes, measured through their sockets.
//!
//! Client and measured process share the machine, so beside the elapsed rate each
//! figure says how much was done in one CPU second of the measured process, and
//! how that compares with raw ring P-256 signing just before and after. One JSON
//! line a figure; nothing is asserted. `tests/bench` builds what it needs and runs it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a bench measures, prints and fails loudly"
)]

mod attesting;
mod changes;
mod checking;
mod cold_start;
mod figures;
mod issuing;
mod load;
mod observed;
mod scoped;
mod workloads;

fn main() {
    // Run by anything but `cargo bench` there is nothing to do: it takes a minute.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let domain = cold_start::measure().await;
        workloads::measure(&domain).await;
        issuing::measure(&domain).await;
        scoped::measure(&domain).await;
        checking::measure(&domain).await;
        attesting::measure(&domain).await;
        changes::measure(&domain).await;
    });
}
