//! Durations as people write them: `90s`, `5m`, `8h`, `1d`.

use identity::Seconds;

/// Reads a whole number with a unit: s, m, h or d.
///
/// ```
/// use identity::Seconds;
/// assert_eq!(policy::parse_duration("5m"), Some(Seconds(300)));
/// assert_eq!(policy::parse_duration("5"), None);
/// ```
#[must_use]
pub fn parse_duration(text: &str) -> Option<Seconds> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u32 = match text.get(digits.len()..)? {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(unit).map(Seconds)
}

/// The shortest text that [`parse_duration`] reads back.
#[must_use]
pub fn duration_text(span: Seconds) -> String {
    let whole = |unit: u32| span.0 != 0 && span.0.is_multiple_of(unit);
    match span.0 {
        s if whole(86_400) => format!("{}d", s / 86_400),
        s if whole(3600) => format!("{}h", s / 3600),
        s if whole(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}
