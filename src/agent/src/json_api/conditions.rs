//! What a caller has already and how long it will wait for something newer:
//! `If-None-Match` (RFC 9110 section 13.1.2) and `Prefer: wait` (RFC 7240
//! section 4.3).

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use ring::digest::{Context, SHA256};

/// The longest wait that is granted.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
/// Bytes of the digest in an entity tag.
const TAG_BYTES: usize = 16;

/// Names one content. Made from what is public of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ETag(pub(super) Arc<str>);

/// Collects what an [`ETag`] is made from.
pub(super) struct Tagger(Context);

impl Tagger {
    pub(super) fn new(what: &str) -> Self {
        let mut tagger = Self(Context::new(&SHA256));
        tagger.add(what.as_bytes());
        tagger
    }

    /// Adds a part; two parts are never the same as one.
    pub(super) fn add(&mut self, part: &[u8]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.0.update(&length.to_be_bytes());
        self.0.update(part);
    }

    pub(super) fn finish(self) -> ETag {
        let digest = self.0.finish();
        let digest = digest.as_ref();
        ETag(hex::encode(digest.get(..TAG_BYTES).unwrap_or(digest)).into())
    }
}

impl ETag {
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("\"{}\"", self.0)).ok()
    }
}

/// The conditions of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    known: Vec<String>,
    any: bool,
    /// How long to wait; nothing when no wait is asked for.
    pub(super) wait: Option<Duration>,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut conditions = Self {
            wait: wait(headers),
            ..Self::default()
        };
        for tag in parts(headers, &header::IF_NONE_MATCH) {
            if tag == "*" {
                conditions.any = true;
            }
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let quoted = opaque.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
            conditions.known.extend(quoted.map(str::to_owned));
        }
        conditions
    }

    /// Whether the caller says that it has something.
    pub(super) const fn has_something(&self) -> bool {
        self.any || !self.known.is_empty()
    }

    /// Whether the caller has this content. One who has "any" has the one that is
    /// there when it asks.
    pub(super) fn has(&mut self, tag: &ETag) -> bool {
        if std::mem::take(&mut self.any) {
            self.known.push(tag.0.to_string());
        }
        self.known.iter().any(|known| **known == *tag.0)
    }
}

/// The first `wait` that makes sense; others are ignored, as the RFC has it.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let prefer = http::HeaderName::from_static("prefer");
    let seconds = parts(headers, &prefer).find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let digits = value.trim().trim_matches('"');
        // More digits than a number has are still a long wait.
        let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| digits.parse().unwrap_or(u64::MAX))
    })?;
    Some(Duration::from_secs(seconds).min(MAX_WAIT))
}

fn parts<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(known: &[&str], prefer: &[&str]) -> Conditions {
        let mut headers = HeaderMap::new();
        for value in known {
            headers.append(header::IF_NONE_MATCH, value.parse().unwrap());
        }
        for value in prefer {
            headers.append("prefer", value.parse().unwrap());
        }
        Conditions::of(&headers)
    }

    #[test]
    fn waits_are_found_and_capped() {
        let wait = |prefer: &[&str]| of(&[], prefer).wait.map(|w| w.as_secs());
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["respond-async, WAIT = 7; x=y"]), Some(7));
        assert_eq!(wait(&["return=minimal", "wait=\"3\""]), Some(3));
        assert_eq!(wait(&["wait=99999999999999999999"]), Some(60));
        for none in [
            "wait",
            "wait=",
            "wait=-1",
            "wait=1.5",
            "waiting=3",
            "wait=x",
        ] {
            assert_eq!(wait(&[none]), None, "{none}");
        }
    }

    #[test]
    fn tags_are_compared_weakly_and_any_means_the_one_there_is() {
        let mut tagger = Tagger::new("x");
        tagger.add(b"1");
        let tag = tagger.finish();
        let strong = tag.header().unwrap().to_str().unwrap().to_owned();
        let weak = format!("W/{strong}");
        let list = format!("\"other\", {weak}");
        for known in [&strong, &weak, &list] {
            assert!(of(&[known], &[]).has(&tag), "{known}");
        }
        let mut any = of(&["*"], &[]);
        let other = Tagger::new("y").finish();
        assert!(any.has_something() && any.has(&tag) && !any.has(&other));
        let mut bare = of(&[strong.trim_matches('"')], &[]);
        assert!(!bare.has_something() && !bare.has(&tag));
    }

    #[test]
    fn parts_do_not_run_together() {
        let tag = |parts: &[&str]| {
            let mut tagger = Tagger::new("x");
            parts.iter().for_each(|p| tagger.add(p.as_bytes()));
            tagger.finish()
        };
        assert_ne!(tag(&["ab", "c"]), tag(&["a", "bc"]));
        assert_eq!(tag(&["ab", "c"]), tag(&["ab", "c"]));
    }
}
