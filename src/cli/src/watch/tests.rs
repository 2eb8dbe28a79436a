//! Events in, pictures out: no terminal, no server.

use super::event::{NodeState, clean};
use super::news::News;
use super::picture::{Line, Style};
use super::*;
use crate::wire::fleet_v1::agent::Contact;
use crate::wire::fleet_v1::{Agent, WatchResponse};
use crate::wire::{audit_v1, fleet_v1, info_v1, keys_v1};

const NOW_MS: i64 = 1_795_503_599_000;
const SMALL: Size = Size {
    rows: 20,
    columns: 100,
};

fn agent(name: &str, contact: Contact) -> Agent {
    Agent {
        spiffe_id: format!("spiffe://example.org/spire/agent/x509pop/{name}"),
        attestor: "x509pop".into(),
        contact: contact.into(),
        expires_at: NOW_MS / 1000 + 3_000,
        bundle_sequence: 3,
        entries: 12,
        ..Agent::default()
    }
}

fn record(seq: u64, kind: &str, result: &str) -> audit_v1::Record {
    audit_v1::Record {
        seq,
        at_ms: NOW_MS,
        kind: kind.into(),
        result: result.into(),
        who: "spiffe://example.org/spire/agent/x509pop/a".into(),
        for_whom: "spiffe://example.org/api".into(),
        entry_id: "entry-1".into(),
        ..audit_v1::Record::default()
    }
}

fn look(agents: Vec<Agent>, gone: &[&str]) -> WatchResponse {
    let server = fleet_v1::Server {
        bundle_sequence: 3,
        entries: 12,
        ..fleet_v1::Server::default()
    };
    WatchResponse {
        agents,
        gone: gone.iter().map(|id| (*id).to_owned()).collect(),
        server: Some(server),
    }
}

fn info() -> Event {
    Event::Connected(Box::new(info_v1::GetResponse {
        trust_domain: "example.org".into(),
        address: "127.0.0.1:8081".into(),
        version: "0.1.0".into(),
        ..info_v1::GetResponse::default()
    }))
}

fn drawn(events: impl IntoIterator<Item = Event>, size: Size) -> Vec<Line> {
    let mut model = Model::new();
    for event in events {
        model.apply(&event, NOW_MS);
    }
    picture(&model, size, NOW_MS)
}

fn text(lines: &[Line]) -> String {
    lines
        .iter()
        .map(|line| format!("{}\n", line.text))
        .collect()
}

