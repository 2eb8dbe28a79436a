//! How a figure is printed.

use std::time::Duration;

use serde_json::{Map, Value, json};

/// One line of output.
pub(crate) struct Figure(Map<String, Value>);

impl Figure {
    pub(crate) fn of(what: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("bench".into(), "sockets".into());
        fields.insert("what".into(), what.into());
        Self(fields)
    }

    /// Adds a number, to four digits that count.
    pub(crate) fn with(mut self, name: &str, value: f64) -> Self {
        let scale = 10_f64.powi(3 - magnitude(value));
        self.0
            .insert(name.into(), json!((value * scale).round() / scale));
        self
    }

    pub(crate) fn with_text(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Adds median and 99th percentile of some durations.
    pub(crate) fn with_latencies(self, latencies: Vec<Duration>) -> Self {
        self.with_latencies_named("", latencies)
    }

    pub(crate) fn with_latencies_named(self, prefix: &str, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |percent: usize| {
            let last = latencies.len().saturating_sub(1);
            let found = latencies.get(last * percent / 100);
            found.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        let (p50, p99) = (at(50), at(99));
        self.with(&format!("{prefix}p50_ms"), p50)
            .with(&format!("{prefix}p99_ms"), p99)
    }

    pub(crate) fn print(self) {
        println!("{}", Value::Object(self.0));
    }
}

/// The power of ten of the first digit that counts.
fn magnitude(value: f64) -> i32 {
    let mut power = 0;
    let mut rest = value.abs();
    while rest >= 10.0 {
        rest /= 10.0;
        power += 1;
    }
    while rest > 0.0 && rest < 1.0 {
        rest *= 10.0;
        power -= 1;
    }
    power
}
