//! The bounded queue between appenders and the writer thread. An append costs one lock,
//! one oneshot and, only if the writer sleeps, one wake.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures_channel::oneshot;

use crate::{Draft, JournalError, Options, Receipt};

pub(crate) type Outcome = Result<Vec<Receipt>, JournalError>;

/// One append call: its drafts share one answer.
pub(crate) struct Request {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) answer: oneshot::Sender<Outcome>,
}

pub(crate) struct Queue {
    max_records: usize,
    max_bytes: usize,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    records: usize,
    bytes: usize,
    idle: bool,
    /// Set once nothing more is accepted, with the answer that appenders get.
    ended: Option<JournalError>,
}

impl Queue {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            max_records: options.max_queue_records,
            max_bytes: options.max_queue_bytes,
            state: Mutex::default(),
            filled: Condvar::new(),
        }
    }

    /// Nothing here panics while holding the lock, and if it did the state would still hold.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, request: Request) -> Result<(), JournalError> {
        let bytes = request
            .drafts
            .iter()
            .map(|draft| draft.payload.len())
            .sum::<usize>();
        let mut state = self.state();
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        let records = state.records.saturating_add(request.drafts.len());
        let bytes = state.bytes.saturating_add(bytes);
        if records > self.max_records || bytes > self.max_bytes {
            return Err(JournalError::Busy);
        }
        (state.records, state.bytes) = (records, bytes);
        state.requests.push(request);
        let asleep = mem::take(&mut state.idle);
        drop(state);
        if asleep {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Swaps everything queued into `taken`; waits for something. False once ended and empty.
    ///
    /// After a busy round appenders that were just answered are about to come back:
    /// letting them run for as long as the queue grows makes groups larger, and costs
    /// an idle journal nothing.
    pub(crate) fn take(&self, taken: &mut Vec<Request>, busy: bool) -> bool {
        if busy {
            self.gather();
        }
        let mut state = self.state();
        while state.requests.is_empty() {
            if state.ended.is_some() {
                return false;
            }
            state.idle = true;
            state = self
                .filled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle = false;
        (state.records, state.bytes) = (0, 0);
        mem::swap(taken, &mut state.requests);
        true
    }

    fn gather(&self) {
        /// Each turn lets every runnable thread run once at most.
        const MAX_TURNS: usize = 16;
        let mut seen = 0;
        for _ in 0..MAX_TURNS {
            thread::yield_now();
            let queued = self.state().requests.len();
            if queued == seen {
                break;
            }
            seen = queued;
        }
    }

    /// Accepts nothing more; what is queued is still written. The first reason stays.
    pub(crate) fn end(&self, reason: JournalError) {
        self.state().ended.get_or_insert(reason);
        self.filled.notify_all();
    }

    /// Accepts nothing more, not even what is queued. The first reason stays.
    pub(crate) fn fail(&self, reason: JournalError) {
        let mut state = self.state();
        state.ended.get_or_insert_with(|| reason.clone());
        let refused = mem::take(&mut state.requests);
        drop(state);
        self.filled.notify_all();
        for request in refused {
            // An appender that no longer waits needs no answer.
            let _gone = request.answer.send(Err(reason.clone()));
        }
    }
}
