//! `bulla policy apply`: read the folder, show what would change, ask, activate.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use policy::SourceFile;

use super::{folder, report};
use crate::admin::connect;
use crate::command::PolicyApply;
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::policy_v1::policy_client::PolicyClient;
use crate::wire::policy_v1::{File, PlanResponse, PolicySetPart};

/// Bytes of files in one message.
const PART_BYTES: usize = 1 << 20;

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

/// The files of a policy folder, for the server to check as a whole.
fn read(folder: &Path) -> Result<Vec<File>, Failure> {
    let files = folder::files(folder)?.into_iter();
    let file = |file: SourceFile| File {
        name: file.name,
        text: file.text,
    };
    Ok(files.map(file).collect())
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

/// What has to be agreed to, if anything.
fn question(plan: &PlanResponse) -> Option<String> {
    let (lost, unseen) = (plan.lost_total, plan.unexamined);
    match (lost, unseen) {
        (0, 0) => None,
        // Before the first set nobody had anything to lose.
        (0, _) if plan.active.is_empty() => None,
        (0, _) => Some(format!(
            "{unseen} workloads were not looked at and may lose permissions; activate it?"
        )),
        (_, 0) => Some(format!(
            "{lost} permissions of workloads are lost; activate it?"
        )),
        _ => Some(format!(
            "{lost} permissions of workloads are lost, and {unseen} workloads were not looked at; activate it?"
        )),
    }
}

/// A loss of access is agreed to beforehand, or by a person at the terminal.
fn agree(plan: &PlanResponse, yes: bool, out: &mut Output) -> Result<(), Failure> {
    let Some(question) = question(plan).filter(|_| !yes) else {
        return Ok(());
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_is_not_known_is_agreed_to() {
        let plan = |lost_total, unexamined, active: &str| PlanResponse {
            lost_total,
            unexamined,
            active: active.into(),
            ..PlanResponse::default()
        };
        assert_eq!(question(&plan(0, 0, "sha256:a")), None);
        assert_eq!(question(&plan(0, 9, "")), None);
        for (plan, said) in [
            (
                plan(3, 0, "sha256:a"),
                "3 permissions of workloads are lost;",
            ),
            (plan(0, 9, "sha256:a"), "9 workloads were not looked at"),
            (plan(3, 9, "sha256:a"), "lost, and 9 workloads"),
        ] {
            assert!(question(&plan).unwrap().contains(said));
        }
    }
}
