//! Points in time as people's tools write them: RFC 3339, or the form SPIRE's tools
//! send, `2026-01-31 23:59:59 +0100 +01`.

use identity::Timestamp;

/// Reads a point in time, to the second; `None` when the text is none.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, zone) = (rest.get(..8)?, rest.get(8..)?);
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(clock, ':')?;
    let month_ok = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    let clock_ok =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    if !month_ok || !clock_ok {
        return None;
    }
    let local = days_from_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(Timestamp(local - offset(zone)?))
}

fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<i64>().ok()).flatten()
    });
    let all = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(all)
}

/// Seconds east of Greenwich; a fraction of a second before it is dropped.
fn offset(zone: &str) -> Option<i64> {
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    let zone = zone.strip_prefix(' ').unwrap_or(zone);
    // SPIRE's form names the zone a second time.
    let zone = zone.split(' ').next()?;
    if matches!(zone, "Z" | "z" | "UTC") {
        return Some(0);
    }
    let sign = match zone.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let digits: String = zone.get(1..)?.chars().filter(|c| *c != ':').collect();
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits.get(2..)?.parse().ok()?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let before = |year: i64| {
        let y = year - 1;
        y * 365 + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400)
    };
    let months: i64 = (1..month).map(|m| days_in(year, m)).sum();
    before(year) - before(1970) + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let cases = [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-24T07:00:00Z", 1_795_503_600),
            ("2026-11-24T08:00:00+01:00", 1_795_503_600),
            ("2026-11-24T08:00:00.123456+01:00", 1_795_503_600),
            ("2026-11-24 04:00:00 -0300 -03", 1_795_503_600),
            ("2026-11-24 07:00:00 +0000 UTC", 1_795_503_600),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Some(Timestamp(expected)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "tomorrow",
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-11-24T25:00:00Z",
            "2026-11-24T00:00:00",
            "2026-11-24T00:00:00+1",
            "+026-11-24T00:00:00Z",
            "2026-11-24T00:00:00 CET",
            "2026-11-é4T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
