//! `bulla entry …`: registration entries.

mod apply;
pub(crate) mod document;
mod export;
mod known_selectors;
mod limit;
mod lint;
mod parent;
mod plan;

use serde_json::Value;
use tonic::transport::Channel;

use crate::admin::{check_item, connect, entry_value, id_text, wire_id, wire_selector};
use crate::command::{AdminSocket, EntryCommand, EntryContents, EntryFilter, EntryUpdate};
use crate::failure::Failure;
use crate::output::Output;
use crate::wire::entry_v1::entry_client::EntryClient;
use crate::wire::{entry_v1, types};

/// Entries asked for in one call; the server may send fewer.
const PAGE: i32 = 500;
/// The same where all entries are wanted.
const LARGE_PAGE: i32 = 5_000;
/// The largest answer taken, bytes.
const ANSWER_MAX: usize = 16 << 20;

const COLUMNS: &[(&str, &str)] = &[
    ("ENTRY ID", "id"),
    ("SPIFFE ID", "spiffe_id"),
    ("PARENT ID", "parent_id"),
    ("SELECTORS", "selectors"),
    ("HINT", "hint"),
];

/// Runs one `bulla entry` command.
///
/// # Errors
/// The server is away, or refuses.
pub(crate) async fn run(command: EntryCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        EntryCommand::Create {
            contents,
            id,
            admin,
        } => create(contents, id, &admin, out).await,
        EntryCommand::Show { id, admin } => show(id, &admin, out).await,
        EntryCommand::List { filter, admin } => list(filter, &admin, out).await,
        EntryCommand::Update { id, change, admin } => update(id, change, &admin, out).await,
        EntryCommand::Delete { ids, admin } => delete(ids, &admin, out).await,
        EntryCommand::Apply { apply, admin } => apply::run(apply, &admin, out).await,
        EntryCommand::Limit { limit, admin } => limit::set(limit, &admin, out).await,
        EntryCommand::Limits { admin } => limit::list(&admin, out).await,
        EntryCommand::Export { admin } => export::run(&admin, out).await,
    }
}

async fn create(
    contents: EntryContents,
    id: Option<String>,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let entry = new_entry(contents, id)?;
    warn_of_selectors(&entry.selectors);
    let channel = connect(admin).await?;
    warn_of_parent(channel.clone(), entry.parent_id.as_ref()).await;
    let mut client = EntryClient::new(channel);
    let request = entry_v1::BatchCreateEntryRequest {
        entries: vec![entry],
        output_mask: None,
    };
    let answer = client.batch_create_entry(request).await?.into_inner();
    let result = answer.results.into_iter().next();
    let result = result.ok_or_else(|| Failure::refused("the server sent no result"))?;
    check_item(result.status.as_ref()).map_err(|failure| match &result.entry {
        Some(existing) => failure.next(format!("the same registration is entry {}", existing.id)),
        None => failure,
    })?;
    out.object(&entry_value(&result.entry.unwrap_or_default()))?;
    Ok(())
}

fn new_entry(contents: EntryContents, id: Option<String>) -> Result<types::Entry, Failure> {
    Ok(types::Entry {
        id: id.unwrap_or_default(),
        spiffe_id: Some(wire_id(&contents.spiffe_id)?),
        parent_id: Some(wire_id(&contents.parent_id)?),
        selectors: contents
            .selectors
            .iter()
            .map(|s| wire_selector(s))
            .collect::<Result<_, _>>()?,
        x509_svid_ttl: contents.x509_ttl,
        jwt_svid_ttl: contents.jwt_ttl,
        federates_with: contents.federates_with,
        admin: contents.admin_workload,
        downstream: contents.downstream,
        expires_at: contents.expires_at,
        dns_names: contents.dns_names,
        hint: contents.hint,
        ..types::Entry::default()
    })
}

/// A selector that anybody on the node can satisfy is no boundary: whoever may
/// run a program may also preload code into it. One that nobody can satisfy is a slip.
/// Says so, and goes on.
fn warn_of_selectors(selectors: &[types::Selector]) {
    for doubt in known_selectors::doubts(selectors) {
        tracing::warn!("{doubt}");
    }
    if let Some(warning) = weakness(selectors) {
        tracing::warn!("{warning}");
    }
}

/// Warns of a parent that does not exist. That it cannot be looked up is no reason not to
/// go on.
async fn warn_of_parent(channel: Channel, parent: Option<&types::Spiffeid>) {
    let Some(parent) = parent else {
        return;
    };
    if let Ok(Some(doubt)) = parent::doubt(channel, parent).await {
        tracing::warn!("{doubt}");
    }
}

