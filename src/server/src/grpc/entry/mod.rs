//! `spire.api.server.entry.v1.Entry`: registration entries for admins, and an
//! agent's own entries for agents that poll.

mod filter;
mod sync;

use std::sync::Arc;

use api::convert::{EntryContext, entry_from_wire, entry_to_wire, merge_entry};
use api::entry::entry_server::Entry as EntryRpc;
use api::entry::{
    BatchCreateEntryRequest, BatchCreateEntryResponse, BatchDeleteEntryRequest,
    BatchDeleteEntryResponse, BatchUpdateEntryRequest, BatchUpdateEntryResponse,
    CountEntriesRequest, CountEntriesResponse, GetAuthorizedEntriesRequest,
    GetAuthorizedEntriesResponse, GetEntryRequest, ListEntriesRequest, ListEntriesResponse,
    SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse, batch_create_entry_response,
    batch_delete_entry_response, batch_update_entry_response,
};
use api::status::item_ok;
use api::types::{self, EntryMask};
use channel::RemoteAddress;
use futures_util::stream::BoxStream;
use identity::{Entry, EntryFields, EntryId, Seconds, Selector, SpiffeId};
use records::AuditKind;
use tonic::{Request, Response, Status, Streaming};

use super::items::{self, List, PageSize, bad_token, check_batch};
use super::refused::Refused;
use crate::authz;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::server::Server;
use crate::state::{EntryEdit, EntryFailure};

pub(super) use filter::selector_match;

/// The service.
#[derive(Clone)]
pub(super) struct EntryService {
    server: Arc<Server>,
}

impl EntryService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Notes that an agent polls, and from where.
    fn note_poll(&self, agent: &SpiffeId, extensions: &tonic::Extensions) {
        let remote = extensions.get::<RemoteAddress>();
        let state = &self.server.state;
        state.note_heard(agent, remote.map(|remote| remote.0.ip()), "");
        state.note_poll(agent);
    }

    /// Parses one new entry; an id is made when none is given.
    fn parse_new(&self, turn: usize, wire: &types::Entry) -> Result<Entry, Failure> {
        let id = if wire.id.is_empty() {
            EntryId::in_order(
                self.server.clock.now_ms(),
                turn,
                self.server.entropy.bytes()?,
            )
        } else {
            entry_id(&wire.id)?
        };
        let context = EntryContext {
            id,
            created_at: self.server.clock.now(),
        };
        let fields = stored_alike(entry_from_wire(wire, context).map_err(Failure::invalid)?)?;
        Entry::new(fields, self.server.state.trust_domain()).map_err(Failure::invalid)
    }

    async fn create(
        &self,
        caller: &Caller,
        wires: Vec<types::Entry>,
    ) -> Vec<Result<Arc<Entry>, EntryFailure>> {
        let mut refused = Refused::new(AuditKind::EntryCreate, caller);
        let mut good = Vec::with_capacity(wires.len());
        let parsed: Vec<Result<(), Failure>> = wires
            .into_iter()
            .enumerate()
            .map(|(turn, wire)| match self.parse_new(turn, &wire) {
                Ok(entry) => {
                    good.push(entry);
                    Ok(())
                }
                Err(failure) => {
                    refused.add(&wire.id, &failure);
                    Err(failure)
                }
            })
            .collect();
        refused.record(&self.server.audit).await;
        let mut created = self
            .server
            .state
            .create_entries(caller, good)
            .await
            .into_iter();
        let mut missing = || Err(Failure::internal("an entry of the batch has no outcome").into());
        parsed
            .into_iter()
            .map(|parsed| match parsed {
                Ok(()) => created.next().unwrap_or_else(&mut missing),
                Err(failure) => Err(failure.into()),
            })
            .collect()
    }
}

/// An SVID that is stored elsewhere goes to one place, which selectors of one type name.
pub(super) fn stored_alike(fields: EntryFields) -> Result<EntryFields, Failure> {
    let mut kinds = fields.selectors.iter().map(Selector::kind);
    let first = kinds.next();
    if fields.store_svid && kinds.any(|kind| Some(kind) != first) {
        return Err(Failure::invalid(
            "store_svid: all selectors of such an entry must be of one type",
        ));
    }
    Ok(fields)
}

pub(super) fn entry_id(text: &str) -> Result<EntryId, Failure> {
    EntryId::parse(text).map_err(|error| Failure::invalid(format!("entry.id: {error}")))
}

/// The longest lives of what is issued, whatever an entry says.
#[derive(Clone, Copy)]
struct Longest {
    x509: Seconds,
    jwt: Seconds,
}

