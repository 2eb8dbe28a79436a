//! Spans of time as people write them in a configuration: `90s`, `5m`, `1h`, `7d`.

use identity::Seconds;

/// Parses a whole number with a unit `s`, `m`, `h` or `d`.
pub(super) fn parse(text: &str) -> Option<Seconds> {
    let unit = text.chars().next_back()?;
    let factor: u32 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u32 = digits.parse().ok()?;
    count.checked_mul(factor).map(Seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_understood_and_nothing_else() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("5m", 300),
            ("2h", 7_200),
            ("7d", 604_800),
        ] {
            assert_eq!(parse(text), Some(Seconds(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "5",
            "5 m",
            "-5m",
            "+5m",
            "1.5h",
            "5m3s",
            "99999999d",
            "5é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
