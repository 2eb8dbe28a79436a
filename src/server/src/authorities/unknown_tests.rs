//! A store that loses acknowledgements: whatever becomes of a commit, the rotation
//! goes on without a restart, decided on what is stored.

use std::sync::atomic::{AtomicUsize, Ordering};

use records::AuthorityProfile;
use store::memory::Memory;
use store::{
    BoxFuture, Commit, CommitError, CommitId, Loaded, Position, Resolution, Store, StoreError,
    Value, Watch, WatchError,
};

use super::*;
use crate::failure::{Failure, Kind};
use crate::rig::{ADMIN, Rig};

/// Commits everything; of one commit nobody ever hears what became of it.
struct Forgetful {
    inner: Memory,
    /// The commit to forget, counted down; 0 is none.
    forget: AtomicUsize,
}

impl Store for Forgetful {
    fn get(&self, key: &[u8]) -> BoxFuture<'static, Result<Option<Value>, StoreError>> {
        self.inner.get(key)
    }

    fn load(&self, prefix: &[u8]) -> BoxFuture<'static, Result<Loaded, StoreError>> {
        self.inner.load(prefix)
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'static, Result<Position, CommitError>> {
        let committed = self.inner.commit(commit);
        let before = self.forget.load(Ordering::SeqCst);
        self.forget
            .store(before.saturating_sub(1), Ordering::SeqCst);
        Box::pin(async move {
            let position = committed.await?;
            if before == 1 {
                return Err(CommitError::Unknown);
            }
            Ok(position)
        })
    }

    fn resolve(&self, _id: CommitId) -> BoxFuture<'static, Result<Resolution, StoreError>> {
        Box::pin(async { Ok(Resolution::Forgotten) })
    }

    fn watch(&self, after: Position) -> Result<Watch, WatchError> {
        self.inner.watch(after)
    }

    fn compact(&self, before: Position) -> BoxFuture<'static, Result<(), StoreError>> {
        self.inner.compact(before)
    }

    fn head(&self) -> Position {
        self.inner.head()
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.inner.close()
    }
}

#[tokio::test]
async fn s14_after_a_commit_of_unknown_outcome_the_rotation_goes_on() {
    // Each commit of making, publishing and activating a key, one after the other.
    for nth in 1..=4 {
        let store = Arc::new(Forgetful {
            inner: Memory::with_limits(7, crate::open::store_limits()),
            forget: AtomicUsize::new(0),
        });
        let rig = Rig::on_store(Arc::<Forgetful>::clone(&store))
            .await
            .unwrap();
        let authorities = &rig.server.authorities;
        let first = authorities.jwt().unwrap().key_id().to_string();
        store.forget.store(nth, Ordering::SeqCst);
        let profile = AuthorityProfile::Jwt;
        let mut lost = 0;
        let mut acted = async |tried: Result<KeyStatus, Failure>| match tried {
            Ok(key) => Some(key),
            Err(failure) => {
                assert_eq!(failure.kind(), Kind::OutcomeUnknown, "{nth}: {failure}");
                lost += 1;
                None
            }
        };
        let mut next = acted(authorities.prepare(&ADMIN, profile).await).await;
        if next.is_none() {
            next = acted(authorities.prepare(&ADMIN, profile).await).await;
        }
        let next = next.expect("asked again, there is a successor").id;
        let mut active = acted(authorities.activate(&ADMIN, profile, &next).await).await;
        if active.is_none() {
            authorities.tick().await.unwrap();
            active = authorities
                .status()
                .iter()
                .find(|key| key.id == next)
                .cloned();
        }
        assert_eq!(active.unwrap().state, "active", "{nth}");
        assert_eq!(lost, 1, "{nth}");
        assert_eq!(*authorities.jwt().unwrap().key_id().to_string(), *next);
        authorities.tick().await.unwrap();
        let status = authorities.status();
        let ours = status.iter().filter(|key| key.profile == profile);
        let ours: Vec<_> = ours.map(|key| (&*key.id, key.state)).collect();
        assert_eq!(ours, [(&*first, "retired"), (&*next, "active")], "{nth}");
    }
}
