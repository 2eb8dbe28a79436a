//! The picture: a state, a size and the time in, lines out. Pure, and never larger
//! than the size that is given.

use super::event::{Class, clean, contact_name, is_behind, node_text, record_text, time_of_day};
use super::model::{Link, Model};
use crate::node::known::name;
use crate::output::span;
use crate::wire::fleet_v1::{self, agent::Contact};
use crate::wire::keys_v1;

/// Lines and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// How a line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// A title.
    Bold,
    /// Of no importance.
    Dim,
    /// To be looked at.
    Alarm,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) text: String,
}

/// Draws `model` as it is at `now_ms` into at most `size`.
pub(super) fn picture(model: &Model, size: Size, now_ms: i64) -> Vec<Line> {
    let mut lines = heading(model, now_ms);
    lines.extend(keys(model, now_ms));
    let node = model.node.as_ref().map(|node| {
        let style = if node.ready {
            Style::Plain
        } else {
            Style::Alarm
        };
        line(style, format!("THIS NODE  {}", node_text(node)))
    });
    // What is left is shared: agents take up to half, events the rest.
    let left = size
        .rows
        .saturating_sub(lines.len() + usize::from(node.is_some()));
    let agents = agents(model, left / 2, now_ms);
    let left = left.saturating_sub(agents.len());
    lines.extend(agents);
    lines.extend(node);
    lines.extend(events(model, left));
    lines.truncate(size.rows);
    for line in &mut lines {
        line.text = fit(&line.text, size.columns);
    }
    lines
}

fn line(style: Style, text: impl Into<String>) -> Line {
    Line {
        style,
        text: text.into(),
    }
}

/// No control characters, no wider than `columns`.
fn fit(text: &str, columns: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= columns {
        return text;
    }
    let mut cut: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns > 0 {
        cut.push('…');
    }
    cut
}

fn heading(model: &Model, now_ms: i64) -> Vec<Line> {
    let now = time_of_day(now_ms.div_euclid(1000));
    let name = model.info.as_ref().map_or_else(
        || "bulla watch".to_owned(),
        |info| {
            format!(
                "bulla watch  {}  {} at {}",
                info.trust_domain, info.version, info.address
            )
        },
    );
    let state = match &model.link {
        Link::Connecting => line(Style::Dim, "connecting"),
        Link::Down { why, retry_at_ms } => {
            let wait = retry_at_ms.saturating_sub(now_ms).max(0).div_euclid(1000);
            let text = format!("RECONNECTING, next try in {wait} s; what is shown is old: {why}");
            line(Style::Alarm, text)
        }
        Link::Up => line(Style::Plain, standing(model)),
    };
    let of = |class| model.last_minute(class, now_ms);
    let counts = format!(
        "last minute: {} issued, {} renewed, {} refused, {} key changes, {} registrations",
        of(Class::Issuance),
        of(Class::Renewal),
        of(Class::Refusal),
        of(Class::Rotation),
        of(Class::Registration),
    );
    let style = match of(Class::Refusal) {
        0 => Style::Plain,
        _ => Style::Alarm,
    };
    vec![
        line(Style::Bold, format!("{name}  {now}")),
        state,
        line(style, counts),
    ]
}

fn standing(model: &Model) -> String {
    let with = |wanted: Contact| {
        let agents = model.agents.values();
        agents.filter(|agent| agent.contact() == wanted).count()
    };
    let server = model.server.unwrap_or_default();
    format!(
        "agents: {} following, {} polling, {} away; {} entries; bundle {}; view {} ms old",
        with(Contact::Following),
        with(Contact::Polling),
        with(Contact::Away),
        server.entries,
        server.bundle_sequence,
        server.view_age_ms,
    )
}

fn keys(model: &Model, now_ms: i64) -> Vec<Line> {
    if model.keys.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![line(Style::Bold, "KEYS")];
    lines.extend(model.keys.iter().take(8).map(|key| key_line(key, now_ms)));
    lines
}

