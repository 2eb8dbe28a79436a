//! `bulla entry apply`: the server's entries become what the files say, after a
//! look at the difference, in one commit or not at all.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::json;
use tonic::transport::Channel;

use super::all;
use super::document::{self, Files};
use super::plan::Plan;
use super::{limit, lint};
use crate::admin::connect;
use crate::command::{AdminSocket, EntryApply};
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::entries_v1::entries_client::EntriesClient;
use crate::wire::entries_v1::{ApplyRequest, Delete, Operation, Update, operation};
use crate::wire::info_v1::GetRequest;
use crate::wire::info_v1::info_client::InfoClient;

/// Operations in one message: far below the largest message.
const BATCH: usize = 500;
/// Operations between two lines of progress.
const PROGRESS: usize = 2_500;

/// Reads, compares, shows, asks, and applies.
///
/// # Errors
/// The files are wrong, deletes are not agreed to, or the server is away or refuses;
/// in each case nothing was changed.
pub(super) async fn run(
    args: EntryApply,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let files = document::read(&args.files)?;
    tracing::info!("{} entries in {} files", files.wanted.len(), files.files);
    if args.prune && files.wanted.is_empty() {
        return Err(
            Failure::usage("the files hold no entry, and --prune would delete all")
                .next("check the path given with -f"),
        );
    }
    let channel = connect(admin).await?;
    check_trust_domain(&files, channel.clone()).await?;
    let present = all(channel.clone()).await?;
    let limits = limit::by_entry(channel.clone()).await?;
    tracing::info!("{} entries on the server", present.len());
    let plan = Plan::of(&files.wanted, &present, &limits, args.prune)?;
    let findings = lint::findings(&plan.outcome(&present));
    for finding in &findings {
        tracing::warn!("{finding}");
    }
    if !out.is_json() {
        for line in plan.lines() {
            out.line(line)?;
        }
        out.line(plan.sum())?;
    }
    let apply = !args.plan && plan.changes() > 0;
    if apply {
        agree(&plan, args.yes)?;
        send(&plan, channel).await?;
    }
    if out.is_json() {
        let mut answer = plan.to_json();
        if let Some(members) = answer.as_object_mut() {
            members.insert("applied".into(), apply.into());
            members.insert("findings".into(), json!(findings));
        }
        out.document(&answer)?;
        return drift(&args, &plan);
    }
    out.line(match (args.plan, apply) {
        (true, _) => "this is only the plan; nothing was changed",
        (false, true) => "applied, all in one commit",
        (false, false) => "nothing to change",
    })?;
    drift(&args, &plan)
}

/// The exit code of a plan that is asked whether the server is as the files say.
fn drift(args: &EntryApply, plan: &Plan) -> Result<(), Failure> {
    match plan.changes() {
        changes if args.exit_code && changes > 0 => Err(Failure::refused(format!(
            "the entries are not as the files say: {changes} would change"
        ))),
        _ => Ok(()),
    }
}

async fn check_trust_domain(files: &Files, channel: Channel) -> Result<(), Failure> {
    if files.trust_domains.is_empty() {
        return Ok(());
    }
    let info = InfoClient::new(channel).get(GetRequest {}).await?;
    let here = info.into_inner().trust_domain;
    let other = |(named, file): (&String, &String)| {
        (*named != here).then(|| format!("{file} is meant for {named}, the server's is {here}"))
    };
    match files.trust_domains.iter().find_map(other) {
        Some(what) => Err(Failure::usage(what).next("name the right --admin-socket")),
        None => Ok(()),
    }
}

/// Deletes are agreed to beforehand, or by a person at the terminal.
fn agree(plan: &Plan, yes: bool) -> Result<(), Failure> {
    if plan.delete.is_empty() || yes {
        return Ok(());
    }
    let count = plan.delete.len();
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage(format!(
            "{count} entries would be deleted, and nobody is there to agree"
        ))
        .next("look at the plan with --plan, then agree with --yes"));
    }
    let question = format!("Delete {count} entries? Type {count} to go on: ");
    std::io::stderr().write_all(question.as_bytes())?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if answer.trim() == count.to_string() {
        return Ok(());
    }
    Err(Failure::refused("not agreed to; nothing was changed"))
}

async fn send(plan: &Plan, channel: Channel) -> Result<(), Failure> {
    let operations = operations(plan);
    let total = operations.len();
    let mut sent = 0;
    let messages: Vec<ApplyRequest> = operations
        .chunks(BATCH)
        .map(|operations| ApplyRequest {
            operations: operations.to_vec(),
        })
        .collect();
    let stream = messages.into_iter().inspect(move |message| {
        let before = sent / PROGRESS;
        sent += message.operations.len();
        if sent / PROGRESS > before || sent == total && total > PROGRESS {
            tracing::info!("{sent} of {total} changes sent");
        }
    });
    let applied = EntriesClient::new(channel)
        .apply(tokio_stream::iter(stream))
        .await
        .map_err(|status| {
            let failure = Failure::from(status);
            match failure.next {
                Some(_) => failure,
                None => failure.next("nothing was changed; look at the plan again with --plan"),
            }
        })?
        .into_inner();
    tracing::info!(
        "{} created, {} updated, {} deleted",
        applied.created,
        applied.updated,
        applied.deleted
    );
    Ok(())
}

fn operations(plan: &Plan) -> Vec<Operation> {
    let create = plan.create.iter().map(|one| Operation {
        operation: Some(operation::Operation::Create(one.entry.clone())),
        limits: one.limits.clone(),
    });
    let update = plan.update.iter().map(|update| Operation {
        operation: Some(operation::Operation::Update(Update {
            revision: update.old.revision_number,
            entry: Some(update.new.clone()),
        })),
        limits: update.limits.clone(),
    });
    let delete = plan.delete.iter().map(|entry| Operation {
        operation: Some(operation::Operation::Delete(Delete {
            id: entry.id.clone(),
            revision: entry.revision_number,
        })),
        limits: None,
    });
    create.chain(update).chain(delete).collect()
}
