//! The bounded queue between appenders and the writer thread. An append costs one lock,
//! one oneshot and, only if the writer sleeps, one wake.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use crate::{Draft, JournalError, Options, Priority, Receipt};

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
    /// Set while nothing can be written, with the answer that appenders get meanwhile.
    paused: Option<JournalError>,
    /// Set once nothing more is accepted, with the answer that appenders get.
    ended: Option<JournalError>,
}

/// What waiting for requests came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// There are some.
    Requests,
    /// There were none for as long as the writer wanted to wait.
    Nothing,
    /// There are none, and no more will come.
    Ended,
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

    /// Queues a request, or refuses it when those of its priority have filled their share.
    pub(crate) fn push(&self, request: Request) -> Result<(), JournalError> {
        let bytes = request
            .drafts
            .iter()
            .map(|draft| draft.payload.len())
            .sum::<usize>();
        let priority = request.drafts.iter().map(|draft| draft.priority).max();
        let priority = priority.unwrap_or(Priority::Vital);
        let mut state = self.state();
        if let Some(refused) = state.ended.as_ref().or(state.paused.as_ref()) {
            return Err(refused.clone());
        }
        let records = state.records.saturating_add(request.drafts.len());
        let bytes = state.bytes.saturating_add(bytes);
        if records > priority.share(self.max_records) || bytes > priority.share(self.max_bytes) {
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

    /// Swaps everything queued into `taken`; waits for something, but no longer than `most`.
    ///
    /// After a busy round appenders that were just answered are about to come back:
    /// letting them run for as long as the queue grows makes groups larger, and costs
    /// an idle journal nothing.
    pub(crate) fn take(
        &self,
        taken: &mut Vec<Request>,
        busy: bool,
        most: Option<Duration>,
    ) -> Taken {
        if busy {
            self.gather();
        }
        let mut state = self.state();
        while state.requests.is_empty() {
            if state.ended.is_some() {
                return Taken::Ended;
            }
            state.idle = true;
            let timed_out;
            (state, timed_out) = self.wait(state, most);
            if timed_out && state.requests.is_empty() {
                state.idle = false;
                return Taken::Nothing;
            }
        }
        state.idle = false;
        (state.records, state.bytes) = (0, 0);
        mem::swap(taken, &mut state.requests);
        Taken::Requests
    }

    fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        most: Option<Duration>,
    ) -> (MutexGuard<'a, State>, bool) {
        let Some(most) = most else {
            let waited = self.filled.wait(state);
            return (waited.unwrap_or_else(PoisonError::into_inner), false);
        };
        let waited = self.filled.wait_timeout(state, most);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
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

    /// Refuses everything, what is queued included, until [`Queue::resume`].
    pub(crate) fn pause(&self, reason: &JournalError) {
        let mut state = self.state();
        state.paused = Some(reason.clone());
        let refused = state.clear();
        drop(state);
        refuse(refused, reason);
    }

    /// Accepts requests again.
    pub(crate) fn resume(&self) {
        self.state().paused = None;
    }

    /// Waits while paused; returns whether the queue has ended.
    pub(crate) fn wait_paused(&self, pause: Duration) -> bool {
        let waited = self
            .filled
            .wait_timeout_while(self.state(), pause, |state| state.ended.is_none());
        let (state, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.ended.is_some()
    }

    /// Accepts nothing more; what is queued is still written. The first reason stays.
    pub(crate) fn end(&self, reason: JournalError) {
        self.state().ended.get_or_insert(reason);
        self.filled.notify_all();
    }

    /// Accepts nothing more, not even what is queued. The first reason stays.
    pub(crate) fn fail(&self, reason: &JournalError) {
        let mut state = self.state();
        state.ended.get_or_insert_with(|| reason.clone());
        let refused = state.clear();
        drop(state);
        self.filled.notify_all();
        refuse(refused, reason);
    }
}

impl State {
    fn clear(&mut self) -> Vec<Request> {
        (self.records, self.bytes) = (0, 0);
        mem::take(&mut self.requests)
    }
}

fn refuse(requests: Vec<Request>, reason: &JournalError) {
    for request in requests {
        // An appender that no longer waits needs no answer.
        let _gone = request.answer.send(Err(reason.clone()));
    }
}
