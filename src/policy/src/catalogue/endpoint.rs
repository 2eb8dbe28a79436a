//! Endpoints: an HTTP method and a path template, or a gRPC method. A call is
//! matched strictly; whatever two programs could read differently matches nothing.

use std::collections::HashMap;
use std::fmt;

use crate::PermissionName;
use crate::limits::PATH_BYTES_MAX;

/// One endpoint of a service.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// An upper-case method; `None` is any.
    method: Option<String>,
    segments: Vec<Segment>,
    /// Whether everything below belongs to it, too (`/**`).
    below: bool,
    grpc: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Segment {
    Literal(String),
    /// Any one segment; the name is for people.
    Any(String),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No method and path.
    #[error("{0:?} is no HTTP endpoint; write a method and a path, such as POST /refunds/{{id}}")]
    Http(String),
    /// No package, service and method.
    #[error("{0:?} is no gRPC method; write it such as payments.v1.Payments/Refund")]
    Grpc(String),
    /// A segment that no strictly read path can have.
    #[error(
        "{0:?} is no path template: no empty, '.' or '..' segments, no '?', '#', '%' or '\\', a parameter is a whole segment such as {{id}}, and ** stands last"
    )]
    Path(String),
}

impl Endpoint {
    /// Parses an HTTP endpoint: `POST /refunds/{id}`, `* /reports/**`.
    ///
    /// # Errors
    /// What it should look like.
    pub fn http(text: &str) -> Result<Self, EndpointError> {
        let wrong = || EndpointError::Http(excerpt(text));
        let (method, path) = text.split_once(' ').ok_or_else(wrong)?;
        let upper = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
        if method != "*" && !upper {
            return Err(wrong());
        }
        let bad = || EndpointError::Path(excerpt(text));
        let (segments, below) = template(path).ok_or_else(bad)?;
        Ok(Self {
            method: (method != "*").then(|| method.to_owned()),
            segments,
            below,
            grpc: false,
        })
    }

    /// Parses a gRPC method: `payments.v1.Payments/Refund`.
    ///
    /// # Errors
    /// What it should look like.
    pub fn grpc(text: &str) -> Result<Self, EndpointError> {
        let name = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((service, method)) if name(service) && name(method) => Ok(Self {
                method: Some("POST".into()),
                segments: vec![
                    Segment::Literal(service.into()),
                    Segment::Literal(method.into()),
                ],
                below: false,
                grpc: true,
            }),
            _ => Err(EndpointError::Grpc(excerpt(text))),
        }
    }

    /// Whether it is a gRPC method.
    #[must_use]
    pub const fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// Whether some call would match both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let methods = match (&self.method, &other.method) {
            (Some(one), Some(two)) => one == two,
            _ => true,
        };
        let shorter = self.segments.len().min(other.segments.len());
        let lengths = self.segments.len() == other.segments.len()
            || self.below && self.segments.len() < other.segments.len()
            || other.below && other.segments.len() < self.segments.len();
        let meet = |(one, two): (&Segment, &Segment)| match (one, two) {
            (Segment::Literal(one), Segment::Literal(two)) => one == two,
            _ => true,
        };
        methods
            && lengths
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .take(shorter)
                .all(meet)
    }

    fn matches(&self, method: &str, path: &[String]) -> bool {
        let is = |(segment, text): (&Segment, &String)| match segment {
            Segment::Literal(literal) => literal == text,
            Segment::Any(_) => true,
        };
        let long_enough =
            path.len() == self.segments.len() || self.below && path.len() > self.segments.len();
        self.method.as_deref().is_none_or(|own| own == method)
            && long_enough
            && self.segments.iter().zip(path).all(is)
    }

    fn first(&self) -> Option<&str> {
        match self.segments.first() {
            Some(Segment::Literal(text)) => Some(text),
            _ => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.grpc {
            write!(f, "{} ", self.method.as_deref().unwrap_or("*"))?;
        }
        for (at, segment) in self.segments.iter().enumerate() {
            if at > 0 || !self.grpc {
                f.write_str("/")?;
            }
            match segment {
                Segment::Literal(text) => f.write_str(text)?,
                Segment::Any(name) => write!(f, "{{{name}}}")?,
            }
        }
        match (self.below, self.segments.is_empty()) {
            (true, _) => f.write_str("/**"),
            (false, true) => f.write_str("/"),
            (false, false) => Ok(()),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(120).collect()
}

fn template(path: &str) -> Option<(Vec<Segment>, bool)> {
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some((Vec::new(), false));
    }
    let (rest, below) = match rest.strip_suffix("**") {
        Some("") => return Some((Vec::new(), true)),
        Some(before) => (before.strip_suffix('/')?, true),
        None => (rest, false),
    };
    let segments: Option<Vec<Segment>> = rest.split('/').map(segment).collect();
    Some((segments?, below))
}

fn segment(text: &str) -> Option<Segment> {
    if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        let named = !name.is_empty() && name.bytes().all(plain);
        return named.then(|| Segment::Any(name.into()));
    }
    let plain = |c: char| c.is_ascii_graphic() && !"?#%\\{}*".contains(c) || c.is_alphabetic();
    let good = !matches!(text, "" | "." | "..") && text.chars().all(plain);
    good.then(|| Segment::Literal(text.into()))
}

