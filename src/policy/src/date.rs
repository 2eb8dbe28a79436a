//! Dates of the catalogue and times of the records; UTC only.

use identity::{Timestamp, date_of, day_of};

/// The first second of a day written `2027-01-15`.
///
/// ```
/// assert_eq!(policy::day("1970-01-02"), Some(identity::Timestamp(86_400)));
/// assert_eq!(policy::day("2026-02-29"), None);
/// ```
#[must_use]
pub fn day(text: &str) -> Option<Timestamp> {
    let mut parts = text.split('-');
    let number = |part: Option<&str>, width: usize| {
        part.filter(|p| p.len() == width && p.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|p| p.parse::<i64>().ok())
    };
    let year = number(parts.next(), 4)?;
    let month = number(parts.next(), 2)?;
    let date = number(parts.next(), 2)?;
    let exists = parts.next().is_none() && date >= 1 && date <= days_in(year, month)?;
    exists.then(|| Timestamp(day_of(year, month, date) * 86_400))
}

const fn days_in(year: i64, month: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if leap => Some(29),
        2 => Some(28),
        _ => None,
    }
}

/// The day of the week, 1 for Monday to 7 for Sunday (ISO 8601), in UTC.
///
/// ```
/// assert_eq!(policy::weekday(identity::Timestamp(0)), 4); // 1970-01-01, a Thursday
/// ```
#[must_use]
pub const fn weekday(at: Timestamp) -> i64 {
    (at.0.div_euclid(86_400) + 3).rem_euclid(7) + 1
}

/// A time as `2026-11-24T09:30:00Z`.
#[must_use]
pub fn rfc3339_text(at: Timestamp) -> String {
    let (days, rest) = (at.0.div_euclid(86_400), at.0.rem_euclid(86_400));
    let (year, month, date) = date_of(days.clamp(-719_528, 2_932_896));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Times as RFC 3339 text in JSON: for `#[serde(with = "policy::rfc3339")]`.
pub mod rfc3339 {
    use identity::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    /// Writes a time.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::rfc3339_text(*at))
    }

    /// Reads a time.
    ///
    /// # Errors
    /// The text is no UTC time in whole seconds.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| de::Error::custom("not a time such as 2026-11-24T09:30:00Z"))
    }

    /// The time of a text such as `2026-11-24T09:30:00Z`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Timestamp> {
        let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
        let start = super::day(day)?;
        let mut parts = time.split(':').map(|part| {
            let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| part.parse::<i64>().ok()).flatten()
        });
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
        let exists = parts.next().is_none() && hour < 24 && minute < 60 && second < 60;
        exists.then(|| Timestamp(start.0 + hour * 3600 + minute * 60 + second))
    }

    /// The same for a time that may be missing.
    pub mod option {
        use identity::Timestamp;
        use serde::{Deserialize as _, Deserializer, Serializer, de};

        /// Writes a time, or null.
        ///
        /// # Errors
        /// The serializer's.
        pub fn serialize<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
            match at {
                Some(at) => super::serialize(at, to),
                None => to.serialize_none(),
            }
        }

        /// Reads a time, or null.
        ///
        /// # Errors
        /// The text is no UTC time in whole seconds.
        pub fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            let Some(text) = Option::<String>::deserialize(from)? else {
                return Ok(None);
            };
            let wrong = || de::Error::custom("not a time such as 2026-11-24T09:30:00Z");
            super::parse(&text).map(Some).ok_or_else(wrong)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_eight_centuries_reads_back() {
        for days in -146_097..146_097 {
            let at = Timestamp(days * 86_400 + 86_399);
            let text = rfc3339_text(at);
            assert_eq!(rfc3339::parse(&text), Some(at), "{text}");
        }
        assert_eq!(
            weekday(Timestamp(1_795_478_400)),
            2,
            "2026-11-24 is a Tuesday"
        );
        assert_eq!(
            rfc3339_text(Timestamp(1_795_478_400)),
            "2026-11-24T00:00:00Z"
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-1-1",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "2026-01-01x",
            "+026-01-01",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
        for text in [
            "2026-01-01T24:00:00Z",
            "2026-01-01T10:00:00",
            "2026-01-01 10:00:00Z",
            "2026-01-01T1:00:00Z",
        ] {
            assert_eq!(rfc3339::parse(text), None, "{text}");
        }
    }
}
