//! The figures of this process, out of `/proc/self`.

use std::fs;

/// Ticks of the kernel's clock in one second, as `/proc` counts (USER_HZ): 100 on Linux.
const TICKS: f64 = 100.0;
/// Bytes of a page; what `statm` counts in.
const PAGE_BYTES: f64 = 4096.0;

/// What the kernel says of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// User and system time spent, in seconds.
    pub cpu_seconds: f64,
    /// Memory that is resident, in bytes.
    pub resident_bytes: f64,
    /// Memory that is mapped, in bytes.
    pub virtual_bytes: f64,
    /// Threads.
    pub threads: f64,
    /// Open file descriptors.
    pub open_fds: f64,
    /// The most that may be open.
    pub max_fds: f64,
    /// When it started, in seconds since the Unix epoch.
    pub start_seconds: f64,
}

/// Reads them. What cannot be read is left at 0.
#[must_use]
pub fn figures() -> Figures {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let mut figures = of(&read("/proc/self/stat"), &read("/proc/stat"));
    figures.max_fds = limit(&read("/proc/self/limits"));
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // One of them is that of the folder itself.
    figures.open_fds = f64::from(u32::try_from(open.saturating_sub(1)).unwrap_or(u32::MAX));
    figures
}

/// Fields are counted from 1 in proc(5); what follows the name begins with the third.
fn of(stat: &str, machine: &str) -> Figures {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| -> f64 {
        let text = fields.get(number.saturating_sub(3));
        text.and_then(|text| text.parse().ok()).unwrap_or(0.0)
    };
    let booted = machine.lines().find_map(|line| line.strip_prefix("btime "));
    let booted: f64 = booted.and_then(|at| at.trim().parse().ok()).unwrap_or(0.0);
    Figures {
        cpu_seconds: (field(14) + field(15)) / TICKS,
        threads: field(20),
        start_seconds: booted + field(22) / TICKS,
        virtual_bytes: field(23),
        resident_bytes: field(24) * PAGE_BYTES,
        ..Figures::default()
    }
}

fn limit(limits: &str) -> f64 {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    soft.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let stat = "42 (a ) name) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 12345 \
                    8192000 1000 18446744073709551615 1 1 0";
        let found = of(stat, "cpu 1 2 3\nbtime 1700000000\nprocesses 5\n");
        assert_eq!(found.cpu_seconds, 3.0);
        assert_eq!(found.threads, 7.0);
        assert_eq!(found.start_seconds, 1_700_000_123.45);
        assert_eq!(found.virtual_bytes, 8_192_000.0);
        assert_eq!(found.resident_bytes, 4_096_000.0);
        let limits = "Limit Soft Limit Hard Limit Units\nMax open files            1024                 524288               files\n";
        assert_eq!(limit(limits), 1024.0);
        assert_eq!(of("", ""), Figures::default());
    }

    #[test]
    fn this_process_has_figures() {
        let found = figures();
        assert!(found.resident_bytes > 100_000.0, "{found:?}");
        assert!(found.open_fds >= 1.0 && found.threads >= 1.0, "{found:?}");
        assert!(found.start_seconds > 1_600_000_000.0, "{found:?}");
    }
}