impl Longest {
    fn of(server: &Server) -> Self {
        Self {
            x509: server.settings.max_x509_ttl,
            jwt: server.settings.max_jwt_ttl,
        }
    }

    /// The status of an entry that is stored: fine, though it may say more than is done.
    fn status(self, entry: &Entry) -> types::Status {
        let mut status = item_ok();
        let asked = [
            (
                "x509_svid_ttl",
                entry.x509_ttl,
                self.x509,
                "svid.max_x509_ttl",
            ),
            ("jwt_svid_ttl", entry.jwt_ttl, self.jwt, "svid.max_jwt_ttl"),
        ];
        for (name, asked, longest, setting) in asked {
            if let Some(asked) = asked.filter(|asked| *asked > longest) {
                let (asked, longest) = (asked.0, longest.0);
                status.message += &format!(
                    "; {name} is {asked} s, but SVIDs live at most {longest} s ({setting})"
                );
            }
        }
        status
    }
}

/// Status and entry of one item: an entry that exists already is answered too.
fn outcome(
    outcome: Result<Arc<Entry>, EntryFailure>,
    mask: Option<&EntryMask>,
    longest: Longest,
) -> (types::Status, Option<types::Entry>) {
    match outcome {
        Ok(entry) => (longest.status(&entry), Some(entry_to_wire(&entry, mask))),
        Err(EntryFailure::Same(entry)) => {
            let there = entry_to_wire(&entry, mask);
            let failure = Failure::from(EntryFailure::Same(entry));
            (failure.kind().item(failure.message()), Some(there))
        }
        Err(EntryFailure::Failed(failure)) => (failure.kind().item(failure.message()), None),
    }
}

#[tonic::async_trait]
impl EntryRpc for EntryService {
    type SyncAuthorizedEntriesStream =
        BoxStream<'static, Result<SyncAuthorizedEntriesResponse, Status>>;

    async fn count_entries(
        &self,
        request: Request<CountEntriesRequest>,
    ) -> Result<Response<CountEntriesResponse>, Status> {
        let filter = filter::from_count(request.into_inner().filter)?;
        let count = self.server.state.registry().count_entries(&filter);
        Ok(Response::new(CountEntriesResponse {
            count: i32::try_from(count).unwrap_or(i32::MAX),
        }))
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        let request = request.into_inner();
        let filter = filter::from_list(request.filter)?;
        let size = PageSize::from_wire(request.page_size);
        let after = items::page_start(List::Entries, &request.page_token)?;
        let after = after.map(|id| EntryId::parse(id).map_err(|_unreadable| bad_token()));
        let after = after.transpose()?;
        let page = self
            .server
            .state
            .registry()
            .list_entries(&filter, after.as_ref(), size.limit());
        let mask = request.output_mask.as_ref();
        let filled = items::fill(&page.items, size, |entry| entry_to_wire(entry, mask))?;
        let next = if filled.cut {
            filled.messages.last().map(|entry| entry.id.clone())
        } else {
            page.next.map(|id| id.as_str().to_owned())
        };
        Ok(Response::new(ListEntriesResponse {
            entries: filled.messages,
            next_page_token: next
                .map_or_else(String::new, |last| items::page_token(List::Entries, &last)),
        }))
    }

    async fn get_entry(
        &self,
        request: Request<GetEntryRequest>,
    ) -> Result<Response<types::Entry>, Status> {
        let request = request.into_inner();
        let id = entry_id(&request.id)?;
        let entry = self.server.state.registry().entry(&id).cloned();
        let entry = entry.ok_or_else(|| Failure::not_found(format!("there is no entry {id}")))?;
        Ok(Response::new(entry_to_wire(
            &entry,
            request.output_mask.as_ref(),
        )))
    }

