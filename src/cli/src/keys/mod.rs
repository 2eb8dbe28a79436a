//! `bulla keys …`: what is known of signing keys, and acts on them.

mod rotate;
mod show;

use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::admin::connect;
use crate::command::{KeyAct, KeysCommand, Profile};
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::keys_v1::keys_client::KeysClient;
use crate::wire::keys_v1::{ActRequest, ActResponse, StatusRequest};

type Client = KeysClient<Channel>;

#[derive(Clone, Copy)]
enum Act {
    Prepare,
    Activate,
    Taint,
    Revoke,
}

/// Runs one `bulla keys` command.
///
/// # Errors
/// The server is away, knows no such key, or refuses; the message says what depends.
pub(crate) async fn run(command: KeysCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        KeysCommand::Status { admin } => {
            let mut client = Client::new(connect(&admin).await?);
            let status = client.status(StatusRequest {}).await?.into_inner();
            show::status(&status, out)
        }
        KeysCommand::Prepare { profile, how } => {
            let mut client = Client::new(connect(&how.admin).await?);
            let request = request(profile, None, how.plan, false);
            let done = act(&mut client, Act::Prepare, request).await?;
            report(profile, &done, out)
        }
        KeysCommand::Activate(args) => on_key(Act::Activate, args, out).await,
        KeysCommand::Taint(args) => on_key(Act::Taint, args, out).await,
        KeysCommand::Revoke(args) => on_key(Act::Revoke, args, out).await,
        KeysCommand::Rotate {
            all: _,
            only,
            plan,
            timeout,
            admin,
        } => {
            let mut client = Client::new(connect(&admin).await?);
            let all = || vec![Profile::X509, Profile::Jwt, Profile::Access];
            let profiles = only.map_or_else(all, |one| vec![one]);
            rotate::run(&mut client, &profiles, plan, timeout, out).await
        }
    }
}

async fn on_key(what: Act, args: KeyAct, out: &mut Output) -> Result<(), Failure> {
    let mut client = Client::new(connect(&args.how.admin).await?);
    let request = request(args.profile, args.id, args.how.plan, args.force);
    let done = act(&mut client, what, request).await?;
    report(args.profile, &done, out)
}

fn request(profile: Profile, id: Option<String>, plan: bool, force: bool) -> ActRequest {
    ActRequest {
        profile: profile.name().to_owned(),
        id: id.unwrap_or_default(),
        plan,
        force,
    }
}

async fn act(client: &mut Client, what: Act, request: ActRequest) -> Result<ActResponse, Failure> {
    let answer = match what {
        Act::Prepare => client.prepare(request).await,
        Act::Activate => client.activate(request).await,
        Act::Taint => client.taint(request).await,
        Act::Revoke => client.revoke(request).await,
    };
    let advice = match what {
        Act::Revoke => {
            "wait until it is safe (`bulla keys status`), taint it, or revoke it with --force"
        }
        Act::Activate => "wait until agents know it (`bulla keys status`), or use --force",
        Act::Prepare | Act::Taint => "see `bulla keys status`",
    };
    match answer {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) if status.code() == tonic::Code::Unavailable => Err(status.into()),
        Err(status) => Err(Failure::from(status).next(advice)),
    }
}

fn value(profile: Profile, answer: &ActResponse) -> Value {
    json!({
        "profile": profile.name(),
        "id": answer.id,
        "done": answer.done,
        "steps": answer.steps,
        "refused_because": answer.refused_because,
    })
}

fn report(profile: Profile, answer: &ActResponse, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.document(&value(profile, answer))?);
    }
    for line in lines(profile, answer) {
        out.line(line)?;
    }
    Ok(())
}

/// What was done or would be, for people.
fn lines(profile: Profile, answer: &ActResponse) -> Vec<String> {
    let mut lines = Vec::new();
    let key = if answer.id.is_empty() {
        profile.name().to_owned()
    } else {
        format!("{} {}", profile.name(), answer.id)
    };
    match (answer.done, answer.refused_because.is_empty()) {
        (true, _) => lines.push(format!("done: {key}")),
        (false, true) => lines.push(format!("would be done: {key}")),
        (false, false) => lines.push(format!("would be refused: {key}")),
    }
    let because = answer.refused_because.iter();
    lines.extend(because.map(|reason| format!("  because {reason}")));
    lines.extend(answer.steps.iter().map(|step| format!("  {step}")));
    lines
}
