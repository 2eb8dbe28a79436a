//! `bulla revoke …`: revokes, lifts, and shows what is revoked.

use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::admin::connect;
use crate::command::{RevokeArgs, RevokeCommand};
use crate::failure::Failure;
use crate::output::{Output, utc};
use crate::wire::revocation_v1::revocations_client::RevocationsClient;
use crate::wire::revocation_v1::{
    Hit, LiftRequest, LiftResponse, ListRequest, Revocation, RevokeRequest, RevokeResponse,
};

type Client = RevocationsClient<Channel>;

/// The most hits shown to people; scripts get all.
const SHOWN: usize = 20;

/// Runs one `bulla revoke` command.
///
/// # Errors
/// The server is away or refuses; there is no record of what is to be revoked.
pub(crate) async fn run(command: RevokeCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        RevokeCommand::Serial(args) => revoke("serial", args, false, out).await,
        RevokeCommand::Jti(args) => revoke("jti", args, false, out).await,
        RevokeCommand::Id { args, until_lifted } => revoke("id", args, until_lifted, out).await,
        RevokeCommand::List { admin } => {
            let mut client = Client::new(connect(&admin).await?);
            let list = client.list(ListRequest {}).await?.into_inner();
            let rows: Vec<Value> = list.revocations.iter().map(value).collect();
            if out.is_json() {
                return Ok(out.document(&json!({
                    "sequence": list.sequence,
                    "signed_sequence": list.signed_sequence,
                    "revocations": rows,
                }))?);
            }
            let columns = [
                ("KIND", "kind"),
                ("REVOKED", "value"),
                ("SINCE", "at"),
                ("UNTIL", "until"),
                ("REASON", "reason"),
            ];
            Ok(out.rows(&rows, &columns, "nothing is revoked")?)
        }
        RevokeCommand::Lift {
            kind,
            value,
            reason,
            admin,
        } => {
            let mut client = Client::new(connect(&admin).await?);
            let request = LiftRequest {
                kind,
                value,
                reason,
            };
            let what = format!("{} {}", request.kind, request.value);
            let lifted = client.lift(request).await.map_err(|status| {
                Failure::from(status).next("see what is revoked: `bulla revoke list`")
            })?;
            show_lifted(&what, &lifted.into_inner(), out)
        }
    }
}

async fn revoke(
    kind: &str,
    args: RevokeArgs,
    until_lifted: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut client = Client::new(connect(&args.admin).await?);
    let request = RevokeRequest {
        kind: kind.to_owned(),
        value: args.value,
        reason: args.reason,
        until_lifted,
        plan: args.plan,
        force: args.force,
    };
    let answer = client.revoke(request).await.map_err(|status| {
        let code = status.code();
        let failure = Failure::from(status);
        match code {
            tonic::Code::NotFound => failure
                .next("look for it in `bulla audit list`, or revoke it all the same with --force"),
            _ => failure,
        }
    })?;
    show(&answer.into_inner(), args.plan, out)
}

fn show(answer: &RevokeResponse, plan: bool, out: &mut Output) -> Result<(), Failure> {
    let revocation = answer.revocation.clone().unwrap_or_default();
    if out.is_json() {
        return Ok(out.document(&json!({
            "revocation": value(&revocation),
            "done": answer.done,
            "already": answer.already,
            "refused_because": answer.refused_because,
            "hits": answer.hits.iter().map(hit_value).collect::<Vec<_>>(),
            "hit_count": answer.hit_count,
            "sequence": answer.sequence,
            "signed": answer.signed,
        }))?);
    }
    let said = match (answer.already, plan, answer.refused_because.is_empty()) {
        (true, ..) => "revoked already",
        (_, true, true) => "would be revoked",
        (_, true, false) => "would be refused",
        _ => "revoked",
    };
    out.line(format!("{said}: {} {}", revocation.kind, revocation.value))?;
    if !answer.refused_because.is_empty() {
        out.line(format!("  because {}", answer.refused_because))?;
    }
    out.line(format!("  {}", extent(&revocation)))?;
    out.line(format!(
        "  hits {} SVIDs that are still valid",
        answer.hit_count
    ))?;
    for hit in answer.hits.iter().take(SHOWN) {
        out.line(format!("    {}", hit_line(hit)))?;
    }
    if answer.hits.len() > SHOWN {
        out.line("    … (all of them with --json)")?;
    }
    say_signed(answer.sequence, answer.signed, plan, out)
}

fn extent(revocation: &Revocation) -> String {
    match (revocation.kind.as_str(), revocation.until_lifted) {
        ("id", true) => {
            "everything of it is void, and nothing is issued, until it is lifted".into()
        }
        ("id", false) => format!(
            "everything issued up to {} is void; what is issued later is good",
            utc(revocation.at)
        ),
        _ => format!("listed until {}", utc(revocation.until)),
    }
}

fn hit_line(hit: &Hit) -> String {
    let entry = if hit.entry_id.is_empty() {
        "no entry".to_owned()
    } else {
        format!("entry {}", hit.entry_id)
    };
    format!(
        "{} of {} ({entry}), held by {}, expires {}",
        hit.credential_id,
        hit.spiffe_id,
        hit.holder,
        utc(hit.expires_at)
    )
}

fn say_signed(sequence: u64, signed: bool, plan: bool, out: &mut Output) -> Result<(), Failure> {
    if plan {
        return Ok(());
    }
    Ok(out.line(if signed {
        format!("  list {sequence} is signed and sent to all agents")
    } else {
        format!(
            "  list {sequence} is NOT SIGNED YET: the JWT key does not answer; this server \
             decides by it already, agents will be told as soon as it is signed"
        )
    })?)
}

fn show_lifted(what: &str, lifted: &LiftResponse, out: &mut Output) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.document(&json!({
            "remaining": lifted.remaining.as_ref().map(value),
            "sequence": lifted.sequence,
            "signed": lifted.signed,
        }))?);
    }
    out.line(format!("lifted: {what}"))?;
    if let Some(remaining) = &lifted.remaining {
        out.line(format!("  {}", extent(remaining)))?;
    }
    say_signed(lifted.sequence, lifted.signed, false, out)
}

fn value(revocation: &Revocation) -> Value {
    let until = if revocation.until_lifted {
        "lifted".to_owned()
    } else {
        utc(revocation.until)
    };
    json!({
        "kind": revocation.kind,
        "value": revocation.value,
        "at": utc(revocation.at),
        "until": until,
        "until_lifted": revocation.until_lifted,
        "reason": revocation.reason,
        "authority_id": revocation.authority_id,
    })
}

fn hit_value(hit: &Hit) -> Value {
    json!({
        "credential_id": hit.credential_id,
        "spiffe_id": hit.spiffe_id,
        "entry_id": hit.entry_id,
        "holder": hit.holder,
        "issued_at": utc(hit.issued_at),
        "expires_at": utc(hit.expires_at),
        "authority_id": hit.authority_id,
    })
}
