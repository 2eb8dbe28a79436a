//! Spans of time on the command line: seconds, or a number with its unit.

/// Reads `300`, `300s`, `5m`, `2h` or `7d` as seconds.
///
/// # Errors
/// It is none of these, or longer than a signed 32-bit number of seconds.
pub(super) fn seconds(text: &str) -> Result<i32, String> {
    let (number, unit) = match text.char_indices().next_back() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3_600),
        Some((at, 'd')) => (text.get(..at), 86_400),
        _ => (Some(text), 1),
    };
    let number = number.filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    let number = number.and_then(|digits| digits.parse::<i32>().ok());
    let span = number.and_then(|number| number.checked_mul(unit));
    span.ok_or_else(|| {
        "it is no span of time; write seconds, or a number with s, m, h or d such as 5m".into()
    })
}

/// As [`seconds`], and more than none.
///
/// # Errors
/// As [`seconds`], or it is 0.
pub(super) fn some_seconds(text: &str) -> Result<u32, String> {
    let span = u32::try_from(seconds(text)?).unwrap_or_default();
    if span == 0 {
        return Err("it must be at least one second".into());
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u15_spans_are_seconds_or_have_a_unit() {
        for (text, expected) in [
            ("0", Some(0)),
            ("300", Some(300)),
            ("300s", Some(300)),
            ("5m", Some(300)),
            ("2h", Some(7_200)),
            ("7d", Some(604_800)),
            ("", None),
            ("m", None),
            ("-5", None),
            ("1.5h", None),
            ("5 m", None),
            ("99999999d", None),
            ("5ü", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text:?}");
        }
        assert!(some_seconds("0").is_err());
        assert_eq!(some_seconds("1m"), Ok(60));
    }
}
