//! A view or its change, cut into messages of bounded size. Entries are put into
//! wire form message by message, as the agent takes them.

use std::collections::VecDeque;
use std::sync::Arc;

use api::convert::entry_to_wire;
use api::sync::follow_response::Message;
use api::sync::{Delta, Snapshot};
use api::types;
use bytes::Bytes;
use identity::{Entry, EntryId};
use prost::Message as _;

/// The most bytes of entries in one message.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// The most removed ids in one message.
const MAX_PAGE_IDS: usize = 5_000;

/// Whether the agent starts anew or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Snapshot,
    Delta,
}

/// The messages of one view or one change of it, in order.
pub(super) struct Pages {
    what: What,
    put: VecDeque<Arc<Entry>>,
    removed: VecDeque<EntryId>,
    position: Bytes,
    digest: Bytes,
    done: bool,
}

impl Pages {
    pub(super) fn new(
        what: What,
        put: Vec<Arc<Entry>>,
        removed: Vec<EntryId>,
        (position, digest): (Bytes, Bytes),
    ) -> Self {
        Self {
            what,
            put: put.into(),
            removed: removed.into(),
            position,
            digest,
            done: false,
        }
    }

    /// The next message; `None` after the last. There is always a last one, even
    /// when nothing is in it: it carries the position.
    pub(super) fn next(&mut self) -> Option<Message> {
        if self.done {
            return None;
        }
        let ids = self.removed.len().min(MAX_PAGE_IDS);
        let removed = self
            .removed
            .drain(..ids)
            .map(|id| id.as_str().to_owned())
            .collect();
        let put = self.entries();
        let more = !self.put.is_empty() || !self.removed.is_empty();
        self.done = !more;
        let (position, view_digest) = if more {
            (Bytes::new(), Bytes::new())
        } else {
            (self.position.clone(), self.digest.clone())
        };
        Some(match self.what {
            What::Snapshot => Message::Snapshot(Snapshot {
                position,
                view_digest,
                entries: put,
                more,
            }),
            What::Delta => Message::Delta(Delta {
                position,
                view_digest,
                put,
                removed,
                more,
            }),
        })
    }

    fn entries(&mut self) -> Vec<types::Entry> {
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.put.front() {
            let wire = entry_to_wire(entry, None);
            bytes += wire.encoded_len();
            if bytes > MAX_PAGE_BYTES && !page.is_empty() {
                break;
            }
            page.push(wire);
            self.put.pop_front();
        }
        page
    }
}
