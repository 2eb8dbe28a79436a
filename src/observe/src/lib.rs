//! What server and agent have in common when they are measured: a table of what each
//! metric means, which becomes the HELP of `/metrics` and is held equal to
//! `docs/metrics.md`, and the metrics of the process itself.
//!
//! Floor 0: imports none of ours. Reads `/proc/self` and no clock.

mod figures;
mod process;

pub use figures::{Figures, figures};
pub use process::{PROCESS, set_process};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// The text format that Prometheus reads, with its version: the `Content-Type` of
/// `/metrics`.
pub const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Counts observations by their size.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, with its unit.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says, in a sentence without a full stop.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
}

impl Metric {
    /// A counter without labels.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Counter, help)
    }

    /// A gauge without labels.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Gauge, help)
    }

    /// A histogram without labels.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Kind::Histogram, help)
    }

    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            help,
            labels: &[],
        }
    }

    /// The same metric with labels.
    #[must_use]
    pub const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    fn unit(&self) -> Unit {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        if name.ends_with("_seconds") {
            Unit::Seconds
        } else if name.ends_with("_bytes") {
            Unit::Bytes
        } else {
            Unit::Count
        }
    }
}

/// Tells the recorder what the metrics mean. Call it after the recorder is installed.
pub fn describe(table: &[Metric]) {
    for metric in table {
        let (name, help, unit) = (metric.name, metric.help, metric.unit());
        match metric.kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
}

/// Sets the gauge that says which version runs: always 1, with the version as a label.
pub fn set_build_info(name: &'static str, version: &'static str) {
    metrics::gauge!(name, "version" => version).set(1.0);
}

/// What is wrong with a table by the rules of Prometheus, one sentence each.
#[must_use]
pub fn faults(table: &[Metric]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, metric) in table.iter().enumerate() {
        let name = metric.name;
        let is_counter = metric.kind == Kind::Counter;
        if is_counter != name.ends_with("_total") {
            found.push(format!("{name}: counters, and they alone, end in _total"));
        }
        if metric.help.is_empty() || metric.help.ends_with('.') {
            found.push(format!(
                "{name}: its help is a sentence without a full stop"
            ));
        }
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !name.bytes().all(plain) {
            found.push(format!("{name}: names are lower case"));
        }
        if table.iter().skip(at + 1).any(|other| other.name == name) {
            found.push(format!("{name}: it is there twice"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_names_are_held() {
        assert_eq!(faults(PROCESS), Vec::<String>::new());
        let bad = [
            Metric::counter("a", "counts"),
            Metric::gauge("b_total", "a gauge"),
            Metric::gauge("C", "upper"),
            Metric::gauge("d", ""),
            Metric::gauge("d", "twice"),
        ];
        assert_eq!(faults(&bad).len(), 5);
    }

    #[test]
    fn the_unit_is_in_the_name() {
        assert_eq!(Metric::gauge("a_seconds", "x").unit(), Unit::Seconds);
        assert_eq!(Metric::counter("a_bytes_total", "x").unit(), Unit::Bytes);
        assert_eq!(Metric::gauge("a", "x").unit(), Unit::Count);
    }
}
