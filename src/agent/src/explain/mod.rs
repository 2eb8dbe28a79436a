//! Why a process has the identities it has, or none: what was attested of it, which
//! entries match, and for an admin which nearly did.

mod process;
mod surroundings;

use std::sync::Arc;

use channel::uds::UnixPeer;
use identity::Entry;
use serde_json::{Map, Value, json};

pub(crate) use process::{Unexplained, explain};

use crate::process::Attested;
use crate::workload_api::WorkloadApi;

/// What is said of one process, member by member.
pub(crate) struct Explanation(Map<String, Value>);

impl Explanation {
    /// What a process may know about itself.
    pub(crate) fn of(
        api: &WorkloadApi,
        peer: &UnixPeer,
        attested: &Attested,
        entries: &[Arc<Entry>],
    ) -> Self {
        let mut said = Self::process(peer);
        said.add("attested", true);
        said.add("strength", attested.strength.as_str());
        said.add("attestors", attestors(api, attested));
        let expiries = api.core.hub.expiries(entries);
        let rows: Vec<Value> = entries
            .iter()
            .zip(expiries)
            .map(|(entry, expiry)| {
                json!({
                    "entry_id": entry.id.to_string(),
                    "spiffe_id": entry.spiffe_id.to_string(),
                    "hint": entry.hint,
                    "selectors": texts(&entry.selectors),
                    "x509_svid_expires_at": expiry.map(|at| at.0),
                })
            })
            .collect();
        said.add("entries", rows);
        let verdict = match entries {
            [] if !attested.unknown.is_empty() => format!(
                "no identity is given while {} does not answer, unless it depends on nothing of that",
                attested.unknown.join(", ")
            ),
            [] => "no entry matches this process, so it has no identity".to_owned(),
            [only] => format!("this process is {}", only.spiffe_id),
            [first, rest @ ..] => format!(
                "this process is {} by default, and {} more",
                first.spiffe_id,
                rest.len()
            ),
        };
        said.add("verdict", verdict);
        said
    }

    fn process(peer: &UnixPeer) -> Self {
        let (pid, uid, gid) = (peer.pid(), peer.uid(), peer.gid());
        let process = json!({ "pid": pid, "uid": uid, "gid": gid });
        Self(Map::from_iter([("process".to_owned(), process)]))
    }

    fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// All of it, as JSON.
    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

/// Each configured attestor with what it stated. All selectors of an attestor are
/// of its own kind.
fn attestors(api: &WorkloadApi, attested: &Attested) -> Vec<Value> {
    let all = api.attestors.iter();
    all.map(|attestor| {
        let name = attestor.inspect.kind();
        let outcome = if attested.skipped.contains(&name) {
            "failed, and is optional"
        } else if attested.unknown.contains(&name) {
            "did not answer"
        } else {
            "stated"
        };
        let own = attested.selectors.iter().filter(|s| s.kind() == name);
        let selectors: Vec<String> = own.map(ToString::to_string).collect();
        json!({ "name": name, "outcome": outcome, "selectors": selectors })
    })
    .collect()
}

fn texts(selectors: &identity::Selectors) -> Vec<String> {
    selectors.iter().map(ToString::to_string).collect()
}