#[test]
fn a_picture_says_who_is_there_and_what_happened() {
    let mut news = News::default();
    news.connected(0);
    let mut events = vec![info()];
    events.extend(news.look(look(
        vec![agent("b", Contact::Following), agent("a", Contact::Away)],
        &[],
    )));
    events.push(news.record(record(1, "issue_x509", "granted")));
    events.push(news.record(record(2, "issue_jwt", "refused")));
    events.push(Event::Node(NodeState {
        ready: true,
        streams: 7,
        ..NodeState::default()
    }));
    let lines = drawn(events, SMALL);
    let shown = text(&lines);
    for part in [
        "bulla watch  example.org  0.1.0 at 127.0.0.1:8081",
        "agents: 1 following, 0 polling, 1 away; 12 entries; bundle 3",
        "last minute: 1 issued, 0 renewed, 1 refused",
        "THIS NODE  ready, 7 streams",
        "refusal       issue_jwt  spiffe://example.org/api",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let away = lines.iter().position(|line| line.text.starts_with("away"));
    let following = lines
        .iter()
        .position(|line| line.text.starts_with("following"));
    assert!(
        away.unwrap() < following.unwrap(),
        "who is away comes first"
    );
    assert_eq!(lines[away.unwrap()].style, Style::Alarm);
}

#[test]
fn u7_agents_can_be_told_apart_in_80_columns() {
    let id = |last: &str| format!("spiffe://example.org/spire/agent/join_token/{last}");
    let named = |last: &str, alias: &str, host: &str| Agent {
        spiffe_id: id(last),
        aliases: match alias {
            "" => Vec::new(),
            alias => vec![format!("spiffe://example.org/{alias}")],
        },
        host: host.into(),
        address: "192.0.2.7".into(),
        ..agent("x", Contact::Following)
    };
    let mut news = News::default();
    news.connected(0);
    let mut events = vec![info()];
    let agents = vec![
        named("0123456789abcdef", "", ""),
        named("0123456789abcde0", "node-a", "a.example.org"),
        named("fedcba9876543210", "", "b.example.org"),
    ];
    events.extend(news.look(look(agents, &[])));
    let size = Size {
        rows: 24,
        columns: 80,
    };
    let lines = drawn(events, size);
    let agents = lines
        .iter()
        .filter(|line| line.text.starts_with("following"));
    let mut agents: Vec<&str> = agents.map(|line| line.text.as_str()).collect();
    for name in ["0123456789ab", "node-a", "b.example.org", "192.0.2.7"] {
        assert!(
            agents.iter().any(|line| line.contains(name)),
            "{name}: {agents:#?}"
        );
    }
    agents.sort_unstable();
    agents.dedup();
    assert_eq!(agents.len(), 3, "{agents:#?}");
}

#[test]
fn no_picture_is_larger_than_its_terminal() {
    let mut news = News::default();
    news.connected(0);
    let agents = (0..300).map(|n| agent(&format!("{n}"), Contact::Following));
    let mut events = vec![info()];
    events.extend(news.look(look(agents.collect(), &[])));
    events.extend((1..=500).map(|seq| news.record(record(seq, "issue_x509", "granted"))));
    for (rows, columns) in [(0, 0), (1, 1), (5, 20), (24, 80), (50, 200), (500, 500)] {
        let lines = drawn(events.clone(), Size { rows, columns });
        assert!(lines.len() <= rows, "{} lines in {rows}", lines.len());
        let widest = lines.iter().map(|line| line.text.chars().count()).max();
        assert!(widest.unwrap_or(0) <= columns, "{widest:?} in {columns}");
    }
    let shown = text(&drawn(events, SMALL));
    assert!(
        shown.contains("more\n"),
        "what is left out is said\n{shown}"
    );
}

#[test]
fn what_callers_wrote_cannot_steer_the_terminal() {
    let hostile = "\x1b]0;owned\x07\x1b[2J\u{9b}31m\r\nfake line";
    let mut refused = record(1, "refusal", "refused");
    refused.reason = hostile.into();
    let mut node = agent(hostile, Contact::Away);
    node.attestor = hostile.into();
    let mut news = News::default();
    news.connected(0);
    let mut events = news.look(look(vec![node], &[]));
    events.push(news.record(refused));
    for event in &events {
        let line = event.text(NOW_MS).unwrap_or_default();
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    for line in drawn(events, SMALL) {
        assert!(!line.text.chars().any(char::is_control), "{:?}", line.text);
    }
    assert_eq!(clean("a\x1bb"), "a\u{fffd}b");
}

#[test]
fn a_lost_server_is_said_and_what_is_shown_is_called_old() {
    let lost = Event::Disconnected {
        why: "no server answers".into(),
        retry_ms: 2_000,
    };
    let shown = text(&drawn([info(), lost], SMALL));
    assert!(
        shown.contains("RECONNECTING, next try in 2 s; what is shown is old: no server answers"),
        "{shown}"
    );
    let lost = Event::Disconnected {
        why: "x".into(),
        retry_ms: 1,
    };
    assert!(!text(&drawn([lost, info()], SMALL)).contains("RECONNECTING"));
}

#[test]
fn the_second_certificate_for_an_entry_on_an_agent_is_a_renewal() {
    let mut news = News::default();
    assert_eq!(news.connected(1), 1);
    let mut class = |record| match news.record(record) {
        Event::Record { class, old, .. } => (class, old),
        _ => unreachable!("a record gives a record"),
    };
    assert_eq!(
        class(record(1, "issue_x509", "granted")),
        (Class::Issuance, true)
    );
    assert_eq!(
        class(record(2, "issue_x509", "granted")),
        (Class::Renewal, false)
    );
    let elsewhere = audit_v1::Record {
        who: "spiffe://example.org/spire/agent/x509pop/b".into(),
        ..record(3, "issue_x509", "granted")
    };
    assert_eq!(class(elsewhere).0, Class::Issuance);
    assert_eq!(class(record(4, "issue_x509", "refused")).0, Class::Refusal);
    assert_eq!(
        class(record(5, "key_rotation", "granted")).0,
        Class::Rotation
    );
}

#[test]
fn after_a_reconnection_nothing_is_said_twice_and_nothing_is_left_out() {
    let mut news = News::default();
    assert_eq!(news.connected(5_000), 4_001, "some history, not all of it");
    for seq in 4_001..=5_002 {
        news.record(record(seq, "issue_x509", "granted"));
    }
    let both = vec![
        agent("a", Contact::Following),
        agent("b", Contact::Following),
    ];
    assert_eq!(news.look(look(both, &[])).len(), 3);
    // The server comes back with three more records and without agent b.
    assert_eq!(news.connected(5_005), 5_003);
    let events = news.look(look(vec![agent("a", Contact::Following)], &[]));
    assert!(matches!(&events[..], [Event::AgentGone(id), Event::Look(_)] if id.ends_with("/b")));
    // Another journal begins at its beginning.
    assert_eq!(news.connected(2), 1);
}

#[test]
fn numbers_that_always_move_make_no_lines() {
    let mut news = News::default();
    news.connected(0);
    let first = agent("a", Contact::Following);
    assert!(
        news.look(look(vec![first.clone()], &[]))[0]
            .json(NOW_MS)
            .is_some()
    );
    let mut later = first.clone();
    later.lag_ms = 40;
    let quiet = news.look(look(vec![later.clone()], &[]));
    assert!(quiet[0].json(NOW_MS).is_none(), "the picture shows it");
    later.lag_ms = 60_000;
    let behind = news.look(look(vec![later], &[]))[0].json(NOW_MS).unwrap();
    assert_eq!(
        (&behind["behind"], &behind["was"]),
        (&json!(true), &json!("following"))
    );
    let keys = |unexpired| {
        vec![keys_v1::Key {
            id: "k".into(),
            dependents: Some(keys_v1::Dependents {
                unexpired,
                ..keys_v1::Dependents::default()
            }),
            ..keys_v1::Key::default()
        }]
    };
    assert!(news.keys(keys(1)).is_some() && news.keys(keys(2)).is_none());
}
