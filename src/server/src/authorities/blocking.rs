//! What a key storage does may block: RSA takes seconds, a token or a KMS is
//! somewhere else. It happens on a thread that may, and is not waited for for ever.

use crate::failure::Failure;
use crate::limits;

/// Runs it; whoever asked is told after a bound that nothing came back.
pub(super) async fn run<T, E>(
    what: &'static str,
    job: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Failure>
where
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(job);
    match tokio::time::timeout(limits::KEY_STORAGE_PATIENCE, done).await {
        Ok(Ok(done)) => done.map_err(Into::into),
        Ok(Err(ended)) => Err(Failure::internal(ended)),
        Err(_elapsed) => Err(Failure::unavailable(format!(
            "the key storage did not {what} within {} s",
            limits::KEY_STORAGE_PATIENCE.as_secs()
        ))),
    }
}

impl From<keys::StorageError> for Failure {
    fn from(error: keys::StorageError) -> Self {
        Self::unavailable(error)
    }
}

impl From<authority::AuthorityError> for Failure {
    fn from(error: authority::AuthorityError) -> Self {
        match error {
            authority::AuthorityError::Sign(error) => Self::unavailable(error),
            error => Self::internal(error),
        }
    }
}
