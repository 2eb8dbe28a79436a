//! The two forms in which AWS writes times, to and from Unix seconds.

use identity::{date_of, day_of};

/// `20260131T235959Z`, as requests carry it. `None` outside the years 1970 to 9999.
pub(crate) fn basic(at: i64) -> Option<String> {
    let (days, second) = (at.div_euclid(86_400), at.rem_euclid(86_400));
    let (year, month, day) = date_of(days);
    (1970..=9999).contains(&year).then(|| {
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    })
}

/// Reads `2026-01-31T23:59:59Z`, with or without a fraction.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let whole = time.split('.').next()?;
    let mut time = whole.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let good = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    good.then(|| day_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(basic(1_440_938_160).as_deref(), Some("20150830T123600Z"));
        assert_eq!(basic(951_827_696).as_deref(), Some("20000229T123456Z"));
        assert_eq!(basic(0).as_deref(), Some("19700101T000000Z"));
        assert_eq!(basic(-1), None);
        assert_eq!(basic(i64::MAX / 2), None);
        assert_eq!(parse("2015-08-30T12:36:00Z"), Some(1_440_938_160));
        assert_eq!(parse("2000-02-29T12:34:56.789Z"), Some(951_827_696));
        for wrong in [
            "",
            "2015-08-30",
            "2015-13-30T12:36:00Z",
            "2015-08-30T12:36Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
