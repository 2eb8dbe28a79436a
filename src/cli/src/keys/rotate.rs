//! `bulla keys rotate`: prepare, wait until agents know the new keys, activate.
//! Each step is one act of the server, so a rotation that stops half way goes on
//! when it is asked for again.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Act, Client, act, lines, request, value};
use crate::command::Profile;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::keys_v1::{ActResponse, Key, StatusRequest};

/// Between two looks at what agents know.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Rotates the keys of these profiles.
///
/// # Errors
/// The server refuses, or agents did not come to know the new keys in time.
pub(super) async fn run(
    client: &mut Client,
    profiles: &[Profile],
    plan: bool,
    seconds: u64,
    out: &mut Output,
) -> Result<(), Failure> {
    if plan {
        return show_plan(client, profiles, out).await;
    }
    let mut prepared = Vec::with_capacity(profiles.len());
    for profile in profiles {
        let asked = request(*profile, None, false, false);
        let answer = act(client, Act::Prepare, asked).await?;
        say(*profile, &answer, out)?;
        prepared.push((*profile, answer.id));
    }
    let mut done: Vec<Value> = Vec::with_capacity(profiles.len());
    for (profile, id) in prepared {
        let patience = Duration::from_secs(seconds);
        let ready = timeout(patience, until_ready(client, profile, &id, out)).await;
        ready.map_err(|_elapsed| late(profile, &id))??;
        let asked = request(profile, Some(id), false, false);
        let answer = act(client, Act::Activate, asked).await?;
        say(profile, &answer, out)?;
        done.push(value(profile, &answer));
    }
    if out.is_json() {
        out.document(&json!({ "rotated": done }))?;
    }
    Ok(())
}

fn say(profile: Profile, answer: &ActResponse, out: &mut Output) -> Result<(), Failure> {
    if !out.is_json() {
        for line in lines(profile, answer) {
            out.line(line)?;
        }
    }
    Ok(())
}

/// Waits until nothing speaks against a key's signing, or it signs already. Says what is
/// waited for whenever that changes.
async fn until_ready(
    client: &mut Client,
    profile: Profile,
    id: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut said = String::new();
    loop {
        look.tick().await;
        let status = client.status(StatusRequest {}).await?.into_inner();
        let ready = |key: &Key| {
            key.state == "active" || key.state == "published" && key.against_activating.is_empty()
        };
        match status.keys.iter().find(|key| key.id == id) {
            Some(key) if ready(key) => return Ok(()),
            Some(key) => {
                let waits = key.against_activating.join("; ");
                if !waits.is_empty() && waits != said && !out.is_json() {
                    out.line(format!("  {} waits: {waits}", profile.name()))?;
                    said = waits;
                }
            }
            None => return Err(Failure::refused(format!("key {id} was given up"))),
        }
    }
}

fn late(profile: Profile, id: &str) -> Failure {
    Failure::unreachable(format!(
        "agents did not come to know {} key {id} in time",
        profile.name()
    ))
    .next("see `bulla keys status`, then run the same command again")
}

async fn show_plan(
    client: &mut Client,
    profiles: &[Profile],
    out: &mut Output,
) -> Result<(), Failure> {
    let mut plans = Vec::with_capacity(profiles.len());
    for profile in profiles {
        let asked = request(*profile, None, true, false);
        let mut answer = act(client, Act::Prepare, asked).await?;
        answer.steps.extend([
            "wait until every live agent has the new key and its publication interval is over"
                .to_owned(),
            "the new key becomes active and the old one retired".to_owned(),
        ]);
        say(*profile, &answer, out)?;
        plans.push(value(*profile, &answer));
    }
    if out.is_json() {
        out.document(&json!({ "plan": plans }))?;
    }
    Ok(())
}
