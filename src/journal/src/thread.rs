//! The writer thread: takes what is queued, encodes, commits as one group, answers.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use crate::queue::{Outcome, Queue, Request};
use crate::writer::Writer;
use crate::{Head, JournalError, Receipt, frame};

/// A group is written once it holds this many bytes, even if more is queued.
const MAX_GROUP_BYTES: usize = 4 << 20;

pub(crate) struct WriterThread {
    pub(crate) writer: Writer,
    pub(crate) queue: Arc<Queue>,
    /// The newest durable record, for whoever asks the handle.
    pub(crate) head: Arc<Mutex<Head>>,
    /// Held until the last byte is written, so that no one else writes this journal.
    pub(crate) _lock: File,
    #[cfg(feature = "planted-faults")]
    pub(crate) ack_before_write: bool,
}

/// Whatever ends the thread, a panic included, appenders are told and not left waiting.
struct EndQueue(Arc<Queue>);

impl Drop for EndQueue {
    fn drop(&mut self) {
        self.0.fail(JournalError::Closed);
    }
}

impl WriterThread {
    pub(crate) fn run(mut self) {
        let _end = EndQueue(Arc::clone(&self.queue));
        let mut taken = Vec::new();
        let mut buffer = Vec::new();
        let mut busy = false;
        while self.queue.take(&mut taken, busy) {
            busy = taken.len() > 1;
            if let Err(error) = self.serve(&mut taken, &mut buffer) {
                tracing::error!(%error, "journal failed: no more records are accepted");
                self.queue.fail(error);
                return;
            }
        }
        if let Err(error) = self.writer.close() {
            tracing::error!(%error, "journal was not closed cleanly");
        }
    }

    /// Commits everything taken, in groups of bounded size. An error is fatal.
    fn serve(
        &mut self,
        taken: &mut Vec<Request>,
        buffer: &mut Vec<u8>,
    ) -> Result<(), JournalError> {
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
                    *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
                    answer(answers, None);
                }
                Err(JournalError::Full) => answer(answers, Some(&JournalError::Full)),
                Err(error) => {
                    let failed = JournalError::Failed(describe(&error).into());
                    answer(answers, Some(&failed));
                    for request in requests {
                        answer(vec![(request.answer, Vec::new())], Some(&failed));
                    }
                    return Err(failed);
                }
            }
        }
        Ok(())
    }
}

/// The error with its cause, for whoever has only the text.
fn describe(error: &JournalError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
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