fn key_line(key: &keys_v1::Key, now_ms: i64) -> Line {
    let id: String = key.id.chars().take(12).collect();
    let now = now_ms.div_euclid(1000);
    let tainted = if key.tainted { " TAINTED" } else { "" };
    let next = match key.next_step.as_str() {
        // By hand, and so by `bulla keys rotate`, it may be earlier.
        step if key.state == "published" && key.next_at > now => {
            let by_hand = if key.against_activating.is_empty() {
                "may sign now"
            } else {
                "not known everywhere yet"
            };
            format!(
                ", {by_hand}; {step} by itself in {}",
                span(key.next_at - now)
            )
        }
        "" => String::new(),
        step if key.next_at > now => format!(", {step} in {}", span(key.next_at - now)),
        step => format!(", {step} now"),
    };
    let waits = match key.waits_for.as_slice() {
        [] => String::new(),
        waits => format!(", waits for {}", waits.join("; ")),
    };
    let style = if key.tainted {
        Style::Alarm
    } else {
        Style::Plain
    };
    let left = span(key.not_after - now);
    let (profile, state) = (&key.profile, &key.state);
    line(
        style,
        format!("  {profile:<5} {id:<12} {state:<9}{tainted} ends in {left}{next}{waits}"),
    )
}

/// Agents, those first that somebody should look at.
fn agents(model: &Model, rows: usize, now_ms: i64) -> Vec<Line> {
    if rows < 2 || model.agents.is_empty() {
        return Vec::new();
    }
    let mut sorted: Vec<&fleet_v1::Agent> = model.agents.values().collect();
    sorted.sort_by_key(|agent| (calm(agent), std::cmp::Reverse(agent.lag_ms)));
    let title = format!(
        "{:<10} {:<24} {:<15} {:>7} {:>6} {:>7} {:>9}  ATTESTOR",
        "AGENTS", "NAME", "ADDRESS", "LAG", "BUNDLE", "ENTRIES", "SVID LEFT"
    );
    let mut lines = vec![line(Style::Bold, title)];
    let fits = rows - 1;
    let shown = if sorted.len() > fits { fits - 1 } else { fits };
    let sequence = model.server.map_or(0, |server| server.bundle_sequence);
    for agent in sorted.iter().take(shown) {
        lines.push(agent_line(agent, sequence, now_ms));
    }
    if sorted.len() > shown {
        let more = sorted.len() - shown;
        lines.push(line(Style::Dim, format!("  and {more} more")));
    }
    lines
}

/// Whether nobody needs to look at an agent.
fn calm(agent: &fleet_v1::Agent) -> bool {
    agent.contact() != Contact::Away && !agent.banned && !is_behind(agent)
}

fn agent_line(agent: &fleet_v1::Agent, sequence: u64, now_ms: i64) -> Line {
    let contact = match agent.contact() {
        _ if agent.banned => "banned",
        contact => contact_name(contact),
    };
    let away = agent.contact() == Contact::Away;
    let lag = match agent.lag_ms {
        _ if away => "-".to_owned(),
        0 => "none".to_owned(),
        ms => format!("{ms} ms"),
    };
    let bundle = match agent.bundle_sequence {
        _ if away => "-".to_owned(),
        old if old < sequence => format!("{old}!"),
        current => current.to_string(),
    };
    let style = if calm(agent) {
        Style::Plain
    } else {
        Style::Alarm
    };
    line(
        style,
        format!(
            "{contact:<10} {:<24} {:<15} {lag:>7} {bundle:>6} {:>7} {:>9}  {}",
            shortened(name(agent), 24),
            agent.address,
            if away {
                "-".to_owned()
            } else {
                agent.entries.to_string()
            },
            span(agent.expires_at - now_ms.div_euclid(1000)),
            agent.attestor,
        ),
    )
}

/// At most so many characters, of which the last ones tell most.
fn shortened(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    let skip = length - most.saturating_sub(1);
    std::iter::once('…')
        .chain(text.chars().skip(skip))
        .collect()
}

/// The newest records that fit, the newest at the bottom.
fn events(model: &Model, rows: usize) -> Vec<Line> {
    if rows < 2 {
        return Vec::new();
    }
    let mut lines = vec![line(Style::Bold, "EVENTS")];
    let fits = rows - 1;
    let skip = model.recent.len().saturating_sub(fits);
    lines.extend(model.recent.iter().skip(skip).map(|(class, record)| {
        let time = time_of_day(record.at_ms.div_euclid(1000));
        let style = match class {
            Class::Refusal => Style::Alarm,
            _ => Style::Plain,
        };
        let what = record_text(record);
        line(style, format!("{time}  {:<12}  {what}", class.name()))
    }));
    if model.recent.is_empty() {
        lines.push(line(Style::Dim, "nothing yet"));
    }
    lines
}
