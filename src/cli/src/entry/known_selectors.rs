//! Selectors that no attestor will ever state: a mistyped type or key, or a value that
//! cannot be one. Warned of and not refused: an external attestor may state anything
//! under a type of its own.

use crate::wire::types;

/// The types that come with Bulla, and the keys of their values. The attestors' own
/// tests hold what they state.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "unix",
        &[
            "uid",
            "user",
            "gid",
            "group",
            "supplementary_gid",
            "supplementary_group",
            "path",
            "sha256",
        ],
    ),
    ("systemd", &["id", "slice"]),
    (
        "docker",
        &["label", "env", "image_id", "image_config_digest"],
    ),
    (
        "podman",
        &["label", "env", "image_id", "image_config_digest"],
    ),
    ("x509pop", &["subject", "ca", "serialnumber", "san"]),
    ("spiffe_id", &[]),
    ("join_token", &[]),
];

/// Keys whose values are numbers.
const NUMBERS: &[&str] = &["uid", "gid", "supplementary_gid"];

/// What is wrong with these selectors, one sentence each.
#[must_use]
pub(super) fn doubts(selectors: &[types::Selector]) -> Vec<String> {
    selectors.iter().filter_map(doubt).collect()
}

fn doubt(selector: &types::Selector) -> Option<String> {
    let types::Selector {
        r#type: kind,
        value,
    } = selector;
    let shown = format!("{kind}:{value}");
    let Some((_, keys)) = KNOWN.iter().find(|(known, _)| known == kind) else {
        return unknown_type(kind, value)
            .map(|meant| format!("no attestor of Bulla states {shown}; did you mean {meant}?"));
    };
    if keys.is_empty() {
        return None;
    }
    let (key, rest) = value.split_once(':').unwrap_or((value, ""));
    if !keys.contains(&key) {
        let known = keys.join(", ");
        return Some(match nearest(key, keys.iter().copied()) {
            Some(meant) => format!(
                "no {kind} selector begins with {key:?}, so nobody will match {shown}; did you mean \
                 {kind}:{meant}:{rest}?"
            ),
            None => format!(
                "no {kind} selector begins with {key:?}, so nobody will match {shown}; there are {known}"
            ),
        });
    }
    if rest.is_empty() {
        return Some(format!("{shown} has no value after {kind}:{key}:"));
    }
    (kind == "unix").then(|| unix_value(key, rest, &shown))?
}

/// A type that is a slip of a known one, or a key whose type was left out.
fn unknown_type(kind: &str, value: &str) -> Option<String> {
    for (known, keys) in KNOWN {
        if keys.contains(&kind) {
            return Some(format!("{known}:{kind}:{value}"));
        }
    }
    let known = KNOWN.iter().map(|(known, _)| *known);
    nearest(kind, known).map(|meant| format!("{meant}:{value}"))
}

fn unix_value(key: &str, value: &str, shown: &str) -> Option<String> {
    if NUMBERS.contains(&key) && value.parse::<u32>().is_err() {
        let by_name = match key {
            "uid" => "user",
            "gid" => "group",
            _ => "supplementary_group",
        };
        return Some(format!(
            "{value:?} is no number, so nobody will match {shown}; did you mean unix:{by_name}:{value}?"
        ));
    }
    if key == "path" && !value.starts_with('/') {
        return Some(format!(
            "a path begins with /, so nobody will match {shown}; write it from the root"
        ));
    }
    let is_digest = value.len() == 64 && value.bytes().all(|b| b.is_ascii_hexdigit());
    if key == "sha256" && !is_digest {
        return Some(format!(
            "a SHA-256 has 64 hexadecimal digits, so nobody will match {shown}"
        ));
    }
    None
}

/// The name that is meant, if it is but a slip away: two edits, and fewer than half.
#[must_use]
pub(crate) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = (text.chars().count() / 2).min(2);
    let near = names.into_iter().map(|name| (edits(text, name), name));
    let near = near.filter(|(edits, _)| *edits <= most);
    near.min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

/// Letters that must be put in, left out, replaced or swapped with the next one.
fn edits(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in other.iter().enumerate() {
            let at =
                |line: &[usize], column: usize| line.get(column).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&above, column) + usize::from(a != b);
            let mut best = replaced
                .min(at(&above, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped = row > 0
                && column > 0
                && one.get(row - 1) == Some(b)
                && other.get(column - 1) == Some(a);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire_selector;

    fn said(text: &str) -> String {
        doubts(&[wire_selector(text).unwrap()]).join("; ")
    }

    #[test]
    fn u10_a_slip_is_told_with_what_is_meant() {
        for (text, meant) in [
            ("unix:uid:abc", "did you mean unix:user:abc?"),
            ("unix:udi:5", "did you mean unix:uid:5?"),
            ("uid:0", "did you mean unix:uid:0?"),
            ("unxi:uid:0", "did you mean unix:uid:0?"),
            ("unix:pth:/bin/sh", "did you mean unix:path:/bin/sh?"),
            ("unix:path:bin/sh", "begins with /"),
            ("unix:sha256:abc", "64 hexadecimal digits"),
            ("dockr:label:a:b", "did you mean docker:label:a:b?"),
            ("systemd:unit:a", "there are id, slice"),
        ] {
            assert!(said(text).contains(meant), "{text}: {}", said(text));
        }
    }

    #[test]
    fn what_an_attestor_may_state_draws_no_doubt() {
        for text in [
            "unix:uid:0",
            "unix:user:postgres",
            "unix:path:/usr/bin/api",
            "docker:label:com.example:web",
            "systemd:id:nginx.service",
            "spiffe_id:spiffe://example.org/spire/agent/join_token/1",
            "k8s:ns:default",
            "rack:row:7",
            "x509pop:subject:cn:node",
        ] {
            assert_eq!(said(text), "", "{text}");
        }
    }

    #[test]
    fn edits_are_counted() {
        for (one, other, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("udi", "uid", 1),
            ("abc", "axc", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(one, other), expected, "{one} {other}");
            assert_eq!(edits(other, one), expected, "{other} {one}");
        }
    }
}
