//! The writer thread: takes what is queued, encodes, commits as one group, answers.
//!
//! When the file system refuses, nobody is told that a record exists. If nothing was
//! written, the next append simply tries again. If something may have been written, the
//! queue is closed until the segment was read back and cut to its last durable record.

use std::fs::File;
use std::sync::Arc;

use crate::condition::{Condition, Shared, describe};
use crate::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::queue::{Outcome, Queue, Request, Taken};
use crate::writer::Writer;
use crate::{Head, JournalError, Receipt, frame};

/// A group is written once it holds this many bytes, even if more is queued.
const MAX_GROUP_BYTES: usize = 4 << 20;

pub(crate) struct WriterThread {
    pub(crate) writer: Writer,
    pub(crate) queue: Arc<Queue>,
    /// What handles are told: the newest durable record, and whether it can write.
    pub(crate) shared: Arc<Shared>,
    /// Held until the last byte is written, so that no one else writes this journal.
    pub(crate) _lock: File,
    #[cfg(feature = "planted-faults")]
    pub(crate) ack_before_write: bool,
}

/// Whatever ends the thread, a panic included, appenders are told and not left waiting.
struct EndQueue(Arc<Queue>, Arc<Shared>);

impl Drop for EndQueue {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the writer thread panicked";
            self.1.note(Condition::Failed(why.into()));
        }
        self.0.fail(&JournalError::Closed);
    }
}

impl WriterThread {
    pub(crate) fn run(mut self) {
        let _end = EndQueue(Arc::clone(&self.queue), Arc::clone(&self.shared));
        let mut taken = Vec::new();
        let mut buffer = Vec::new();
        let mut busy = false;
        let mut pause = FIRST_PAUSE;
        loop {
            let most = self.needs_a_look().then_some(pause);
            match self.queue.take(&mut taken, busy, most) {
                Taken::Ended => break,
                Taken::Nothing => {
                    self.look();
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                Taken::Requests => {
                    busy = taken.len() > 1;
                    self.serve(&mut taken, &mut buffer);
                    pause = FIRST_PAUSE;
                }
            }
            if self.writer.is_torn() && !self.heal() {
                return;
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!(%error, "journal was not closed cleanly");
        }
    }

    /// Whether there is something to try while nobody appends.
    fn needs_a_look(&self) -> bool {
        self.shared.condition() != Condition::Writable || self.writer.wants_next()
    }

    /// Tries what failed, so that it is known when it no longer does.
    fn look(&mut self) {
        self.writer.prepare_next();
        if self.shared.condition() != Condition::Writable {
            let tried = self.writer.probe();
            self.note(tried.err().as_ref());
        }
    }

    fn note(&self, error: Option<&JournalError>) {
        self.shared
            .note(error.map_or(Condition::Writable, Condition::from));
    }

    /// Takes back what may have been written, however long that takes. False when there is
    /// nothing left to write to: the journal was closed meanwhile, or is damaged.
    fn heal(&mut self) -> bool {
        let mut pause = FIRST_PAUSE;
        let mut first = true;
        loop {
            match self.writer.heal() {
                Ok(()) => {
                    self.queue.resume();
                    // A sync that just failed may fail again: the next append tells.
                    return true;
                }
                Err(JournalError::Damaged(fault)) => {
                    let why: Arc<str> = fault.to_string().into();
                    self.shared.note(Condition::Failed(Arc::clone(&why)));
                    self.queue.fail(&JournalError::Failed(why));
                    return false;
                }
                Err(error) => {
                    let why = describe(&error);
                    self.shared.note(Condition::Healing(Arc::clone(&why)));
                    if first {
                        self.queue.pause(&JournalError::Unavailable(why));
                        first = false;
                    }
                }
            }
            if self.queue.wait_paused(pause) {
                tracing::error!("journal was closed before it could write again");
                return false;
            }
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// Commits everything taken, in groups of bounded size, until one fails.
    fn serve(&mut self, taken: &mut Vec<Request>, buffer: &mut Vec<u8>) {
        let mut requests = taken.drain(..).peekable();
        while requests.peek().is_some() {
            buffer.clear();
            let mut head = self.writer.head();
            let mut answers = Vec::new();
            while buffer.len() < MAX_GROUP_BYTES
                && let Some(request) = requests.next()
            {
                let receipts = encode(buffer, &mut head, &request);
                answers.push((request.answer, receipts));
            }
            #[cfg(feature = "planted-faults")]
            if self.ack_before_write {
                answer(std::mem::take(&mut answers), None);
            }
            match self.writer.commit(buffer, head) {
                Ok(()) => {
                    self.shared.set_head(head);
                    self.shared.note(Condition::Writable);
                    answer(answers, None);
                }
                Err(error) => {
                    let refused = match error {
                        JournalError::Full => JournalError::Full,
                        error => JournalError::Unavailable(describe(&error)),
                    };
                    self.shared.note(Condition::from(&refused));
                    answer(answers, Some(&refused));
                    if self.writer.is_torn() {
                        for request in requests {
                            answer(vec![(request.answer, Vec::new())], Some(&refused));
                        }
                        return;
                    }
                }
            }
        }
    }
}

fn encode(buffer: &mut Vec<u8>, head: &mut Head, request: &Request) -> Vec<Receipt> {
    let encode_one = |draft: &crate::Draft| {
        *head = frame::encode(buffer, head, &draft.binding, &draft.payload);
        Receipt::new(head.seq, head.hash, draft.binding)
    };
    request.drafts.iter().map(encode_one).collect()
}

type Answer = (futures_channel::oneshot::Sender<Outcome>, Vec<Receipt>);

fn answer(answers: Vec<Answer>, error: Option<&JournalError>) {
    for (sender, receipts) in answers {
        let outcome = error.map_or_else(|| Ok(receipts), |error| Err(error.clone()));
        // An appender that no longer waits needs no answer; its record stays.
        let _gone = sender.send(outcome);
    }
}
