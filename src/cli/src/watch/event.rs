//! What is watched, event by event: the lines of `bulla watch --json`, whose
//! members are promised in docs/watch.md, and the same as text.

use serde_json::{Value, json};

use crate::output::utc;
use crate::wire::fleet_v1::{self, agent::Contact};
use crate::wire::{audit_v1, info_v1, keys_v1};

/// The name of the lines' format. It changes when a member changes its meaning or
/// goes; new members and events may come at any time.
pub(super) const SCHEMA: &str = "bulla.watch/1";

/// An agent that owes an acknowledgement for longer counts as behind, milliseconds.
const BEHIND_MS: u64 = 2_000;

/// Something that happened or was found out.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The server answers.
    Connected(Box<info_v1::GetResponse>),
    /// It does not, and is tried again.
    Disconnected { why: String, retry_ms: u64 },
    /// The end of one look at the fleet.
    Look(fleet_v1::Server),
    /// An agent is new or not as it was.
    Agent {
        agent: fleet_v1::Agent,
        was: Option<Contact>,
        /// Whether more changed than numbers that change all the time.
        is_news: bool,
    },
    /// An agent is no longer known.
    AgentGone(String),
    /// The signing keys are not as they were.
    Keys(Vec<keys_v1::Key>),
    /// The server recorded something.
    Record {
        class: Class,
        record: Box<audit_v1::Record>,
        /// From before the watching began.
        old: bool,
    },
    /// This node's agent is not as it was.
    Node(NodeState),
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// An entry came, changed or went.
    Registration,
    /// A credential for the first time.
    Issuance,
    /// A credential in place of an older one.
    Renewal,
    /// Something was refused.
    Refusal,
    /// A signing key was made or moved on.
    Rotation,
    /// A node attested, was banned or evicted, or is expected.
    Node,
    /// Anything else.
    Other,
}

impl Class {
    /// Its name in lines and pictures.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Issuance => "issuance",
            Self::Renewal => "renewal",
            Self::Refusal => "refusal",
            Self::Rotation => "rotation",
            Self::Node => "node",
            Self::Other => "record",
        }
    }
}

/// What this node's agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NodeState {
    pub(super) ready: bool,
    pub(super) reasons: Vec<String>,
    pub(super) spiffe_id: String,
    pub(super) streams: u64,
    pub(super) entries: u64,
    pub(super) x509_svids: u64,
    pub(super) jwt_svids: u64,
    pub(super) next_renewal_by: Option<i64>,
}

/// How an agent is heard from, in one word.
pub(super) const fn contact_name(contact: Contact) -> &'static str {
    match contact {
        Contact::Unspecified => "unknown",
        Contact::Away => "away",
        Contact::Following => "following",
        Contact::Polling => "polling",
    }
}

/// Whether an agent has owed an acknowledgement for too long.
pub(super) const fn is_behind(agent: &fleet_v1::Agent) -> bool {
    agent.lag_ms >= BEHIND_MS
}

impl Event {
    /// The line of it; `None` for what is no event of its own.
    pub(super) fn json(&self, now_ms: i64) -> Option<Value> {
        let (name, at_ms, mut members) = match self {
            Self::Look(_) | Self::Record { old: true, .. } | Self::Agent { is_news: false, .. } => {
                return None;
            }
            Self::Connected(info) => ("connected", now_ms, connected(info)),
            Self::Disconnected { why, retry_ms } => {
                let members = json!({ "why": why, "retry_ms": retry_ms });
                ("disconnected", now_ms, members)
            }
            Self::Agent { agent, was, .. } => ("agent", now_ms, agent_value(agent, *was)),
            Self::AgentGone(id) => ("agent_gone", now_ms, json!({ "spiffe_id": id })),
            Self::Keys(keys) => {
                let keys: Vec<Value> = keys.iter().map(key_value).collect();
                ("keys", now_ms, json!({ "keys": keys }))
            }
            Self::Record { class, record, .. } => {
                (class.name(), record.at_ms, record_value(record))
            }
            Self::Node(node) => ("this_node", now_ms, node_value(node)),
        };
        let members = members.as_object_mut()?;
        members.insert("schema".into(), SCHEMA.into());
        members.insert("event".into(), name.into());
        members.insert("at_ms".into(), at_ms.into());
        Some(Value::Object(std::mem::take(members)))
    }

    /// The same as text; `None` for what is no event of its own.
    pub(super) fn text(&self, now_ms: i64) -> Option<String> {
        let (at_ms, name, what) = match self {
            Self::Look(_) | Self::Record { old: true, .. } | Self::Agent { is_news: false, .. } => {
                return None;
            }
            Self::Connected(info) => (
                now_ms,
                "connected",
                format!("{}: {} agents", info.trust_domain, info.agents),
            ),
            Self::Disconnected { why, .. } => {
                (now_ms, "disconnected", format!("{why}; reconnecting"))
            }
            Self::Agent { agent, was, .. } => (now_ms, "agent", agent_text(agent, *was)),
            Self::AgentGone(id) => (now_ms, "agent", format!("{id} is no longer known")),
            Self::Keys(keys) => {
                let keys: Vec<String> = keys.iter().map(key_text).collect();
                (now_ms, "keys", keys.join("; "))
            }
            Self::Record { class, record, .. } => (record.at_ms, class.name(), record_text(record)),
            Self::Node(node) => (now_ms, "this_node", node_text(node)),
        };
        let time = time_of_day(at_ms.div_euclid(1000));
        Some(clean(&format!("{time}  {name:<12}  {what}")))
    }
}

