//! The metrics of the process, under the names that Prometheus' own clients use.

use crate::{Metric, figures};

/// What they mean.
pub const PROCESS: &[Metric] = &[
    Metric::counter(
        "process_cpu_seconds_total",
        "User and system CPU time spent, in seconds",
    ),
    Metric::gauge("process_resident_memory_bytes", "Resident memory, in bytes"),
    Metric::gauge("process_virtual_memory_bytes", "Virtual memory, in bytes"),
    Metric::gauge("process_threads", "Threads of the process"),
    Metric::gauge("process_open_fds", "Open file descriptors"),
    Metric::gauge(
        "process_max_fds",
        "The most file descriptors that may be open",
    ),
    Metric::gauge(
        "process_start_time_seconds",
        "When the process started, in seconds since the Unix epoch",
    ),
];

/// Sets them to what they are now. Reads a few files of `/proc`.
pub fn set_process() {
    let now = figures();
    // Whole seconds: a counter of the recorder holds no fraction.
    let seconds = format!("{:.0}", now.cpu_seconds.floor())
        .parse()
        .unwrap_or(0);
    metrics::counter!("process_cpu_seconds_total").absolute(seconds);
    for (name, value) in [
        ("process_resident_memory_bytes", now.resident_bytes),
        ("process_virtual_memory_bytes", now.virtual_bytes),
        ("process_threads", now.threads),
        ("process_open_fds", now.open_fds),
        ("process_max_fds", now.max_fds),
        ("process_start_time_seconds", now.start_seconds),
    ] {
        metrics::gauge!(name).set(value);
    }
}
