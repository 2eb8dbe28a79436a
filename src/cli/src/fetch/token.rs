//! `bulla fetch jwt`: tokens, printed once or kept fresh in a file.

use std::time::Duration;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client;
use super::keep::same_identity;
use super::kept::Kept;
use crate::clock;
use crate::command::{FetchArgs, WriteArgs};
use crate::dev::shutdown_signal;
use crate::failure::{Exit, Failure};
use crate::files::NewFile;
use crate::output::{Output, utc};
use crate::wire::workload::{Jwtsvid, JwtsvidResponse};

/// The shortest time between two tokens.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// The agent is asked again so soon, however long the token lives: it gives the same
/// token until half of its life, and another one when the key was tainted or revoked,
/// which no stream of the Workload API tells.
const LOOK: Duration = Duration::from_secs(5);

/// What token is asked for.
pub(super) struct Asked {
    pub(super) audience: Vec<String>,
    pub(super) spiffe_id: Option<String>,
}

/// Fetches, shows, and writes if asked to.
///
/// # Errors
/// The agent is away or refuses, or the file cannot be written.
pub(super) async fn once(
    asked: &Asked,
    token_only: bool,
    write: &WriteArgs,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let answer = fetch(asked, agent).await?;
    if let Some(mut kept) = Kept::open(write, "jwt")? {
        if asked.spiffe_id.is_none() {
            let began_as = began_as(&kept);
            same_identity(began_as.as_deref(), &first(&answer)?.spiffe_id, kept.path())?;
        }
        kept.write_once(&files(first(&answer)?)).await?;
        let what = json!({
            "spiffe_id": first(&answer)?.spiffe_id, "written": kept.path().display().to_string(),
        });
        return Ok(out.object(&what)?);
    }
    if token_only {
        return Ok(out.line(&first(&answer)?.svid)?);
    }
    let values: Vec<Value> = answer
        .svids
        .iter()
        .map(|svid| json!({ "spiffe_id": svid.spiffe_id, "hint": svid.hint, "token": svid.svid }))
        .collect();
    if out.is_json() {
        return Ok(out.document(&json!({ "svids": values }))?);
    }
    for value in &values {
        out.object(value)?;
    }
    Ok(())
}

/// Keeps a token in its file until asked to stop, replaced at half its life, and
/// within seconds when its key is tainted or revoked.
///
/// # Errors
/// The folder cannot be used, the very first write fails, or the hook was failing
/// when the end was asked for.
pub(super) async fn keep(
    asked: &Asked,
    write: &WriteArgs,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let Some(mut kept) = Kept::open(write, "jwt")? else {
        return Err(Failure::usage("--write names no folder"));
    };
    tokio::select! {
        () = shutdown_signal() => {}
        failed = run(asked, &mut kept, agent, out) => return failed,
    }
    kept.finish()
}

async fn run(
    asked: &Asked,
    kept: &mut Kept,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut not_after = None;
    let mut began_as = began_as(kept);
    loop {
        let first = !kept.has_written();
        match renew(asked, kept, &mut began_as, agent, out).await {
            Ok(times) => {
                not_after = Some(times.expires_at);
                let wait = times.half_life_from(clock::now().0).min(LOOK);
                kept.meanwhile(tokio::time::sleep(wait), out).await?;
            }
            Err(Renewal::Write(failure)) if first => return Err(failure),
            Err(Renewal::Write(failure) | Renewal::Agent(failure)) => {
                kept.back_off(&failure, not_after, out).await?;
            }
        }
    }
}

enum Renewal {
    Agent(Failure),
    Write(Failure),
}

async fn renew(
    asked: &Asked,
    kept: &mut Kept,
    began_as: &mut Option<String>,
    agent: &FetchArgs,
    out: &mut Output,
) -> Result<Times, Renewal> {
    let fetched = kept.meanwhile(fetch(asked, agent), out).await;
    let answer = fetched.map_err(Renewal::Write)?.map_err(Renewal::Agent)?;
    let svid = first(&answer).map_err(Renewal::Agent)?;
    if asked.spiffe_id.is_none() {
        same_identity(began_as.as_deref(), &svid.spiffe_id, kept.path()).map_err(Renewal::Agent)?;
    }
    let times = Times::of(&svid.svid).map_err(Renewal::Agent)?;
    let about = json!({ "spiffe_id": svid.spiffe_id, "not_after": utc(times.expires_at) });
    kept.write(&files(svid), about, out)
        .await
        .map_err(Renewal::Write)?;
    *began_as = Some(svid.spiffe_id.clone());
    Ok(times)
}

async fn fetch(asked: &Asked, agent: &FetchArgs) -> Result<JwtsvidResponse, Failure> {
    let mut client = client(agent).await?;
    client
        .jwt(asked.audience.clone(), asked.spiffe_id.clone())
        .await
}

fn first(answer: &JwtsvidResponse) -> Result<&Jwtsvid, Failure> {
    let first = answer.svids.first();
    first.ok_or_else(|| Failure::refused("the agent sent no SVID"))
}

fn files(svid: &Jwtsvid) -> Vec<NewFile> {
    vec![NewFile {
        name: "jwt.token".into(),
        contents: Zeroizing::new(svid.svid.clone()),
        secret: true,
        plain: true,
    }]
}

/// Whose token an earlier run wrote.
fn began_as(kept: &Kept) -> Option<String> {
    let token = Zeroizing::new(kept.read("jwt.token")?);
    let claims = claims(std::str::from_utf8(&token).ok()?)?;
    Some(claims.get("sub")?.as_str()?.to_owned())
}

/// What a token claims, unverified.
fn claims(token: &str) -> Option<Value> {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = engine.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// From when until when a token counts, Unix seconds.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    issued_at: i64,
    expires_at: i64,
}

impl Times {
    /// Reads the times of a token that the agent has just made; they decide when
    /// to ask again, nothing else.
    fn of(token: &str) -> Result<Self, Failure> {
        let claims = claims(token);
        let time = |name: &str| {
            claims
                .as_ref()
                .and_then(|claims| claims.get(name)?.as_i64())
        };
        let expires_at = time("exp").ok_or_else(|| {
            Failure::new(Exit::Refused, "the agent sent a token without an expiry")
        })?;
        let issued_at = time("iat").unwrap_or_else(|| clock::now().0);
        Ok(Self {
            issued_at,
            expires_at,
        })
    }

    fn half_life_from(&self, now: i64) -> Duration {
        let half = self.issued_at + (self.expires_at - self.issued_at) / 2;
        let seconds = u64::try_from(half.saturating_sub(now)).unwrap_or(0);
        Duration::from_secs(seconds).max(SHORTEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_at_half_its_life() {
        use base64::Engine as _;
        let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let claims = engine.encode(r#"{"iat":1000,"exp":1300}"#);
        let times = Times::of(&format!("e30.{claims}.c2ln")).unwrap();
        assert_eq!(times.half_life_from(1000), Duration::from_secs(150));
        assert_eq!(times.half_life_from(1149), Duration::from_secs(1));
        assert_eq!(times.half_life_from(9999), SHORTEST_WAIT);
        assert!(Times::of("x").is_err());
        assert!(Times::of("e30.e30.c2ln").is_err());
    }
}
