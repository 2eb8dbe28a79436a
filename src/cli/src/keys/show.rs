//! `bulla keys status`.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::wire::keys_v1::{Behind, Key, StatusResponse, Upstream};

/// One key for scripts.
pub(super) fn value(key: &Key, now: i64) -> Value {
    let depends = key.dependents.unwrap_or_default();
    json!({
        "profile": key.profile,
        "id": key.id,
        "state": key.state,
        "tainted": key.tainted,
        "key_type": key.key_type,
        "protection": key.protection,
        "age_seconds": now.saturating_sub(key.created_at).max(0),
        "since": utc(key.since),
        "expires_at": utc(key.not_after),
        "signed_unexpired": depends.unexpired,
        "signed_minted": depends.minted,
        "signed_all_counted": depends.counted,
        "last_expiry": utc(depends.last_expiry),
        "agents_behind": depends.agents_behind,
        "agents_holding": depends.agents_holding,
        "next_step": key.next_step,
        "next_at": utc(key.next_at),
        "waits_for": key.waits_for,
        "safe_to_activate": key.against_activating.is_empty() && key.state == "published",
        "against_activating": key.against_activating,
        "safe_to_taint": key.against_tainting.is_empty(),
        "against_tainting": key.against_tainting,
        "safe_to_revoke": key.against_revoking.is_empty(),
        "against_revoking": key.against_revoking,
        "upstream_root": key.upstream_root,
    })
}

/// Shows every key.
pub(super) fn status(status: &StatusResponse, out: &mut Output) -> Result<(), Failure> {
    let keys = status.keys.iter().map(|key| value(key, status.now));
    if out.is_json() {
        return Ok(out.document(&json!({
            "bundle_sequence": status.bundle_sequence,
            "keys": keys.collect::<Vec<_>>(),
            "upstream": status.upstream.as_ref().map(upstream_value),
            "behind": status.behind.iter().map(behind_value).collect::<Vec<_>>(),
        }))?);
    }
    for (n, key) in status.keys.iter().enumerate() {
        if n > 0 {
            out.line("")?;
        }
        for line in lines(key, status.now) {
            out.line(line)?;
        }
    }
    for line in status.upstream.iter().flat_map(upstream_lines) {
        out.line(line)?;
    }
    for line in behind_lines(&status.behind, status.now) {
        out.line(line)?;
    }
    Ok(())
}

/// An agent that lacks the newest bundle, for scripts.
fn behind_value(behind: &Behind) -> Value {
    let streams = behind.named_streams.iter().map(|stream| {
        json!({
            "uid": stream.uid,
            "pid": stream.pid,
            "since": utc(stream.since),
        })
    });
    json!({
        "agent": behind.agent,
        "contact": behind.contact,
        "bundle_sequence": behind.bundle_sequence,
        "since": utc(behind.since),
        "streams_not_waited_for": behind.streams,
        "streams": streams.collect::<Vec<_>>(),
    })
}

/// Who lacks the newest bundle.
fn behind_lines(behind: &[Behind], now: i64) -> Vec<String> {
    let mut lines = Vec::new();
    if !behind.is_empty() {
        lines.extend([String::new(), "behind the newest bundle".to_owned()]);
    }
    for agent in behind {
        lines.push(match agent.since {
            0 => format!(
                "  {}: it has it, but some of its workloads do not",
                agent.agent
            ),
            since => format!(
                "  {} ({}): for {}, it has bundle {}",
                agent.agent,
                agent.contact,
                span(now.saturating_sub(since)),
                agent.bundle_sequence
            ),
        });
        let streams = agent.named_streams.iter();
        lines.extend(streams.map(|stream| {
            format!(
                "    a stream of pid {}, uid {} takes nothing since {}; nobody waits for it",
                stream.pid,
                stream.uid,
                utc(stream.since)
            )
        }));
        let named = u64::try_from(agent.named_streams.len()).unwrap_or(u64::MAX);
        if agent.streams > named {
            lines.push(format!("    and {} more streams", agent.streams - named));
        }
    }
    lines
}

/// The authority above, for scripts.
fn upstream_value(upstream: &Upstream) -> Value {
    let roots = upstream.roots.iter().map(|root| {
        json!({
            "id": root.id,
            "expires_at": utc(root.not_after),
            "tainted": root.tainted,
            "published": root.published,
            "keys": root.keys,
            "signs": root.signs,
        })
    });
    let lost = !upstream.problem.is_empty();
    json!({
        "kind": upstream.kind,
        "problem": upstream.problem,
        "problem_since": if lost { utc(upstream.problem_since) } else { utc(0) },
        "seen_at": utc(upstream.seen_at),
        "ca_expires_at": utc(upstream.ca_not_after),
        "roots": roots.collect::<Vec<_>>(),
    })
}

fn upstream_lines(upstream: &Upstream) -> Vec<String> {
    let mut lines = vec![String::new(), format!("upstream {}", upstream.kind)];
    if upstream.problem.is_empty() {
        lines.push(format!("  in order    seen {}", utc(upstream.seen_at)));
    } else {
        let since = utc(upstream.problem_since);
        lines.push(format!("  LOST        since {since}: {}", upstream.problem));
        lines.push("              issuing goes on until the key that signs ends".to_owned());
    }
    if upstream.ca_not_after != 0 {
        lines.push(format!("  CA          ends {}", utc(upstream.ca_not_after)));
    }
    for root in &upstream.roots {
        let tainted = if root.tainted { ", tainted" } else { "" };
        let published = if root.published {
            ""
        } else {
            ", no longer published above"
        };
        lines.push(format!(
            "  root        {}, ends {}, {} keys lead to it{tainted}{published}",
            root.id,
            utc(root.not_after),
            root.keys
        ));
    }
    lines
}

fn lines(key: &Key, now: i64) -> Vec<String> {
    let depends = key.dependents.unwrap_or_default();
    let tainted = if key.tainted { ", tainted" } else { "" };
    let counting = if depends.counted {
        ""
    } else {
        " (still counting)"
    };
    let mut lines = vec![
        format!("{} key {}", key.profile, key.id),
        format!(
            "  state       {}{tainted}, since {}",
            key.state,
            utc(key.since)
        ),
        format!(
            "  key         {}, {}, {} old, ends {}",
            key.key_type,
            key.protection,
            span(now.saturating_sub(key.created_at)),
            utc(key.not_after)
        ),
        format!(
            "  signed      {} still valid, the last until {}{counting}",
            depends.unexpired,
            utc(depends.last_expiry)
        ),
        format!(
            "  agents      {} without the newest bundle",
            depends.agents_behind
        ),
        format!("  next        {} at {}", key.next_step, utc(key.next_at)),
    ];
    if !key.upstream_root.is_empty() {
        lines.push(format!("  below       upstream root {}", key.upstream_root));
    }
    if !key.waits_for.is_empty() {
        lines.push(format!("  waits for   {}", key.waits_for.join("; ")));
    }
    lines.push(
        match (key.state.as_str(), key.against_tainting.as_slice()) {
            ("active", []) => {
                "  taint       safe: a successor is made at once, and the taint takes effect \
             when that signs"
                    .to_owned()
            }
            (_, against) => safe("  taint       ", against),
        },
    );
    lines.push(safe("  revoke      ", &key.against_revoking));
    lines
}

fn safe(name: &str, against: &[String]) -> String {
    if against.is_empty() {
        return format!("{name}safe");
    }
    format!("{name}not safe: {}", against.join("; "))
}

/// A span in its largest fitting unit.
fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}