/// A call's path, decoded and split; `None` when programs could disagree on what
/// it means: empty or dot segments, encoded slashes, bad escapes.
fn split(path: &str) -> Option<Vec<String>> {
    let path = path.split('?').next().unwrap_or(path);
    if path.len() > PATH_BYTES_MAX || path.contains('#') {
        return None;
    }
    let rest = path.strip_prefix('/')?;
    if rest.is_empty() {
        return Some(Vec::new());
    }
    rest.split('/').map(decoded).collect()
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        };
        out.push(byte);
    }
    let text = String::from_utf8(out).ok()?;
    // ';' begins parameters for some servers, '%' would be decoded again by others.
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | '%' | ';');
    let good = !matches!(text.as_str(), "" | "." | "..") && !text.contains(odd);
    good.then_some(text)
}

/// The endpoints of one service, by first segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    by_first: HashMap<String, Vec<(Endpoint, PermissionName)>>,
    rest: Vec<(Endpoint, PermissionName)>,
}

impl Table {
    /// Takes an endpoint up, or tells which one it repeats, or which one of
    /// another permission it overlaps with.
    pub(super) fn insert(
        &mut self,
        endpoint: Endpoint,
        permission: &PermissionName,
    ) -> Result<(), (Endpoint, PermissionName)> {
        let clash = self.candidates(endpoint.first()).find(|(other, whose)| {
            *other == endpoint || whose != permission && other.overlaps(&endpoint)
        });
        if let Some(clash) = clash {
            return Err(clash.clone());
        }
        let row = (endpoint.clone(), permission.clone());
        match endpoint.first() {
            Some(first) => self.by_first.entry(first.to_owned()).or_default().push(row),
            None => self.rest.push(row),
        }
        Ok(())
    }

    /// Those that could meet a path with this first segment; all for `None`.
    fn candidates(
        &self,
        first: Option<&str>,
    ) -> Box<dyn Iterator<Item = &(Endpoint, PermissionName)> + '_> {
        match first {
            Some(first) => Box::new(
                self.by_first
                    .get(first)
                    .into_iter()
                    .flatten()
                    .chain(&self.rest),
            ),
            None => Box::new(self.by_first.values().flatten().chain(&self.rest)),
        }
    }

    pub(super) fn find(&self, method: &str, path: &str) -> Option<&PermissionName> {
        let path = split(path)?;
        let own = path.first().and_then(|first| self.by_first.get(first));
        let rows = own.into_iter().flatten().chain(&self.rest);
        let mut hits = rows.filter(|(endpoint, _)| endpoint.matches(method, &path));
        hits.next().map(|(_, permission)| permission)
    }
}
