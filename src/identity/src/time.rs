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

/// As people read it, in UTC: `2026-11-24T06:59:59Z`; the end of time is `never`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::MAX {
            return f.write_str("never");
        }
        let (days, rest) = (self.0.div_euclid(86_400), self.0.rem_euclid(86_400));
        let (year, month, day) = crate::date_of(days);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn people_read_dates() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_503_599, "2026-11-24T06:59:59Z"),
            (i64::MAX, "never"),
        ] {
            assert_eq!(Timestamp(at).to_string(), text);
        }
    }
}
