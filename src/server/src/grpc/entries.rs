//! `bulla.entries.v1.Entries`: many changes of entries, all of them or none.

use std::sync::Arc;
use std::time::Duration;

use api::convert::{EntryContext, entry_from_wire};
use api::entries::entries_server::Entries;
use api::entries::{ApplyRequest, ApplyResponse, Operation, operation};
use api::types;
use identity::{Entry, EntryFields, EntryId};
use records::AuditKind;
use tonic::{Request, Response, Status, Streaming};

use super::entry::{entry_id, stored_alike};
use super::malformed::caller_mistake;
use super::refused::Refused;
use super::token_limits;
use crate::authz;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::limits;
use crate::server::Server;
use crate::state::{EntryChange, EntryOperation};

/// How long the caller may be silent between two messages.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service.
#[derive(Clone)]
pub(super) struct EntriesService {
    server: Arc<Server>,
}

impl EntriesService {
    pub(super) const fn new(server: Arc<Server>) -> Self {
        Self { server }
    }

    /// Reads all operations; too many are refused before they are all in memory.
    async fn gather(
        &self,
        caller: &Caller,
        mut requests: Streaming<ApplyRequest>,
    ) -> Result<Vec<EntryChange>, Status> {
        let mut operations = Vec::new();
        loop {
            let message = tokio::time::timeout(PATIENCE, requests.message()).await;
            let message = message.map_err(|_elapsed| {
                Status::deadline_exceeded("the caller sent nothing for too long")
            })?;
            let Some(request) = message.map_err(caller_mistake)? else {
                return Ok(operations);
            };
            for operation in request.operations {
                let turn = operations.len();
                if turn >= limits::MAX_APPLY {
                    let most = limits::MAX_APPLY;
                    let many = format!("more than {most} operations in one commit; split them");
                    return Err(self.refuse(caller, Failure::invalid(many)).await);
                }
                match self.parse(turn, operation) {
                    Ok(operation) => operations.push(operation),
                    Err(failure) => return Err(self.refuse(caller, failure).await),
                }
            }
        }
    }

    /// What the caller is answered; a refusal leaves a record.
    async fn refuse(&self, caller: &Caller, failure: Failure) -> Status {
        let mut refused = Refused::new(AuditKind::EntryUpdate, caller);
        refused.add("", &failure);
        refused.record(&self.server.audit).await;
        failure.into()
    }

    fn parse(&self, turn: usize, operation: Operation) -> Result<EntryChange, Failure> {
        let named = |failure: Failure| {
            let text = format!("operation {turn}: {}", failure.message());
            Failure::new(failure.kind(), text)
        };
        self.parse_one(turn, operation).map_err(named)
    }

    fn parse_one(&self, turn: usize, wire: Operation) -> Result<EntryChange, Failure> {
        let missing = |what| Failure::invalid(format!("{what} is missing"));
        let operation = wire.operation.ok_or_else(|| missing("operation"))?;
        let operation = self.operation(turn, operation)?;
        let limits = match wire.limits {
            None => None,
            Some(_) if matches!(operation, EntryOperation::Delete { .. }) => {
                let why = "limits: an entry that goes needs none";
                return Err(Failure::invalid(why));
            }
            Some(limits) => Some(token_limits::of_entry(limits, operation.id())?),
        };
        Ok(EntryChange { operation, limits })
    }

    fn operation(
        &self,
        turn: usize,
        wire: operation::Operation,
    ) -> Result<EntryOperation, Failure> {
        let missing = |what| Failure::invalid(format!("{what} is missing"));
        match wire {
            operation::Operation::Create(wire) => {
                let id = if wire.id.is_empty() {
                    let random = self.server.entropy.bytes()?;
                    EntryId::in_order(self.server.clock.now_ms(), turn, random)
                } else {
                    entry_id(&wire.id)?
                };
                let trust_domain = self.server.state.trust_domain();
                let entry = Entry::new(self.fields(&wire, id)?, trust_domain);
                Ok(EntryOperation::Create(entry.map_err(Failure::invalid)?))
            }
            operation::Operation::Update(update) => {
                let wire = update.entry.ok_or_else(|| missing("update.entry"))?;
                let id = entry_id(&wire.id)?;
                Ok(EntryOperation::Update {
                    fields: self.fields(&wire, id)?,
                    seen: update.revision,
                })
            }
            operation::Operation::Delete(delete) => Ok(EntryOperation::Delete {
                id: entry_id(&delete.id)?,
                seen: delete.revision,
            }),
        }
    }

    fn fields(&self, wire: &types::Entry, id: EntryId) -> Result<EntryFields, Failure> {
        let context = EntryContext {
            id,
            created_at: self.server.clock.now(),
        };
        stored_alike(entry_from_wire(wire, context).map_err(Failure::invalid)?)
    }
}

#[tonic::async_trait]
impl Entries for EntriesService {
    async fn apply(
        &self,
        request: Request<Streaming<ApplyRequest>>,
    ) -> Result<Response<ApplyResponse>, Status> {
        let caller = authz::caller(&request)?;
        let operations = self.gather(&caller, request.into_inner()).await?;
        let applied = self.server.state.apply_entries(&caller, operations).await;
        let applied = match applied {
            Ok(applied) => applied,
            Err(failure) => return Err(self.refuse(&caller, failure).await),
        };
        Ok(Response::new(ApplyResponse {
            created: applied.created,
            updated: applied.updated,
            deleted: applied.deleted,
        }))
    }
}
