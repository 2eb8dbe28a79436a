//! The journal as its users hold it: open, append, ask for the head, close.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::future::Future;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use futures_channel::oneshot;

use crate::anchor::{self, Anchor};
use crate::condition::Shared;
use crate::queue::{Outcome, Queue, Request};
use crate::thread::WriterThread;
use crate::verify::{self, Tail, verify_segment};
use crate::writer::Writer;
use crate::{
    Condition, Draft, Head, JournalError, Options, Records, Sealed, frame, sealed, segment,
};

/// An open journal. Clones share it; it is closed when the last one is dropped.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    max_payload_bytes: usize,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Opens the journal in `dir`, or makes a new one there.
    ///
    /// A torn tail, records of a group that was never acknowledged, is cut and logged.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if anything acknowledged is damaged or gone (in the
    /// newest [`Options::verify_segments`] segments), [`JournalError::InUse`] if the
    /// journal is open elsewhere, [`JournalError::Io`] if the file system refuses.
    pub fn open(dir: &Path, options: Options) -> Result<Self, JournalError> {
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(JournalError::io("create", dir))?;
        let lock = lock(dir)?;
        let writer = recover(dir, &options)?;
        let shared = Arc::new(Shared::new(writer.head()));
        let queue = Arc::new(Queue::new(&options));
        let writer_thread = WriterThread {
            writer,
            queue: Arc::clone(&queue),
            shared: Arc::clone(&shared),
            _lock: lock,
            #[cfg(feature = "planted-faults")]
            ack_before_write: options.fault == crate::PlantedFault::AckBeforeWrite,
        };
        let spawned = thread::Builder::new().name("journal".into());
        let thread = spawned
            .spawn(move || writer_thread.run())
            .map_err(JournalError::io("start the writer of", dir))?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_owned(),
            max_payload_bytes: options.max_payload_bytes.min(frame::MAX_PAYLOAD_BYTES),
            queue,
            shared,
            thread: Mutex::new(Some(thread)),
        })))
    }

    /// Queues the drafts now and answers once all are durable, with a receipt for each,
    /// in order and numbered without gaps. Dropping the future does not take them back.
    ///
    /// # Errors
    /// The future gives [`JournalError::TooLarge`], [`JournalError::Busy`],
    /// [`JournalError::Full`] or [`JournalError::Unavailable`] if nothing was appended,
    /// [`JournalError::Failed`] or [`JournalError::Closed`] if nothing more ever will be.
    pub fn append(&self, drafts: Vec<Draft>) -> Appending {
        let (answer, receiver) = oneshot::channel();
        let queued = self
            .check(&drafts)
            .and_then(|()| self.0.queue.push(Request { drafts, answer }));
        Appending(match queued {
            Ok(()) => State::Waiting(receiver),
            Err(error) => State::Refused(Some(error)),
        })
    }

    /// As [`Journal::append`], for a plain thread. Not for use inside an async task.
    ///
    /// # Errors
    /// As for [`Journal::append`].
    pub fn append_blocking(&self, drafts: Vec<Draft>) -> Outcome {
        let mut appending = pin!(self.append(drafts));
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match appending.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// The newest durable record.
    #[must_use]
    pub fn head(&self) -> Head {
        self.0.shared.head()
    }

    /// Whether it can write, as far as the last try tells.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.0.shared.condition()
    }

    /// The acknowledged records from this number on; see [`crate::read`].
    ///
    /// # Errors
    /// As for [`crate::read`].
    pub fn read(&self, from_seq: u64) -> Result<Records, JournalError> {
        crate::read(&self.0.dir, from_seq)
    }

    /// The segments that are no longer written, oldest first; see [`crate::sealed()`].
    ///
    /// # Errors
    /// As for [`crate::sealed()`].
    pub fn sealed(&self) -> Result<Vec<Sealed>, JournalError> {
        sealed(&self.0.dir)
    }

    /// Where the files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Writes what is queued and ends; later appends on any clone fail with
    /// [`JournalError::Closed`]. Waits for the writer thread.
    pub fn close(&self) {
        self.0.close();
    }

    fn check(&self, drafts: &[Draft]) -> Result<(), JournalError> {
        let limit = self.0.max_payload_bytes;
        match drafts
            .iter()
            .map(|draft| draft.payload.len())
            .find(|found| *found > limit)
        {
            Some(found) => Err(JournalError::TooLarge { found, limit }),
            None => Ok(()),
        }
    }
}

impl Inner {
    fn close(&self) {
        self.queue.end(JournalError::Closed);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // A waker run by the writer may drop the last handle: the writer cannot join itself.
        if let Some(thread) = thread.filter(|it| it.thread().id() != thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the journal's writer thread panicked");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// An append under way; see [`Journal::append`].
#[must_use = "the record's durability is known only once this is awaited"]
pub struct Appending(State);

enum State {
    Waiting(oneshot::Receiver<Outcome>),
    Refused(Option<JournalError>),
}

impl Future for Appending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        match &mut self.0 {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or(JournalError::Closed))),
            State::Waiting(receiver) => {
                // A writer that went away without an answer has failed, whatever was written.
                let gone = |_| Err(JournalError::Failed("the writer thread ended".into()));
                Pin::new(receiver)
                    .poll(context)
                    .map(|outcome| outcome.unwrap_or_else(gone))
            }
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn lock(dir: &Path) -> Result<File, JournalError> {
    let path = dir.join("lock");
    let file = segment::open_file(&path, true)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse),
        Err(TryLockError::Error(error)) => Err(JournalError::io("lock", &path)(error)),
    }
}

/// Finds the end of the chain, cuts a torn tail and positions the writer behind it.
fn recover(dir: &Path, options: &Options) -> Result<Writer, JournalError> {
    segment::remove_temporary(dir)?;
    let segments = segment::list(dir)?;
    let Some((newest, closed)) = segments.split_last() else {
        return match anchor::read(dir, Anchor::Removed)? {
            None => Writer::create(dir, options),
            Some(removed) => {
                let seq = removed.seq.saturating_add(1);
                Err(verify::fault(dir, seq, "no segment here").into())
            }
        };
    };
    let unverified = closed
        .len()
        .saturating_sub(options.verify_segments.saturating_sub(1));
    let mut at = None;
    for path in closed.get(unverified..).unwrap_or_default() {
        at = Some(verify_segment(path, at, &[], Tail::Exact)?.at());
    }
    let scan = verify_segment(newest, at, &[], Tail::Open)?;
    if scan.header().origin != options.origin {
        return Err(JournalError::OtherOrigin);
    }
    let end = scan.offset();
    let length = fs::metadata(newest)
        .map_err(JournalError::io("inspect", newest))?
        .len();
    if segment::has_data(newest, end, length)? {
        tracing::warn!(
            after = scan.at().seq,
            offset = end,
            "cutting a torn journal tail"
        );
    }
    Writer::resume(dir, newest.clone(), scan.at(), end, options)
}
