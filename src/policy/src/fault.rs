//! What is wrong with a catalogue or a policy: where, what, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a fault stops a policy set from being loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy set is not loaded.
    Error,
    /// It is loaded; somebody should look at it.
    Warning,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Fault {
    /// The file, as named in [`crate::SourceFile`].
    pub file: String,
    /// The line, from 1, where known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// Whether it stops the policy set.
    pub severity: Severity,
    /// What is wrong, one sentence without full stop.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<String>,
}

impl Fault {
    /// A fault that stops the policy set.
    #[must_use]
    pub fn error(file: &str, line: Option<u64>, what: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line,
            severity: Severity::Error,
            what: what.into(),
            next: None,
        }
    }

    /// A fault that is only reported.
    #[must_use]
    pub fn warning(file: &str, line: Option<u64>, what: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(file, line, what)
        }
    }

    /// The same fault with what to do about it.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// Whether it stops the policy set.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let kind = if self.is_error() { "" } else { "warning: " };
        write!(f, ": {kind}{}", self.what)?;
        match &self.next {
            Some(step) => write!(f, "; {step}"),
            None => Ok(()),
        }
    }
}
