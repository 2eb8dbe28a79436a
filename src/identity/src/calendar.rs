//! Days and dates of the proleptic Gregorian calendar, in UTC. Here, because
//! certificates, policies, logs and requests all write dates, and this crate is below
//! all of them.

/// The date of a day counted from 1970-01-01: year, month 1 to 12, day 1 to 31.
///
/// ```
/// assert_eq!(identity::date_of(0), (1970, 1, 1));
/// ```
#[must_use]
pub const fn date_of(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day comes last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + (month <= 2) as i64;
    (year, month, day)
}

/// The day counted from 1970-01-01 of a date; the caller checks month and day.
///
/// ```
/// assert_eq!(identity::day_of(2000, 2, 29), 11_016);
/// ```
#[must_use]
pub const fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_day_and_its_date_are_one(day in -700_000i64..3_000_000) {
            let (year, month, date) = date_of(day);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&date));
            prop_assert_eq!(day_of(year, month, date), day);
            prop_assert!(date_of(day + 1) > date_of(day));
        }
    }
}
