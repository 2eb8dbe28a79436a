//! When what is granted now would first be refused: a token never outlives its
//! policies' own time window. Found by deciding again at later times.

use identity::Timestamp;

/// How often the time until the end is looked at at least, against windows with a gap.
const LOOKS_MIN: i64 = 4;
/// The longest time between two looks, seconds: a shorter gap in a window is not seen.
const LOOK_EVERY: i64 = 900;

/// The first second in `(now, end)` at which `holds` no longer does, if it fails
/// at one of the times looked at. `holds(now)` is taken for granted.
pub(crate) fn first_refusal(
    now: Timestamp,
    end: Timestamp,
    mut holds: impl FnMut(Timestamp) -> bool,
) -> Option<Timestamp> {
    // A token is not accepted at its end (RFC 7519 section 4.1.4), so the last
    // second that counts is the one before.
    let span = end.0.saturating_sub(1).saturating_sub(now.0);
    if span <= 0 {
        return None;
    }
    let mut good = now.0;
    let looks = LOOKS_MIN.max(span / LOOK_EVERY + 1);
    for look in 1..=looks {
        let at = now.0 + span * look / looks;
        if at > good && !holds(Timestamp(at)) {
            return Some(bisect(good, at, holds));
        }
        good = at;
    }
    None
}

fn bisect(mut good: i64, mut bad: i64, mut holds: impl FnMut(Timestamp) -> bool) -> Timestamp {
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(Timestamp(middle)) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Timestamp(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refused_second_is_found() {
        for closes in 101..200 {
            let end = first_refusal(Timestamp(100), Timestamp(200), |at| at.0 < closes);
            assert_eq!(end, Some(Timestamp(closes)), "{closes}");
        }
        // At 200 the token is over: what is refused then does not matter.
        assert_eq!(
            first_refusal(Timestamp(100), Timestamp(200), |at| at.0 < 200),
            None
        );
        assert_eq!(
            first_refusal(Timestamp(100), Timestamp(101), |_| false),
            None
        );
    }

    #[test]
    fn a_freeze_of_two_hours_ends_the_token_of_a_day() {
        let hour = 3600;
        let open = |at: Timestamp| !(3 * hour..5 * hour).contains(&at.0);
        let end = first_refusal(Timestamp(0), Timestamp(24 * hour), open);
        assert_eq!(end, Some(Timestamp(3 * hour)));
    }

    #[test]
    fn a_gap_in_the_middle_is_seen() {
        let open = |at: Timestamp| !(130..170).contains(&at.0);
        assert_eq!(
            first_refusal(Timestamp(100), Timestamp(200), open),
            Some(Timestamp(130))
        );
    }
}
