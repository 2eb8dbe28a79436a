//! Endpoints of an OpenAPI document (2.0, 3.0, 3.1).

use serde_json::Value;
use serde_saphyr::{budget, options};

use super::Found;

const METHODS: &[&str] = &[
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
/// Segments that say nothing of what an endpoint acts on.
const PREFIXES: &[&str] = &["api", "rest"];

pub(crate) fn endpoints(bytes: &[u8]) -> Result<Vec<Found>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| format!("it is no text: {error}"))?;
    let document = parse(text)?;
    if document.get("openapi").is_none() && document.get("swagger").is_none() {
        return Err(
            "it is no OpenAPI document: neither \"openapi\" nor \"swagger\" is there".into(),
        );
    }
    let base = base_path(&document);
    let mut found = Vec::new();
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, item) in paths.into_iter().flatten() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                let path = format!("{base}{path}");
                found.push(Found {
                    endpoint: format!("{} {path}", method.to_ascii_uppercase()),
                    grpc: false,
                    scope: scope(operation).or_else(|| scope(&document)),
                    thing: thing(&path),
                    reads: matches!(*method, "get" | "head" | "options"),
                });
            }
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Result<Value, String> {
    let options = options! {
        budget: budget! { max_nodes: 2_000_000, max_events: 8_000_000 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(1, |at| at.line());
        let told = error.without_snippet().to_string();
        format!("line {line}: {}", told.lines().next().unwrap_or_default())
    })
}

/// The path of the first server, which comes before every path.
fn base_path(document: &Value) -> String {
    let server = document.pointer("/servers/0/url").and_then(Value::as_str);
    let from_server = server.map(|url| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let absolute = rest.len() != url.len();
        match rest.find('/') {
            Some(at) if absolute => rest.get(at..).unwrap_or_default(),
            Some(0) => rest,
            _ => "",
        }
    });
    let base = document.get("basePath").and_then(Value::as_str);
    base.or(from_server)
        .unwrap_or_default()
        .trim_end_matches('/')
        .to_owned()
}

/// The one scope an operation demands, if it is one.
fn scope(operation: &Value) -> Option<String> {
    let [requirement] = operation.get("security")?.as_array()?.as_slice() else {
        return None;
    };
    let scopes: Vec<&str> = requirement
        .as_object()?
        .values()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match scopes.as_slice() {
        [one] => Some((*one).to_owned()),
        _ => None,
    }
}

/// The first segment that names something: neither a parameter nor a version.
fn thing(path: &str) -> String {
    let version = |s: &str| {
        s.strip_prefix('v')
            .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
    };
    let named =
        |s: &&str| !s.is_empty() && !s.contains('{') && !version(s) && !PREFIXES.contains(s);
    path.split('/').find(named).unwrap_or_default().to_owned()
}