/// Text without what could steer a terminal: some of it was written by callers.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

/// The time of day, UTC.
pub(super) fn time_of_day(seconds: i64) -> String {
    let text = utc(seconds.max(1));
    text.split_once('T')
        .map_or_else(String::new, |(_, time)| time.to_owned())
}

pub(super) fn connected(info: &info_v1::GetResponse) -> Value {
    json!({
        "trust_domain": info.trust_domain,
        "version": info.version,
        "address": info.address,
        "started_at": utc(info.started_at),
        "agents": info.agents,
        "entries": info.entries,
        "bundle_sequence": info.bundle_sequence,
        "seq": info.journal_seq,
    })
}

pub(super) fn agent_value(agent: &fleet_v1::Agent, was: Option<Contact>) -> Value {
    json!({
        "spiffe_id": agent.spiffe_id,
        "contact": contact_name(agent.contact()),
        "was": was.map(contact_name),
        "since": (agent.since > 0).then(|| utc(agent.since)),
        "behind": is_behind(agent),
        "lag_ms": agent.lag_ms,
        "revision_sent": agent.revision_sent,
        "revision_acknowledged": agent.revision_acknowledged,
        "bundle_sequence": agent.bundle_sequence,
        "entries": agent.entries,
        "banned": agent.banned,
        "expires_at": utc(agent.expires_at),
        "attestor": agent.attestor,
        "agent_version": agent.agent_version,
        "aliases": agent.aliases,
        "host": agent.host,
        "address": agent.address,
    })
}

fn agent_text(agent: &fleet_v1::Agent, was: Option<Contact>) -> String {
    let now = contact_name(agent.contact());
    let behind = if is_behind(agent) { ", behind" } else { "" };
    let banned = if agent.banned { ", banned" } else { "" };
    let was = match was {
        Some(was) if was != agent.contact() => format!(" (was {})", contact_name(was)),
        _ => String::new(),
    };
    format!("{} is {now}{was}{behind}{banned}", agent.spiffe_id)
}

pub(super) fn key_value(key: &keys_v1::Key) -> Value {
    let unexpired = key.dependents.as_ref().map(|known| known.unexpired);
    json!({
        "profile": key.profile,
        "id": key.id,
        "state": key.state,
        "tainted": key.tainted,
        "not_after": utc(key.not_after),
        "next_step": key.next_step,
        "next_at": (key.next_at > 0).then(|| utc(key.next_at)),
        "waits_for": key.waits_for,
        "unexpired": unexpired,
    })
}

fn key_text(key: &keys_v1::Key) -> String {
    let id: String = key.id.chars().take(8).collect();
    let tainted = if key.tainted { " (tainted)" } else { "" };
    format!("{} {id} {}{tainted}", key.profile, key.state)
}

pub(super) fn record_value(record: &audit_v1::Record) -> Value {
    json!({
        "seq": record.seq,
        "kind": record.kind,
        "result": record.result,
        "who": record.who,
        "for": record.for_whom,
        "entry_id": record.entry_id,
        "credential_id": record.credential_id,
        "not_after": (record.not_after > 0).then(|| utc(record.not_after)),
        "authority_id": record.authority_id,
        "reason": record.reason,
        "detail": record.detail,
    })
}

/// A record in one line: what, for whom, by whom, why not.
pub(super) fn record_text(record: &audit_v1::Record) -> String {
    let mut text = record.kind.clone();
    for part in [&record.for_whom, &record.detail] {
        if !part.is_empty() {
            text.push_str("  ");
            text.push_str(part);
        }
    }
    if !record.who.is_empty() && record.who != record.for_whom {
        text.push_str("  by ");
        text.push_str(&record.who);
    }
    if !record.reason.is_empty() {
        text.push_str(": ");
        text.push_str(&record.reason);
    }
    text
}

pub(super) fn node_value(node: &NodeState) -> Value {
    json!({
        "ready": node.ready,
        "reasons": node.reasons,
        "spiffe_id": node.spiffe_id,
        "streams": node.streams,
        "entries": node.entries,
        "x509_svids": node.x509_svids,
        "jwt_svids": node.jwt_svids,
        "next_renewal_by": node.next_renewal_by.map(utc),
    })
}

/// This node's agent in one line.
pub(super) fn node_text(node: &NodeState) -> String {
    let ready = if node.ready { "ready" } else { "NOT READY" };
    let renewal = node.next_renewal_by;
    let renewal = renewal.map_or_else(String::new, |at| {
        format!(", next renewal by {}", time_of_day(at))
    });
    let why = match node.reasons.as_slice() {
        [] => String::new(),
        reasons => format!(": {}", reasons.join("; ")),
    };
    format!(
        "{ready}, {} streams, {} of {} SVIDs, {} tokens{renewal}{why}",
        node.streams, node.x509_svids, node.entries, node.jwt_svids
    )
}
