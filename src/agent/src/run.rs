//! The agent's life in one readable function: check, enrol or restore, open the
//! sockets, follow the server, stop.

use std::future::Future;

use crate::config::{Config, ConfigError};

/// Why an agent stopped or never started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Runs an agent until `shutdown` resolves, then drains for at most ten seconds.
///
/// # Errors
/// Says what was refused and what to do about it.
pub async fn run(
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    let _settings = config.settings()?;
    shutdown.await;
    Ok(())
}
