//! The catalogue file that is begun: endpoints by proposed permission, and apart
//! from them those that a catalogue cannot take.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use policy::PermissionName;
use policy::catalogue::Endpoint;

use super::Found;

#[derive(Default)]
struct Proposed {
    http: Vec<String>,
    grpc: Vec<String>,
    reads: bool,
}

pub(super) struct Skeleton {
    audience: String,
    permissions: BTreeMap<String, Proposed>,
    left_out: Vec<String>,
}

impl Skeleton {
    pub(super) fn new(audience: &str, found: Vec<Found>) -> Self {
        let mut skeleton = Self {
            audience: audience.to_owned(),
            permissions: BTreeMap::new(),
            left_out: Vec::new(),
        };
        let mut taken: Vec<(Endpoint, String)> = Vec::new();
        for one in found {
            let name = skeleton.name(&one);
            let parsed = if one.grpc {
                Endpoint::grpc(&one.endpoint)
            } else {
                Endpoint::http(&one.endpoint)
            };
            let endpoint = match parsed {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    skeleton.left_out.push(error.to_string());
                    continue;
                }
            };
            if taken.iter().any(|(other, _)| *other == endpoint) {
                continue;
            }
            let clash = taken
                .iter()
                .find(|(other, whose)| *whose != name && other.overlaps(&endpoint));
            if let Some((other, whose)) = clash {
                let what = format!(
                    "{endpoint} ({name}) overlaps {other} of {whose}: a call needs exactly one permission"
                );
                skeleton.left_out.push(what);
                continue;
            }
            taken.push((endpoint, name.clone()));
            let proposed = skeleton
                .permissions
                .entry(name)
                .or_insert_with(|| Proposed {
                    reads: true,
                    ..Proposed::default()
                });
            proposed.reads &= one.reads;
            let list = if one.grpc {
                &mut proposed.grpc
            } else {
                &mut proposed.http
            };
            list.push(one.endpoint);
        }
        skeleton
    }

    /// What the description names, or `audience:thing.read` and `.write`.
    fn name(&self, found: &Found) -> String {
        let scope = found
            .scope
            .as_deref()
            .filter(|s| PermissionName::parse(s).is_ok());
        if let Some(scope) = scope {
            return scope.to_owned();
        }
        let plain = |text: &str| -> String {
            let lower = text.to_ascii_lowercase();
            let mapped = lower
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
            mapped.collect::<String>().trim_matches('-').to_owned()
        };
        let service = plain(self.audience.rsplit('/').next().unwrap_or(&self.audience));
        let service = service.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        let service = if service.is_empty() {
            "service"
        } else {
            service
        };
        let thing = plain(&found.thing);
        let thing = if thing.is_empty() {
            "all".into()
        } else {
            thing
        };
        let verb = if found.reads { "read" } else { "write" };
        let name = format!("{service}:{thing}.{verb}");
        name.chars()
            .take(policy::limits::PERMISSION_BYTES_MAX)
            .collect()
    }

    pub(super) fn text(&self, owner: &str, source: &str) -> String {
        let mut out = String::new();
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "# Begun from {}. Before it is used: decide which endpoints belong to one permission, say\n# what each allows, and how much harm it can do (risk). An endpoint that is not listed is denied.\naudience: {}\nowner: {}\npermissions:\n",
            quoted(source),
            quoted(&self.audience),
            quoted(owner)
        );
        for (name, proposed) in &self.permissions {
            let risk = if proposed.reads { "low" } else { "medium" };
            let _ = write!(
                out,
                "  - name: {name}\n    description: \"\"\n    risk: {risk}\n    endpoints:\n"
            );
            for (kind, list) in [("http", &proposed.http), ("grpc", &proposed.grpc)] {
                if !list.is_empty() {
                    let _ = writeln!(out, "      {kind}:");
                }
                for endpoint in list {
                    let _ = writeln!(out, "        - {}", quoted(endpoint));
                }
            }
        }
        if !self.left_out.is_empty() {
            out.push_str("# Left out:\n");
        }
        for what in &self.left_out {
            let _ = writeln!(out, "# - {}", what.replace(char::is_control, " "));
        }
        out
    }
}