    async fn batch_create_entry(
        &self,
        request: Request<BatchCreateEntryRequest>,
    ) -> Result<Response<BatchCreateEntryResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        check_batch(request.entries.len())?;
        let mask = request.output_mask;
        let longest = Longest::of(&self.server);
        let created = self.create(&caller, request.entries).await;
        let results = created.into_iter().map(|created| {
            let (status, mut entry) = outcome(created, mask.as_ref(), longest);
            // As SPIRE's: in this answer alone they are sorted.
            if let Some(entry) = &mut entry {
                entry.dns_names.sort();
            }
            batch_create_entry_response::Result {
                status: Some(status),
                entry,
            }
        });
        Ok(Response::new(BatchCreateEntryResponse {
            results: results.collect(),
        }))
    }

    async fn batch_update_entry(
        &self,
        request: Request<BatchUpdateEntryRequest>,
    ) -> Result<Response<BatchUpdateEntryResponse>, Status> {
        let caller = authz::caller(&request)?;
        let request = request.into_inner();
        check_batch(request.entries.len())?;
        let longest = Longest::of(&self.server);
        let (input, output) = (request.input_mask, request.output_mask);
        let mut results = Vec::with_capacity(request.entries.len());
        let mut refused = Refused::new(AuditKind::EntryUpdate, &caller);
        let mut edits: Vec<(EntryId, EntryEdit)> = Vec::new();
        for wire in request.entries {
            match entry_id(&wire.id) {
                Ok(id) => {
                    edits.push((
                        id,
                        Box::new(move |fields| {
                            let merged = merge_entry(fields, &wire, input.as_ref());
                            stored_alike(merged.map_err(Failure::invalid)?)
                        }),
                    ));
                    results.push(None);
                }
                Err(failure) => {
                    refused.add("", &failure);
                    results.push(Some(outcome(Err(failure.into()), None, longest)));
                }
            }
        }
        let ids: Vec<EntryId> = edits.iter().map(|(id, _)| id.clone()).collect();
        let updated = self.server.state.update_entries(&caller, edits).await;
        let mut updated = ids.into_iter().zip(updated);
        let results = results.into_iter().map(|result| {
            let (status, entry) = result.unwrap_or_else(|| match updated.next() {
                Some((id, updated)) => {
                    if let Err(EntryFailure::Failed(failure)) = &updated {
                        refused.add(id.as_str(), failure);
                    }
                    outcome(updated, output.as_ref(), longest)
                }
                None => outcome(
                    Err(Failure::internal("an entry of the batch has no outcome").into()),
                    None,
                    longest,
                ),
            });
            batch_update_entry_response::Result {
                status: Some(status),
                entry,
            }
        });
        let results = results.collect();
        refused.record(&self.server.audit).await;
        Ok(Response::new(BatchUpdateEntryResponse { results }))
    }

    async fn batch_delete_entry(
        &self,
        request: Request<BatchDeleteEntryRequest>,
    ) -> Result<Response<BatchDeleteEntryResponse>, Status> {
        let caller = authz::caller(&request)?;
        let asked = request.into_inner().ids;
        check_batch(asked.len())?;
        let parsed: Vec<Result<EntryId, Failure>> = asked.iter().map(|id| entry_id(id)).collect();
        let good = parsed
            .iter()
            .filter_map(|id| id.as_ref().ok().cloned())
            .collect();
        let mut deleted = self
            .server
            .state
            .delete_entries(&caller, good)
            .await
            .into_iter();
        let mut refused = Refused::new(AuditKind::EntryDelete, &caller);
        let results = asked.into_iter().zip(parsed).map(|(id, parsed)| {
            let done = parsed.and_then(|_| {
                deleted.next().unwrap_or_else(|| {
                    Err(Failure::internal("an entry of the batch has no outcome"))
                })
            });
            let status = match done {
                Ok(()) => item_ok(),
                Err(failure) => {
                    refused.add(&id, &failure);
                    failure.kind().item(failure.message())
                }
            };
            batch_delete_entry_response::Result {
                status: Some(status),
                id,
            }
        });
        let results = results.collect();
        refused.record(&self.server.audit).await;
        Ok(Response::new(BatchDeleteEntryResponse { results }))
    }

    async fn get_authorized_entries(
        &self,
        request: Request<GetAuthorizedEntriesRequest>,
    ) -> Result<Response<GetAuthorizedEntriesResponse>, Status> {
        let agent = authz::agent(&request)?;
        self.note_poll(&agent, request.extensions());
        let mask = request.into_inner().output_mask;
        let view = self
            .server
            .state
            .agent_view(&agent, self.server.clock.now())?;
        let entries = view
            .entries
            .iter()
            .map(|entry| entry_to_wire(entry, mask.as_ref()));
        Ok(Response::new(GetAuthorizedEntriesResponse {
            entries: entries.collect(),
        }))
    }

    async fn sync_authorized_entries(
        &self,
        request: Request<Streaming<SyncAuthorizedEntriesRequest>>,
    ) -> Result<Response<Self::SyncAuthorizedEntriesStream>, Status> {
        let agent = authz::agent(&request)?;
        self.note_poll(&agent, request.extensions());
        let stream = sync::pages(Arc::clone(&self.server), agent, request.into_inner()).await?;
        Ok(Response::new(Box::pin(stream)))
    }
}
