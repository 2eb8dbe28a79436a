//! The embedded engine of one machine: sled, held to our promises instead of its own.
//!
//! One writer thread, one tree, one batch, flush and sync per commit group; watchers are
//! fed after the sync. Every record is authenticated, alone and as part of the whole set,
//! when the store is opened and whenever it is read. `guards` lists what sled gets wrong.

#[cfg(feature = "planted-faults")]
mod fault;
mod group;
mod guards;
mod layout;
mod mark;
mod options;
mod reader;
mod recover;
mod seal;
mod shared;
mod writer;

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use futures_channel::oneshot;
use futures_util::FutureExt as _;
use futures_util::future::ready;

#[cfg(feature = "planted-faults")]
pub use fault::PlantedFault;
pub use options::{Damage, OpenError, SledOptions};

use self::reader::{Read, Reader};
use self::shared::Shared;
use self::writer::{Control, Request, Writer};
use crate::change_log::ChangeLog;
use crate::{
    BoxFuture, Commit, CommitError, CommitId, Limits, Loaded, Position, Resolution, Store,
    StoreError, Value, Watch, WatchError,
};

/// Commits, and other requests to the writer, waiting at once.
const MAX_QUEUED_WRITES: usize = 4096;
/// Reads waiting at once, for each reader thread.
const MAX_QUEUED_READS: usize = 4096;

/// A store on disk. Dropping it closes it and waits for its threads.
pub struct Sled {
    limits: Limits,
    shared: Arc<Shared>,
    /// `None` once dropped, which ends the threads.
    queues: Option<Queues>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Queues {
    writes: SyncSender<Request>,
    gets: SyncSender<Read>,
    /// A load may take seconds, and gets do not wait for it.
    loads: SyncSender<Read>,
}

impl Sled {
    /// Opens or creates the store in `dir`, which belongs to it alone. Blocks: every
    /// record is read and verified first.
    ///
    /// # Errors
    /// See [`OpenError`]; damage is refused unless [`SledOptions::accept_damage`] says else.
    pub fn open(dir: &Path, options: SledOptions) -> Result<Self, OpenError> {
        let opened = guards::guarded(|| Ok(recover::open(dir, &options)));
        let opened = opened.map_err(OpenError::Engine)??;
        let before = Position {
            revision: opened.head.floor,
            ..opened.head.position
        };
        let log = ChangeLog::new(before, options.limits);
        log.publish(opened.changes);
        let shared = Arc::new(Shared::new(log, opened.sealer));
        let reader = || Reader {
            db: opened.db.clone(),
            shared: Arc::clone(&shared),
        };
        let readers = [reader(), reader()];
        let writer = Writer {
            db: opened.db,
            data: opened.data,
            mark: opened.mark,
            head: opened.head,
            dir: dir.to_owned(),
            reserve_bytes: options.reserve_bytes,
            shared: Arc::clone(&shared),
            lock: opened.lock,
            #[cfg(feature = "planted-faults")]
            fault: options.fault,
            #[cfg(feature = "planted-faults")]
            synced_groups: 0,
        };
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.into()).spawn(run);
            spawned.map_err(OpenError::io("start the threads of", dir))
        };
        let (writes, write_requests) = sync_channel(MAX_QUEUED_WRITES);
        let (gets, get_requests) = sync_channel(MAX_QUEUED_READS);
        let (loads, load_requests) = sync_channel(MAX_QUEUED_READS);
        let [getter, loader] = readers;
        let threads = vec![
            spawn("store-get", Box::new(move || getter.run(&get_requests)))?,
            spawn("store-load", Box::new(move || loader.run(&load_requests)))?,
            spawn("store-write", Box::new(move || writer.run(&write_requests)))?,
        ];
        let queues = Some(Queues {
            writes,
            gets,
            loads,
        });
        Ok(Self {
            limits: options.limits,
            shared,
            queues,
            threads: Mutex::new(threads),
        })
    }

    fn write(&self, request: Request) -> Result<(), StoreError> {
        self.shared.usable()?;
        self.queues
            .as_ref()
            .map_or(Err(StoreError::Closed), |it| send(&it.writes, request))
    }

    fn read(&self, request: Read) -> Result<(), StoreError> {
        self.shared.usable()?;
        let Some(queues) = &self.queues else {
            return Err(StoreError::Closed);
        };
        let load = matches!(request, Read::Load(..));
        send(if load { &queues.loads } else { &queues.gets }, request)
    }
}

fn send<T>(queue: &SyncSender<T>, request: T) -> Result<(), StoreError> {
    queue.try_send(request).map_err(|error| match error {
        TrySendError::Full(_) => StoreError::Unavailable("too many requests are waiting".into()),
        TrySendError::Disconnected(_) => StoreError::Closed,
    })
}

/// The answer, once it comes; a thread that went away without one has closed the store.
fn answered<T: Send + 'static>(
    sent: Result<(), StoreError>,
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> BoxFuture<'static, Result<T, StoreError>> {
    match sent {
        Ok(()) => answer
            .map(|it| it.unwrap_or(Err(StoreError::Closed)))
            .boxed(),
        Err(error) => ready(Err(error)).boxed(),
    }
}

impl Store for Sled {
    fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>> {
        let (answer, receiver) = oneshot::channel();
        answered(self.read(Read::Get(key.into(), answer)), receiver)
    }

    fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        let (answer, receiver) = oneshot::channel();
        answered(self.read(Read::Load(prefix.into(), answer)), receiver)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>> {
        let id = commit.id;
        let (answer, receiver) = oneshot::channel();
        let sent = self.limits.check(&commit).and_then(|()| {
            let sent = self.write(Request::Commit(commit, answer));
            sent.map_err(CommitError::from)
        });
        match sent {
            // Without an answer the commit may still have been made durable.
            Ok(()) => receiver
                .map(|it| it.unwrap_or(Err(CommitError::Unknown)))
                .boxed(),
            Err(error) => {
                self.shared.log.refuse(id);
                ready(Err(error)).boxed()
            }
        }
    }

    fn resolve(&self, id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>> {
        let (answer, receiver) = oneshot::channel();
        answered(
            self.write(Request::Control(Control::Resolve(id, answer))),
            receiver,
        )
    }

    fn watch(&self, after: Position) -> Result<Watch, WatchError> {
        self.shared.log.watch(after)
    }

    fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>> {
        let (answer, receiver) = oneshot::channel();
        answered(
            self.write(Request::Control(Control::Compact(before, answer))),
            receiver,
        )
    }

    fn head(&self) -> Position {
        self.shared.log.head()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let mut ends = Vec::new();
        if let Some(queues) = &self.queues {
            let mut end = || {
                let (answer, receiver) = oneshot::channel();
                ends.push(receiver);
                answer
            };
            // A queue whose thread has ended needs no closing.
            let _ended = queues.gets.send(Read::Close(end()));
            let _ended = queues.loads.send(Read::Close(end()));
            let _ended = queues.writes.send(Request::Control(Control::Close(end())));
        }
        async move {
            for end in ends {
                let _ended = end.await;
            }
        }
        .boxed()
    }
}

impl Drop for Sled {
    fn drop(&mut self) {
        self.queues = None;
        let threads = self
            .threads
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A waker run by one of the threads may drop the store: it cannot join itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}