/// What is weak about these selectors, if anything is.
#[must_use]
pub(crate) fn weakness(selectors: &[types::Selector]) -> Option<&'static str> {
    if selectors.is_empty() {
        // None are given or changed: nothing is known of those that there are.
        return None;
    }
    let has = |prefix: &str| selectors.iter().any(|s| s.value.starts_with(prefix));
    let unix = selectors.iter().all(|s| s.r#type == "unix");
    let (uid, path) = (has("uid:") || has("user:"), has("path:") || has("sha256:"));
    if unix && path && !uid {
        return Some(
            "these selectors are no boundary: any user who may run that program can preload code \
             into it; add unix:uid:… or unix:user:…",
        );
    }
    if unix && !uid {
        return Some(
            "these selectors name no user: every user who shares the group receives this identity; \
             add unix:uid:… or unix:user:…",
        );
    }
    None
}

async fn show(id: String, admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let entry = get(&mut EntryClient::new(connect(admin).await?), id).await?;
    out.object(&entry_value(&entry))?;
    Ok(())
}

async fn get(client: &mut EntryClient<Channel>, id: String) -> Result<types::Entry, Failure> {
    let request = entry_v1::GetEntryRequest {
        id: id.clone(),
        output_mask: None,
    };
    let answer = client
        .get_entry(request)
        .await
        .map_err(|status| match status.code() {
            tonic::Code::NotFound => {
                Failure::new(crate::failure::Exit::NotFound, format!("no entry {id}"))
                    .next("list what there is with `bulla entry list`")
            }
            _ => status.into(),
        })?;
    Ok(answer.into_inner())
}

async fn list(filter: EntryFilter, admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let (prefix, limit) = (filter.prefix.clone(), filter.limit);
    let filter = wire_filter(filter)?;
    let mut entries = pages(connect(admin).await?, filter, PAGE).await?;
    if let Some(prefix) = prefix {
        entries.retain(|entry| id_text(entry.spiffe_id.as_ref()).starts_with(&prefix));
    }
    entries.truncate(limit.unwrap_or(usize::MAX));
    let rows: Vec<Value> = entries.iter().map(entry_value).collect();
    out.rows(
        &rows,
        COLUMNS,
        "no entries; create one with `bulla entry create`",
    )?;
    Ok(())
}

/// All entries, in large pages.
async fn all(channel: Channel) -> Result<Vec<types::Entry>, Failure> {
    pages(channel, None, LARGE_PAGE).await
}

async fn pages(
    channel: Channel,
    filter: Option<entry_v1::list_entries_request::Filter>,
    page_size: i32,
) -> Result<Vec<types::Entry>, Failure> {
    let mut client = EntryClient::new(channel).max_decoding_message_size(ANSWER_MAX);
    let (mut entries, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = entry_v1::ListEntriesRequest {
            filter: filter.clone(),
            output_mask: None,
            page_size,
            page_token,
        };
        let answer = client.list_entries(request).await?.into_inner();
        entries.extend(answer.entries);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(entries);
        }
        tracing::info!("{} entries so far", entries.len());
    }
}

fn wire_filter(
    filter: EntryFilter,
) -> Result<Option<entry_v1::list_entries_request::Filter>, Failure> {
    let selectors: Vec<_> = filter
        .selectors
        .iter()
        .map(|s| wire_selector(s))
        .collect::<Result<_, _>>()?;
    let by_selectors = (!selectors.is_empty()).then(|| types::SelectorMatch {
        selectors,
        r#match: types::selector_match::MatchBehavior::MatchSuperset.into(),
    });
    Ok(Some(entry_v1::list_entries_request::Filter {
        by_spiffe_id: filter.spiffe_id.as_deref().map(wire_id).transpose()?,
        by_parent_id: filter.parent_id.as_deref().map(wire_id).transpose()?,
        by_selectors,
        by_hint: filter.hint,
        ..Default::default()
    }))
}

async fn update(
    id: String,
    change: EntryUpdate,
    admin: &AdminSocket,
    out: &mut Output,
) -> Result<(), Failure> {
    let (entry, input_mask) = changed(&id, change)?;
    // Of what is not being changed nothing is said.
    warn_of_selectors(&entry.selectors);
    let channel = connect(admin).await?;
    warn_of_parent(channel.clone(), entry.parent_id.as_ref()).await;
    let mut client = EntryClient::new(channel);
    let request = entry_v1::BatchUpdateEntryRequest {
        entries: vec![entry],
        input_mask: Some(input_mask),
        output_mask: None,
    };
    let answer = client.batch_update_entry(request).await?.into_inner();
    let result = answer.results.into_iter().next();
    let result = result.ok_or_else(|| Failure::refused("the server sent no result"))?;
    check_item(result.status.as_ref())?;
    out.object(&entry_value(&result.entry.unwrap_or_default()))?;
    Ok(())
}

