//! Carries a plan out: bundles one call, entries in batches. What the server refuses
//! after all becomes a refusal in the plan, and the rest goes on.

use tonic::transport::Channel;

use super::plan::{Action, Item, Plan, Subject};
use crate::failure::Failure;
use crate::wire::bundle_v1::BatchCreateFederatedBundleRequest;
use crate::wire::bundle_v1::bundle_client::BundleClient;
use crate::wire::entry_v1::BatchCreateEntryRequest;
use crate::wire::entry_v1::entry_client::EntryClient;
use crate::wire::types::{self, Status};

/// Items in one call: far below the server's limit, so that any answer is small.
const BATCH: usize = 200;

/// Creates what the plan says is to be created.
///
/// # Errors
/// The server went away; what was created stays, and a repeated import goes on there.
pub(super) async fn apply(plan: &mut Plan, channel: Channel) -> Result<(), Failure> {
    let (mut bundles, mut entries) = (Vec::new(), Vec::new());
    let due = plan.items.iter_mut();
    for item in due.filter(|item| item.action == Action::Create) {
        match &item.subject {
            Subject::Bundle(_) => bundles.push(item),
            Subject::Entry(_) => entries.push(item),
        }
    }
    let mut client = BundleClient::new(channel.clone());
    for batch in bundles.chunks_mut(BATCH) {
        let request = BatchCreateFederatedBundleRequest {
            bundle: batch.iter().filter_map(|item| bundle(item)).collect(),
            output_mask: None,
        };
        let answer = client.batch_create_federated_bundle(request).await?;
        let results = answer.into_inner().results.into_iter();
        note(batch, results.map(|result| result.status));
    }
    let mut client = EntryClient::new(channel);
    for batch in entries.chunks_mut(BATCH) {
        let request = BatchCreateEntryRequest {
            entries: batch.iter().filter_map(|item| entry(item)).collect(),
            output_mask: None,
        };
        let answer = client.batch_create_entry(request).await?;
        let results = answer.into_inner().results.into_iter();
        note(batch, results.map(|result| result.status));
    }
    Ok(())
}

fn bundle(item: &Item) -> Option<types::Bundle> {
    match &item.subject {
        Subject::Bundle(bundle) => Some(bundle.clone()),
        Subject::Entry(_) => None,
    }
}

fn entry(item: &Item) -> Option<types::Entry> {
    match &item.subject {
        Subject::Entry(entry) => Some(entry.clone()),
        Subject::Bundle(_) => None,
    }
}

/// Notes what became of each item; one without a result was not created.
fn note(batch: &mut [&mut Item], results: impl Iterator<Item = Option<Status>>) {
    let mut results = results.map(Option::unwrap_or_default);
    for item in batch {
        let status = results.next().unwrap_or_else(|| Status {
            code: tonic::Code::Unknown as i32,
            message: "the server gave no result".to_owned(),
        });
        match tonic::Code::from_i32(status.code) {
            tonic::Code::Ok => {}
            tonic::Code::AlreadyExists => item.action = Action::Present,
            _ => {
                item.action = Action::Refuse;
                item.why = status.message;
            }
        }
    }
}
