//! A store that lets two operations take turns by a schedule: before each access an
//! operation waits until it is its turn. Accesses of anybody else pass.

use std::sync::{Arc, Mutex};

use store::{
    BoxFuture, Commit, CommitError, CommitId, Loaded, Position, Resolution, Store, StoreError,
    Value, Watch, WatchError,
};
use tokio::sync::Notify;

tokio::task_local! {
    /// Which of the two operations this task carries out, and in whose schedule.
    static OPERATION: (usize, Arc<Gate>);
}

/// Who may go next.
pub(super) struct Gate {
    turns: Mutex<Turns>,
    changed: Notify,
}

struct Turns {
    schedule: Vec<usize>,
    at: usize,
    done: [bool; 2],
    /// Counts accesses and ends, to tell what came before what.
    steps: usize,
    began: [Option<usize>; 2],
    ended: [Option<usize>; 2],
}

impl Gate {
    /// Operations go as the schedule says; when it has ended the first one goes on to
    /// its end, then the other.
    pub(super) fn new(schedule: &[usize]) -> Arc<Self> {
        Arc::new(Self {
            turns: Mutex::new(Turns {
                schedule: schedule.to_vec(),
                at: 0,
                done: [false; 2],
                steps: 0,
                began: [None; 2],
                ended: [None; 2],
            }),
            changed: Notify::new(),
        })
    }

    /// Carries out an operation under the schedule.
    pub(super) async fn run<T>(
        self: &Arc<Self>,
        which: usize,
        operation: impl Future<Output = T>,
    ) -> T {
        let gate = Arc::clone(self);
        OPERATION
            .scope((which, Arc::clone(&gate)), async move {
                gate.wait(which).await;
                let outcome = operation.await;
                gate.end(which);
                outcome
            })
            .await
    }

    /// Whether one operation had ended before the other began.
    pub(super) fn came_before(&self, first: usize, second: usize) -> bool {
        let turns = self.turns.lock().unwrap();
        turns.ended[first].unwrap() < turns.began[second].unwrap()
    }

    async fn wait(&self, which: usize) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.turns.lock().unwrap().may_go(which) {
                self.changed.notify_waiters();
                return;
            }
            changed.await;
        }
    }

    fn end(&self, which: usize) {
        let mut turns = self.turns.lock().unwrap();
        turns.done[which] = true;
        turns.steps += 1;
        turns.ended[which] = Some(turns.steps);
        drop(turns);
        self.changed.notify_waiters();
    }
}

impl Turns {
    fn may_go(&mut self, which: usize) -> bool {
        let other = 1 - which;
        let turn = self.schedule.get(self.at).copied().unwrap_or(0);
        if turn != which && !self.done[other] {
            return false;
        }
        self.at += usize::from(turn == which);
        self.steps += 1;
        self.began[which].get_or_insert(self.steps);
        true
    }
}

/// Waits for the turn of the operation that this task carries out, if any.
async fn turn() {
    if let Ok((which, gate)) = OPERATION.try_with(Clone::clone) {
        gate.wait(which).await;
    }
}

/// A store whose reads and commits wait for their turn.
pub(super) struct Gated(pub(super) Arc<dyn Store>);

impl Store for Gated {
    fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>> {
        let (inner, key) = (Arc::clone(&self.0), key.to_vec());
        Box::pin(async move {
            turn().await;
            inner.get(&key).await
        })
    }

    fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        self.0.load(prefix)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            turn().await;
            inner.commit(commit).await
        })
    }

    fn resolve(&self, id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>> {
        self.0.resolve(id)
    }

    fn watch(&self, after: Position) -> Result<Watch, WatchError> {
        self.0.watch(after)
    }

    fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>> {
        self.0.compact(before)
    }

    fn head(&self) -> Position {
        self.0.head()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.0.close()
    }
}
