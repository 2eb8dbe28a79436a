//! Points in time and durations as the credentials carry them: whole seconds.

use std::fmt;

/// Whole seconds since the Unix epoch (UTC). Never read from a clock here:
/// the shells pass it in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

/// A span of whole seconds, never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Seconds(pub u32);

impl Timestamp {
    /// The end of time, for what never expires.
    pub const MAX: Self = Self(i64::MAX);

    /// This point plus a span, saturating.
    #[must_use]
    pub const fn plus(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.0 as i64))
    }

    /// This point minus a span, saturating.
    #[must_use]
    pub const fn minus(self, span: Seconds) -> Self {
        Self(self.0.saturating_sub(span.0 as i64))
    }

    /// Seconds from `earlier` to this point; zero when it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Seconds {
        let span = self.0.saturating_sub(earlier.0).max(0);
        Seconds(u32::try_from(span).unwrap_or(u32::MAX))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.0)
    }
}