/// The new values, and a mask that names only those: what is not in it, the
/// server leaves alone.
fn changed(id: &str, change: EntryUpdate) -> Result<(types::Entry, types::EntryMask), Failure> {
    let mask = types::EntryMask {
        spiffe_id: change.spiffe_id.is_some(),
        parent_id: change.parent_id.is_some(),
        selectors: !change.selectors.is_empty(),
        x509_svid_ttl: change.x509_ttl.is_some(),
        jwt_svid_ttl: change.jwt_ttl.is_some(),
        dns_names: !change.dns_names.is_empty(),
        federates_with: !change.federates_with.is_empty(),
        hint: change.hint.is_some(),
        expires_at: change.expires_at.is_some(),
        ..types::EntryMask::default()
    };
    if mask == types::EntryMask::default() {
        return Err(Failure::usage("nothing to change").next("see `bulla entry update --help`"));
    }
    let selectors = change
        .selectors
        .iter()
        .map(|s| wire_selector(s))
        .collect::<Result<_, _>>()?;
    // An empty one asks for none at all.
    let federates_with = change
        .federates_with
        .into_iter()
        .filter(|td| !td.is_empty());
    let entry = types::Entry {
        id: id.into(),
        spiffe_id: change.spiffe_id.as_deref().map(wire_id).transpose()?,
        parent_id: change.parent_id.as_deref().map(wire_id).transpose()?,
        selectors,
        x509_svid_ttl: change.x509_ttl.unwrap_or_default(),
        jwt_svid_ttl: change.jwt_ttl.unwrap_or_default(),
        dns_names: change.dns_names,
        federates_with: federates_with.collect(),
        hint: change.hint.unwrap_or_default(),
        expires_at: change.expires_at.unwrap_or_default(),
        ..types::Entry::default()
    };
    Ok((entry, mask))
}

async fn delete(ids: Vec<String>, admin: &AdminSocket, out: &mut Output) -> Result<(), Failure> {
    let mut client = EntryClient::new(connect(admin).await?);
    let request = entry_v1::BatchDeleteEntryRequest { ids };
    let answer = client.batch_delete_entry(request).await?.into_inner();
    let mut failed = None;
    for result in &answer.results {
        match check_item(result.status.as_ref()) {
            Ok(()) if !out.is_json() => out.line(format!("deleted {}", result.id))?,
            Ok(()) => {}
            Err(failure) => {
                failed = Some(Failure::new(
                    failure.exit,
                    format!("{}: {}", result.id, failure.what),
                ))
            }
        }
    }
    if out.is_json() {
        let deleted = answer
            .results
            .iter()
            .filter(|r| check_item(r.status.as_ref()).is_ok());
        let deleted: Vec<Value> = deleted.map(|r| Value::from(r.id.clone())).collect();
        out.document(&serde_json::json!({ "deleted": deleted }))?;
    }
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors(texts: &[&str]) -> Vec<types::Selector> {
        texts.iter().map(|t| wire_selector(t).unwrap()).collect()
    }

    #[test]
    fn a_path_without_a_user_draws_a_warning() {
        assert!(weakness(&selectors(&["unix:path:/usr/bin/api"])).is_some());
        assert!(weakness(&selectors(&["unix:gid:5"])).is_some());
        assert!(weakness(&selectors(&["unix:path:/usr/bin/api", "unix:uid:5"])).is_none());
        assert!(weakness(&selectors(&["docker:label:app:web"])).is_none());
    }

    #[test]
    fn u9_an_update_says_nothing_of_selectors_that_it_leaves_alone() {
        let change = EntryUpdate {
            x509_ttl: Some(60),
            ..EntryUpdate::default()
        };
        let (entry, _) = changed("e", change).unwrap();
        assert_eq!(weakness(&entry.selectors), None);
    }

    #[test]
    fn an_update_names_only_what_changes() {
        let change = EntryUpdate {
            x509_ttl: Some(60),
            ..EntryUpdate::default()
        };
        let (entry, mask) = changed("e", change).unwrap();
        assert_eq!(entry.x509_svid_ttl, 60);
        assert_eq!(
            mask,
            types::EntryMask {
                x509_svid_ttl: true,
                ..Default::default()
            }
        );
        assert!(changed("e", EntryUpdate::default()).is_err());
    }

    #[test]
    fn e3_an_update_sets_and_clears_federation() {
        let with = |domains: &[&str]| EntryUpdate {
            federates_with: domains.iter().map(ToString::to_string).collect(),
            ..EntryUpdate::default()
        };
        let (entry, mask) = changed("e", with(&["a.test", "b.test"])).unwrap();
        assert!(mask.federates_with);
        assert_eq!(entry.federates_with, ["a.test", "b.test"]);
        let (entry, mask) = changed("e", with(&[""])).unwrap();
        assert!(mask.federates_with && entry.federates_with.is_empty());
    }
}
