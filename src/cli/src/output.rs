//! What people and scripts see: aligned tables, or JSON with `--json`.

use std::io::{self, Write};

use serde_json::Value;

/// Where a command's answer goes, and in which form.
pub struct Output {
    json: bool,
    to: Box<dyn Write + Send>,
}

impl Output {
    /// Answers on standard output.
    #[must_use]
    pub fn stdout(json: bool) -> Self {
        Self {
            json,
            to: Box::new(io::stdout()),
        }
    }

    /// Whether the caller asked for JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// One line of text for people.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.to, "{}", text.as_ref())?;
        self.to.flush()
    }

    /// One JSON document, indented.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn document(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.to, "{value:#}")?;
        self.to.flush()
    }

    /// One JSON document on one line, for streams.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn record(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self.to, "{value}")?;
        self.to.flush()
    }

    /// Rows of objects: a JSON array, or a table of the given columns. A column
    /// is a title and the member it shows.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn rows(&mut self, rows: &[Value], columns: &[(&str, &str)], none: &str) -> io::Result<()> {
        if self.json {
            return self.document(&Value::Array(rows.to_vec()));
        }
        if rows.is_empty() {
            return self.line(none);
        }
        let titles = columns
            .iter()
            .map(|(title, _)| (*title).to_owned())
            .collect();
        let mut lines: Vec<Vec<String>> = vec![titles];
        lines.extend(rows.iter().map(|row| {
            columns
                .iter()
                .map(|(_, member)| cell(row.get(*member).unwrap_or(&Value::Null)))
                .collect()
        }));
        for line in aligned(&lines) {
            self.line(line)?;
        }
        Ok(())
    }

    /// One object: JSON, or a line for each member.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn object(&mut self, value: &Value) -> io::Result<()> {
        if self.json {
            return self.document(value);
        }
        let Some(members) = value.as_object() else {
            return self.line(cell(value));
        };
        let width = members.keys().map(String::len).max().unwrap_or(0);
        for (name, member) in members {
            self.line(format!("{name:width$}  {}", cell(member)))?;
        }
        Ok(())
    }
}

/// A member of an object; null when there is none.
#[must_use]
pub(crate) fn member(value: &Value, name: &str) -> Value {
    value.get(name).cloned().unwrap_or_default()
}

/// A member of an object as text; empty when there is none.
#[must_use]
pub(crate) fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A value as a table shows it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if text.is_empty() => "-".into(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn aligned(lines: &[Vec<String>]) -> Vec<String> {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|l| l.get(column))
            .map(|c| c.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let pad = |(cell, width): (&String, &usize)| format!("{cell:<width$}");
    let join = |line: &Vec<String>| {
        line.iter()
            .zip(&widths)
            .map(pad)
            .collect::<Vec<_>>()
            .join("  ")
    };
    lines
        .iter()
        .map(|line| join(line).trim_end().to_owned())
        .collect()
}

/// A span of seconds for people.
#[must_use]
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        ..=0 => "over".to_owned(),
        s @ 1..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// A Unix time as UTC text, or `never` for zero.
#[must_use]
pub fn utc(seconds: i64) -> String {
    if seconds <= 0 {
        return "never".into();
    }
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = identity::date_of(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_utc() {
        assert_eq!(utc(0), "never");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_503_599), "2026-11-24T06:59:59Z");
    }

    #[test]
    fn columns_line_up() {
        let lines = vec![
            vec!["ID".into(), "TTL".into()],
            vec!["longer".into(), "5".into()],
        ];
        assert_eq!(aligned(&lines), ["ID      TTL", "longer  5"]);
    }
}
