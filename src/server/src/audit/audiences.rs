//! A token's audiences as its record names them: bounded, whatever was asked for.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use crate::limits::MAX_RECORDED_AUDIENCES;

/// The audiences, separated by spaces. Of a list that is too long the first ones, how
/// many more there are, and the SHA-256 of the whole list.
pub(crate) fn recorded_audiences(audiences: &[String]) -> String {
    let all = audiences.join(" ");
    if all.len() <= MAX_RECORDED_AUDIENCES {
        return all;
    }
    let mut kept = String::new();
    let mut count = 0_usize;
    for audience in audiences {
        if kept.len() + audience.len() > MAX_RECORDED_AUDIENCES {
            break;
        }
        kept.push_str(audience);
        kept.push(' ');
        count += 1;
    }
    let more = audiences.len().saturating_sub(count);
    let hash = hex::encode(digest(&SHA256, all.as_bytes()));
    // Writing into a text does not fail.
    let _written = write!(kept, "and {more} more, sha256:{hash} of all");
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_long_lists_of_audiences_are_kept_by_their_hash() {
        let list = |count: usize, length: usize| -> Vec<String> {
            (0..count).map(|n| format!("{n:0length$}")).collect()
        };
        assert_eq!(recorded_audiences(&["a".into(), "b".into()]), "a b");
        for (count, length) in [(32, 1024), (1, 1024), (300, 1)] {
            let audiences = list(count, length);
            let recorded = recorded_audiences(&audiences);
            assert!(recorded.len() <= MAX_RECORDED_AUDIENCES + 100, "{recorded}");
            let hash = hex::encode(digest(&SHA256, audiences.join(" ").as_bytes()));
            assert!(recorded.contains(&hash));
        }
        let mixed = vec!["payments".to_owned(), "x".repeat(1_000)];
        assert!(recorded_audiences(&mixed).starts_with("payments and 1 more, sha256:"));
    }
}
