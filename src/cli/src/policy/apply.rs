//! `bulla policy apply`: read the folder, show what would change, ask, activate.

use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use super::report;
use crate::admin::connect;
use crate::command::PolicyApply;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::policy_v1::policy_client::PolicyClient;
use crate::wire::policy_v1::{File, PlanResponse, PolicySetPart};

/// Bytes of files in one message.
const PART_BYTES: usize = 1 << 20;
/// The folders of a policy set.
const PARTS: [&str; 4] = ["catalogue", "policies", "guardrails", "tests"];
/// How deep folders may be nested.
const DEPTH: usize = 8;

/// Reads, plans, shows, asks, and activates.
///
/// # Errors
/// The folder cannot be read, the set does not validate, a test fails, losses are not
/// agreed to, or the server is away or refuses; in each case nothing was changed.
pub(super) async fn run(args: PolicyApply, out: &mut Output) -> Result<(), Failure> {
    let files = read(&args.folder)?;
    let mut client = PolicyClient::new(connect(&args.admin).await?);
    let planned = client.plan(stream(&files, "", "")).await?.into_inner();
    if args.plan || !planned.activatable || planned.digest == planned.active {
        return report::planned(&planned, args.plan, out);
    }
    agree(&planned, args.yes, out)?;
    let seen = match planned.active.as_str() {
        "" => "none",
        active => active,
    };
    let parts = stream(&files, seen, &args.comment);
    let answer = client.activate(parts).await?.into_inner();
    report::activated(&answer, false, out)
}

/// The files of a policy folder by their names in it. What begins with a dot, links
/// and other folders are left out.
fn read(folder: &Path) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for part in PARTS {
        let path = folder.join(part);
        if path.is_dir() {
            walk(&path, part, DEPTH, &mut files)?;
        }
    }
    if files.is_empty() {
        let what = format!("{} holds no policy set", folder.display());
        return Err(Failure::usage(what).next(
            "name a folder with catalogue/*.yaml, policies/*.cedar, guardrails/*.cedar and tests/*.json",
        ));
    }
    Ok(files)
}

fn walk(folder: &Path, name: &str, depth: usize, files: &mut Vec<File>) -> Result<(), Failure> {
    let told = |error: std::io::Error| {
        Failure::usage(format!("{} cannot be read: {error}", folder.display()))
    };
    if depth == 0 {
        let what = format!("{} is nested too deep", folder.display());
        return Err(Failure::usage(what));
    }
    let mut entries = fs::read_dir(folder)
        .map_err(told)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(told)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let base = entry.file_name().to_string_lossy().into_owned();
        if base.starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(told)?;
        let inner = format!("{name}/{base}");
        if kind.is_dir() {
            walk(&entry.path(), &inner, depth - 1, files)?;
        } else if kind.is_file() {
            let path = entry.path();
            let text = fs::read_to_string(&path).map_err(|error| {
                Failure::usage(format!("{} cannot be read: {error}", path.display()))
            })?;
            files.push(File { name: inner, text });
        }
    }
    Ok(())
}

fn stream(
    files: &[File],
    expected: &str,
    comment: &str,
) -> impl tokio_stream::Stream<Item = PolicySetPart> + Send + 'static {
    let mut parts = vec![PolicySetPart {
        expected: expected.to_owned(),
        comment: comment.to_owned(),
        ..Default::default()
    }];
    let mut bytes = 0;
    for file in files {
        bytes += file.name.len() + file.text.len();
        if bytes > PART_BYTES {
            bytes = file.text.len();
            parts.push(PolicySetPart::default());
        }
        if let Some(part) = parts.last_mut() {
            part.files.push(file.clone());
        }
    }
    tokio_stream::iter(parts)
}

/// A loss of access is agreed to beforehand, or by a person at the terminal.
fn agree(plan: &PlanResponse, yes: bool, out: &mut Output) -> Result<(), Failure> {
    let lost = plan.changes.iter().filter(|change| !change.gained).count();
    if lost == 0 || yes {
        return Ok(());
    }
    let question = format!("{lost} permissions of workloads are lost; activate it?");
    if out.is_json() || !std::io::stdin().is_terminal() {
        return Err(
            Failure::refused(question).next("say --yes if it is meant, or look with --plan")
        );
    }
    report::show(plan, out)?;
    let mut terminal = std::io::stderr();
    let asked = write!(terminal, "{question} [y/N] ").and_then(|()| terminal.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::refused("not agreed to; nothing was changed")),
    }
}
