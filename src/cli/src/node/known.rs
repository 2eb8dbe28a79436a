//! Nodes as people tell them apart: by alias, host, address and last contact, which the
//! server knows beside what is registered; and finding the one that somebody means.

use std::collections::HashMap;

use serde_json::{Value, json};
use tonic::Code;
use tonic::transport::Channel;

use crate::admin::{id_text, node_value};
use crate::failure::{Exit, Failure};
use crate::output::{span, utc};
use crate::wire::agent_v1::agent_client::AgentClient;
use crate::wire::fleet_v1::agent::Contact;
use crate::wire::fleet_v1::fleet_client::FleetClient;
use crate::wire::{agent_v1, fleet_v1, types};

const PAGE: i32 = 500;
/// Shorter beginnings of an ID are not looked for.
const PREFIX_LEAST: usize = 4;
/// So much of an ID is shown, unless more is needed to tell it from others.
const SHORT: usize = 12;
/// Candidates that a refusal names.
const NAMED: usize = 8;

/// One node.
pub(crate) struct Known {
    /// What is registered of it.
    pub(crate) node: types::Agent,
    /// What the server knows beside that; none of a server that does not say it.
    pub(crate) seen: Option<fleet_v1::Agent>,
}

/// All nodes, or only banned ones, and the server's time in Unix seconds.
///
/// # Errors
/// The server is away or refuses.
pub(crate) async fn all(channel: Channel, banned: bool) -> Result<(Vec<Known>, i64), Failure> {
    let (mut seen, now) = fleet(channel.clone()).await?;
    let mut client = AgentClient::new(channel);
    let filter = banned.then(|| agent_v1::list_agents_request::Filter {
        by_banned: Some(true),
        ..Default::default()
    });
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = agent_v1::ListAgentsRequest {
            filter: filter.clone(),
            output_mask: None,
            page_size: PAGE,
            page_token,
        };
        let answer = client.list_agents(request).await?.into_inner();
        found.extend(answer.agents.into_iter().map(|node| Known {
            seen: seen.remove(&id_text(node.id.as_ref())),
            node,
        }));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok((found, now));
        }
    }
}

/// One look at the fleet. SPIRE's server has none, and nothing is known then.
async fn fleet(channel: Channel) -> Result<(HashMap<String, fleet_v1::Agent>, i64), Failure> {
    let request = fleet_v1::WatchRequest {
        interval_ms: 0,
        once: true,
    };
    let mut seen = HashMap::new();
    let mut now = 0;
    let mut looks = match FleetClient::new(channel).watch(request).await {
        Ok(looks) => looks.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return Ok((seen, now)),
        Err(status) => return Err(status.into()),
    };
    while let Some(look) = looks.message().await? {
        let agents = look.agents.into_iter();
        seen.extend(agents.map(|agent| (agent.spiffe_id.clone(), agent)));
        if let Some(server) = look.server {
            now = server.now_ms.div_euclid(1000);
        }
    }
    Ok((seen, now))
}

/// What follows the attestor in an agent's ID.
fn last_part(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// The beginning of the last part of an agent's ID.
pub(crate) fn short(id: &str, length: usize) -> &str {
    let last = last_part(id);
    last.get(..length).unwrap_or(last)
}

/// The path of a SPIFFE ID without its first slash.
fn path(id: &str) -> &str {
    let rest = id.strip_prefix("spiffe://").unwrap_or(id);
    rest.split_once('/').map_or(rest, |(_, path)| path)
}

/// What people call an agent: its alias, else its host, else the beginning of its ID.
pub(crate) fn name(agent: &fleet_v1::Agent) -> &str {
    match (agent.aliases.first(), agent.host.as_str()) {
        (Some(alias), _) => path(alias),
        (None, "") => short(&agent.spiffe_id, SHORT),
        (None, host) => host,
    }
}

impl Known {
    /// The agent's SPIFFE ID.
    pub(crate) fn id(&self) -> String {
        id_text(self.node.id.as_ref())
    }

    /// Its other names.
    pub(crate) fn aliases(&self) -> &[String] {
        self.seen.as_ref().map_or(&[], |seen| &seen.aliases)
    }

    fn host(&self) -> &str {
        self.seen.as_ref().map_or("", |seen| &seen.host)
    }

    /// For scripts: everything.
    pub(crate) fn value(&self) -> Value {
        let mut value = node_value(&self.node);
        let Some(members) = value.as_object_mut() else {
            return value;
        };
        let seen = self.seen.clone().unwrap_or_default();
        members.insert("aliases".into(), json!(seen.aliases));
        members.insert("host".into(), json!(seen.host));
        members.insert("address".into(), json!(seen.address));
        let contact = self.seen.as_ref().map(|seen| contact(seen.contact()));
        members.insert("contact".into(), json!(contact));
        let heard = (seen.heard_at > 0).then(|| utc(seen.heard_at));
        members.insert("heard_at".into(), json!(heard));
        value
    }

    /// For people: one row.
    fn row(&self, length: usize, now: i64) -> Value {
        let id = self.id();
        let seen = self.seen.clone().unwrap_or_default();
        let aliases: Vec<&str> = seen.aliases.iter().map(|alias| path(alias)).collect();
        let selectors = &self.node.selectors;
        let selectors = selectors.iter().map(|s| s.value.as_str());
        let selectors: Vec<&str> = selectors.collect();
        json!({
            "alias": aliases.join(" "),
            "host": seen.host,
            "address": seen.address,
            "contact": self.contact_text(now),
            "left": match now {
                0 => utc(self.node.x509svid_expires_at),
                now => span(self.node.x509svid_expires_at - now),
            },
            "attestor": self.node.attestation_type,
            "selectors": clipped(&selectors.join(" ")),
            "agent": short(&id, length),
        })
    }

    fn contact_text(&self, now: i64) -> String {
        if self.node.banned {
            return "BANNED".to_owned();
        }
        let Some(seen) = &self.seen else {
            return String::new();
        };
        match (seen.contact(), seen.heard_at) {
            (Contact::Away, 0) => "away".to_owned(),
            (Contact::Away, at) => format!("away for {}", span((now - at).max(1))),
            (contact, _) => self::contact(contact).to_owned(),
        }
    }
}

const fn contact(contact: Contact) -> &'static str {
    match contact {
        Contact::Unspecified => "unknown",
        Contact::Away => "away",
        Contact::Following => "following",
        Contact::Polling => "polling",
    }
}

