//! `bulla dev`: from nothing to a working trust domain in one command, each
//! promise shown on a running system: the shipped server and the shipped agent
//! as processes of their own, on the embedded store.

mod folder;
mod guarded;
mod process;
mod renewals;
mod scopes;
pub mod service;
mod steps;
mod tour;

use std::path::PathBuf;

use crate::command::DevArgs;
use crate::failure::Failure;
use crate::output::Output;
use folder::Folder;
use tour::Tour;

/// The trust domain of every development run.
const TRUST_DOMAIN: &str = "dev.bulla";

/// Runs the tour, and then, unless `--once` was given, keeps everything up
/// until `interrupted` resolves.
///
/// # Errors
/// A step of the tour did not hold; says which and why.
pub async fn run(
    args: DevArgs,
    program: PathBuf,
    out: &mut Output,
    interrupted: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let folder = Folder::prepare(args.dir.unwrap_or_else(Folder::of_user))?;
    let mut tour = Tour::new(folder, program, out);
    let outcome = tokio::select! {
        outcome = steps::all(&mut tour) => outcome,
        () = interrupted => return tour.stop().await,
    };
    if let Err(failure) = outcome {
        tour.stop().await?;
        return Err(failure);
    }
    if !args.once {
        tour.what_next()?;
        shutdown_signal().await;
    }
    tour.stop().await
}

/// Resolves on Ctrl-C or SIGTERM.
pub async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
