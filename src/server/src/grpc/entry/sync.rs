//! The paged sync of agents that poll. A small set is answered whole and the call
//! ends. A larger one is answered as revisions; the agent then asks for the
//! entries it lacks, all out of the one view that was taken at the beginning.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api::convert::entry_to_wire;
use api::entry::{EntryRevision, SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse};
use api::types::EntryMask;
use futures_util::{Stream, stream};
use identity::{Entry, EntryId, SpiffeId};
use prost::Message;
use tonic::{Status, Streaming};

use super::super::caller_mistake;
use super::super::items::MAX_ANSWER_BYTES;
use crate::failure::Kind;
use crate::limits::MAX_BATCH;
use crate::server::Server;

/// How long the agent may think between two messages.
const PATIENCE: Duration = Duration::from_secs(30);

type Answer = Result<SyncAuthorizedEntriesResponse, Status>;

/// Starts the exchange: reads the first message and takes the view.
pub(super) async fn pages(
    server: Arc<Server>,
    agent: SpiffeId,
    mut requests: Streaming<SyncAuthorizedEntriesRequest>,
) -> Result<impl Stream<Item = Answer> + Send + 'static, Status> {
    let first = next(&mut requests).await?.unwrap_or_default();
    if !first.ids.is_empty() {
        return Err(Kind::Invalid.status("ids: they are not expected in the first message"));
    }
    let view = server.state.agent_view(&agent, server.clock.now())?;
    let exchange = Exchange::new(view.entries, first.output_mask, requests);
    Ok(stream::unfold(Some(exchange), |exchange| async {
        let mut exchange = exchange?;
        match exchange.answer().await {
            Ok(Some(answer)) => Some((Ok(answer), Some(exchange))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    }))
}

async fn next(
    requests: &mut Streaming<SyncAuthorizedEntriesRequest>,
) -> Result<Option<SyncAuthorizedEntriesRequest>, Status> {
    match tokio::time::timeout(PATIENCE, requests.message()).await {
        Ok(message) => message.map_err(caller_mistake),
        Err(_elapsed) => Err(Status::deadline_exceeded(
            "the agent sent nothing for too long",
        )),
    }
}

struct Exchange {
    mask: Option<EntryMask>,
    requests: Streaming<SyncAuthorizedEntriesRequest>,
    /// By id, for the entries that are asked for; empty when all were sent.
    by_id: HashMap<EntryId, Arc<Entry>>,
    /// Answers that are ready.
    revisions: VecDeque<SyncAuthorizedEntriesResponse>,
    /// Entries asked for and not yet answered.
    wanted: VecDeque<Arc<Entry>>,
    /// Whether an answer to the agent's last ids is still due.
    due: bool,
    whole: bool,
}

impl Exchange {
    fn new(
        entries: Vec<Arc<Entry>>,
        mask: Option<EntryMask>,
        requests: Streaming<SyncAuthorizedEntriesRequest>,
    ) -> Self {
        let mut exchange = Self {
            mask,
            requests,
            by_id: HashMap::new(),
            revisions: VecDeque::new(),
            wanted: VecDeque::new(),
            due: false,
            whole: false,
        };
        if let Some(answer) = whole(&entries, mask.as_ref()) {
            exchange.revisions.push_back(answer);
            exchange.whole = true;
        } else {
            exchange.revisions = revisions(&entries);
            exchange.by_id = entries
                .into_iter()
                .map(|entry| (entry.id.clone(), entry))
                .collect();
        }
        exchange
    }

    async fn answer(&mut self) -> Result<Option<SyncAuthorizedEntriesResponse>, Status> {
        if let Some(ready) = self.revisions.pop_front() {
            return Ok(Some(ready));
        }
        if self.whole {
            return Ok(None);
        }
        if self.wanted.is_empty() && !self.due {
            let Some(request) = next(&mut self.requests).await? else {
                return Ok(None);
            };
            self.take(request)?;
        }
        Ok(Some(self.entry_page()))
    }

    fn take(&mut self, request: SyncAuthorizedEntriesRequest) -> Result<(), Status> {
        if request.output_mask.is_some() {
            return Err(
                Kind::Invalid.status("output_mask: it is expected in the first message alone")
            );
        }
        if request.ids.is_empty() {
            return Err(
                Kind::Invalid.status("ids: at least one is expected after the first message")
            );
        }
        if request.ids.len() > MAX_BATCH {
            let message = format!(
                "ids: {} given; at most {MAX_BATCH} are allowed",
                request.ids.len()
            );
            return Err(Kind::Invalid.status(message));
        }
        // What the agent is not authorised for is left out, like what is gone.
        let ids = request.ids.iter().filter_map(|id| EntryId::parse(id).ok());
        self.wanted = ids.filter_map(|id| self.by_id.get(&id).cloned()).collect();
        self.due = true;
        Ok(())
    }

    fn entry_page(&mut self) -> SyncAuthorizedEntriesResponse {
        let mut page = SyncAuthorizedEntriesResponse::default();
        let mut bytes = 0;
        while let Some(entry) = self.wanted.front() {
            let wire = entry_to_wire(entry, self.mask.as_ref());
            bytes += wire.encoded_len() + 6;
            if bytes > MAX_ANSWER_BYTES && !page.entries.is_empty() {
                page.more = true;
                return page;
            }
            page.entries.push(wire);
            self.wanted.pop_front();
        }
        self.due = false;
        page
    }
}

/// All entries in one answer, if they fit.
fn whole(
    entries: &[Arc<Entry>],
    mask: Option<&EntryMask>,
) -> Option<SyncAuthorizedEntriesResponse> {
    if entries.len() > MAX_BATCH {
        return None;
    }
    let answer = SyncAuthorizedEntriesResponse {
        entries: entries
            .iter()
            .map(|entry| entry_to_wire(entry, mask))
            .collect(),
        ..Default::default()
    };
    (answer.encoded_len() <= MAX_ANSWER_BYTES).then_some(answer)
}

fn revisions(entries: &[Arc<Entry>]) -> VecDeque<SyncAuthorizedEntriesResponse> {
    let pages = entries.len().div_ceil(MAX_BATCH);
    let page = |(n, entries): (usize, &[Arc<Entry>])| SyncAuthorizedEntriesResponse {
        entry_revisions: entries.iter().map(|entry| revision(entry)).collect(),
        entries: Vec::new(),
        more: n + 1 < pages,
    };
    entries.chunks(MAX_BATCH).enumerate().map(page).collect()
}

fn revision(entry: &Entry) -> EntryRevision {
    EntryRevision {
        id: entry.id.as_str().to_owned(),
        revision_number: entry.revision,
        created_at: entry.created_at.0,
    }
}
