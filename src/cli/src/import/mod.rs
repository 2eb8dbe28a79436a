//! `bulla import spire`: takes over what a SPIRE server has registered. A plan is
//! made of both servers' states and shown; only `--yes` carries it out.

mod apply;
mod fetch;
mod plan;

use serde_json::json;

use crate::admin::connect;
use crate::command::{AdminSocket, ImportCommand, SpireImport};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use plan::{Action, Plan};

const COLUMNS: &[(&str, &str)] = &[
    ("ACTION", "action"),
    ("KIND", "kind"),
    ("ID", "id"),
    ("SPIFFE ID", "spiffe_id"),
    ("PARENT ID", "parent_id"),
    ("WHY", "why"),
];

/// Runs one `bulla import` command.
///
/// # Errors
/// A server is away, the two are of different trust domains, or something was
/// refused while the plan was carried out.
pub(crate) async fn run(command: ImportCommand, out: &mut Output) -> Result<(), Failure> {
    let ImportCommand::Spire(SpireImport {
        socket,
        plan: _,
        yes,
        admin,
    }) = command;
    let there = AdminSocket {
        path: socket,
        server: None,
        identity: None,
    };
    let there = connect(&there).await.map_err(|failure| {
        Failure::new(failure.exit, failure.what)
            .next("name the SPIRE server's admin socket with --socket (its socket_path)")
    })?;
    let there = fetch::state(there).await?;
    let channel = connect(&admin).await?;
    let mut here = fetch::state(channel.clone()).await?;
    here.longest = fetch::longest(channel.clone()).await?;
    if there.trust_domain != here.trust_domain {
        return Err(Failure::refused(format!(
            "the SPIRE server is of trust domain {}, this one of {}",
            there.trust_domain, here.trust_domain
        ))
        .next("import into a server whose configuration says the same trust_domain"));
    }
    let mut plan = Plan::of(&there, &here)?;
    if yes {
        apply::apply(&mut plan, channel).await?;
    }
    show(&plan, yes, out)?;
    let refused = plan.count(Action::Refuse);
    if yes && refused > 0 {
        return Err(Failure::new(
            Exit::Refused,
            format!("{refused} of {} were refused", plan.items.len()),
        )
        .next("see WHY above; an import that is repeated creates only what is missing"));
    }
    Ok(())
}

fn show(plan: &Plan, done: bool, out: &mut Output) -> Result<(), Failure> {
    let rows: Vec<_> = plan.items.iter().map(|item| item.to_json(done)).collect();
    let [create, present, refuse] =
        [Action::Create, Action::Present, Action::Refuse].map(|action| plan.count(action));
    if out.is_json() {
        return Ok(out.document(&json!({
            "applied": done,
            "create": create,
            "present": present,
            "refuse": refuse,
            "items": rows,
        }))?);
    }
    out.rows(&rows, COLUMNS, "the SPIRE server has nothing to import")?;
    let created = if done { "created" } else { "to create" };
    let refused = if done { "refused" } else { "to refuse" };
    out.line(format!(
        "{create} {created}, {present} there already, {refuse} {refused}"
    ))?;
    if !done && create > 0 {
        out.line("nothing was changed; the same command with --yes does it")?;
    }
    Ok(())
}
