//! Signing with a key that is kept elsewhere: on threads that may block, so many at
//! one time, and none waited for longer than a bound. A signer that is slow or away
//! costs its callers an answer that says so, and nobody else anything.

use std::sync::Arc;
use std::time::Duration;

use authority::IssueError;
use keys::SignError;
use tokio::sync::Semaphore;

use super::IssueRefusal;

/// The threads that may wait for a signer. Cheap to clone: the clones share them.
#[derive(Clone)]
pub(crate) struct FarAway {
    places: Arc<Semaphore>,
    patience: Duration,
}

impl FarAway {
    /// Waits for one signature at most so long, its turn included; so many threads may
    /// wait for a signer at one time.
    pub(crate) fn new(patience: Duration, places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            patience,
        }
    }

    /// Signs, or says within the bound that it could not be.
    ///
    /// # Errors
    /// [`IssueRefusal::Away`] or [`IssueRefusal::Sign`] with what the signer said, if
    /// anything.
    pub(crate) async fn sign<T: Send + 'static>(
        &self,
        sign: impl FnOnce() -> Result<T, IssueError> + Send + 'static,
    ) -> Result<T, IssueRefusal> {
        let signed = tokio::time::timeout(self.patience, self.when_there_is_room(sign));
        match signed.await {
            Ok(Ok(svid)) => Ok(svid),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_elapsed) => Err(away(&format!(
                "it did not answer within {} s",
                self.patience.as_secs()
            ))),
        }
    }

    /// A thread that a signer keeps waiting keeps its place: they cannot pile up.
    async fn when_there_is_room<T: Send + 'static>(
        &self,
        sign: impl FnOnce() -> Result<T, IssueError> + Send + 'static,
    ) -> Result<T, IssueError> {
        let gone = |what: &'static str| IssueError::Sign(SignError::Unavailable(what.into()));
        let places = Arc::clone(&self.places);
        let place = places.acquire_owned().await;
        let place = place.map_err(|_closed| gone("the server is stopping"))?;
        // Dropped with this future, when its caller has given up.
        let waited_for = Arc::new(());
        let wanted = Arc::downgrade(&waited_for);
        let signed = tokio::task::spawn_blocking(move || {
            let signed = match wanted.upgrade() {
                Some(_still) => sign(),
                None => Err(gone("nobody waits for it any more")),
            };
            drop(place);
            signed
        });
        signed.await.unwrap_or_else(|error| {
            tracing::error!(%error, "signing thread ended badly");
            Err(gone("its thread ended badly"))
        })
    }
}

/// What a caller is told of an error of signing, and whoever reads the log.
pub(crate) fn refusal(error: &IssueError) -> IssueRefusal {
    match error {
        IssueError::Sign(SignError::Unavailable(why)) => away(why),
        IssueError::Sign(SignError::Refused(why)) => {
            tracing::error!(%why, "signing key refuses to sign");
            IssueRefusal::Sign(format!(
                "the signing key refuses to sign: {why}; whoever keeps the key can say more"
            ))
        }
        error => {
            tracing::error!(%error, "signing failed after the record was made");
            IssueRefusal::Sign("it could not be signed; try again".into())
        }
    }
}

fn away(why: &str) -> IssueRefusal {
    tracing::error!(why, "signing key cannot be used now");
    IssueRefusal::Away(format!(
        "the signing key cannot be used now: {why}; try again"
    ))
}