fn clipped(text: &str) -> String {
    const MOST: usize = 32;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The rows of a list.
pub(crate) fn rows(nodes: &[Known], now: i64) -> Vec<Value> {
    let ids: Vec<String> = nodes.iter().map(Known::id).collect();
    let length = telling_length(&ids);
    nodes.iter().map(|node| node.row(length, now)).collect()
}

/// How much of each ID must be shown, so that no two are shown alike.
fn telling_length(ids: &[String]) -> usize {
    let mut lasts: Vec<&str> = ids.iter().map(|id| last_part(id)).collect();
    lasts.sort_unstable();
    let shared = |(one, other): (&&str, &&str)| {
        let pairs = one.bytes().zip(other.bytes());
        pairs.take_while(|(a, b)| a == b).count()
    };
    let pairs = lasts.iter().zip(lasts.iter().skip(1));
    pairs
        .map(shared)
        .max()
        .map_or(SHORT, |most| (most + 1).max(SHORT))
}

/// The SPIFFE ID of the one agent that is meant by `text`: its ID, an alias, a host's
/// name, or the beginning of its ID.
///
/// # Errors
/// Nobody is meant, or more than one.
pub(crate) async fn meant(channel: Channel, text: &str) -> Result<String, Failure> {
    if text.starts_with("spiffe://") && text.contains("/spire/agent/") {
        return Ok(text.to_owned());
    }
    let (nodes, _) = all(channel, false).await?;
    choose(&nodes, text)
}

fn choose(nodes: &[Known], text: &str) -> Result<String, Failure> {
    type Test<'a> = Box<dyn Fn(&Known) -> bool + 'a>;
    let bare = text.trim_start_matches('/');
    let tests: [Test<'_>; 4] = [
        Box::new(|node| node.aliases().iter().any(|alias| alias == text)),
        Box::new(|node| node.aliases().iter().any(|alias| path(alias) == bare)),
        Box::new(|node| !text.is_empty() && node.host() == text),
        Box::new(|node| text.len() >= PREFIX_LEAST && last_part(&node.id()).starts_with(text)),
    ];
    for test in tests {
        let found: Vec<String> = nodes
            .iter()
            .filter(|node| test(node))
            .map(Known::id)
            .collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok(one.clone()),
            many => {
                let named: Vec<&str> = many.iter().take(NAMED).map(String::as_str).collect();
                return Err(Failure::usage(format!(
                    "{text:?} means {} nodes: {}",
                    many.len(),
                    named.join(", ")
                ))
                .next("name one by its agent ID"));
            }
        }
    }
    Err(Failure::new(Exit::NotFound, format!("no node {text}"))
        .next("list what there is with `bulla node list`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(last: &str, alias: &str, host: &str) -> Known {
        let path = format!("/spire/agent/join_token/{last}");
        Known {
            node: types::Agent {
                id: Some(types::Spiffeid {
                    trust_domain: "example.org".into(),
                    path: path.clone(),
                }),
                ..types::Agent::default()
            },
            seen: Some(fleet_v1::Agent {
                spiffe_id: format!("spiffe://example.org{path}"),
                aliases: vec![format!("spiffe://example.org/{alias}")],
                host: host.into(),
                ..fleet_v1::Agent::default()
            }),
        }
    }

    #[test]
    fn u7_a_node_is_found_by_any_of_its_names() {
        let nodes = [
            node("aaaa1111", "node-a", "a.example.org"),
            node("aaaa2222", "node-b", "b.example.org"),
        ];
        let second = "spiffe://example.org/spire/agent/join_token/aaaa2222";
        for text in [
            "spiffe://example.org/node-b",
            "/node-b",
            "node-b",
            "b.example.org",
            "aaaa2",
            "aaaa2222",
        ] {
            assert_eq!(choose(&nodes, text).unwrap(), second, "{text}");
        }
        let both = choose(&nodes, "aaaa").unwrap_err();
        assert!(both.what.contains("2 nodes"), "{both}");
        for text in ["", "aaa", "node-c", "spiffe://example.org/node-c"] {
            let none = choose(&nodes, text).unwrap_err();
            assert_eq!(none.exit, Exit::NotFound, "{text}");
        }
    }

    #[test]
    fn no_two_ids_are_shown_alike() {
        let ids = ["0123456789abcdef", "0123456789abcxyz", "f"];
        let ids: Vec<String> = ids
            .iter()
            .map(|last| format!("spiffe://d/{last}"))
            .collect();
        let length = telling_length(&ids);
        assert_eq!(length, 14);
        assert_ne!(short(&ids[0], length), short(&ids[1], length));
        assert_eq!(telling_length(&ids[..1]), SHORT);
    }
}
