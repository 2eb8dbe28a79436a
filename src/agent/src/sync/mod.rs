//! Following the server: one stream over which entries, bundles and orders
//! arrive as soon as they are committed.
//!
//! While the server is away the agent goes on with what it has: entries and
//! SVIDs stay, unexpired SVIDs are served.

mod apply;
mod follow;

use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::core::Core;
use crate::disk::{HeldState, OwnIdentity};
use crate::enrol::EnrolError;
use crate::health::Part;
use crate::limits;
use crate::run::RunError;

pub(crate) use follow::Ended;

/// Enrols when needed and follows the server, until something final happens.
pub(crate) async fn supervise(core: Arc<Core>) -> RunError {
    let mut link = Backoff::default();
    let mut attestation = Backoff::default();
    let mut attest = (!core.has_valid_identity()).then_some("this agent is not enrolled yet");
    loop {
        if let Some(why) = attest {
            match enrol(&core, why).await {
                Ok(()) => attestation.succeeded(),
                // With workloads to serve, an agent that cannot attest stays up.
                Err(error) if !error.is_transient() && !core.hub.is_ready() => return error.into(),
                Err(error) => {
                    let why = error.to_string();
                    core.duties
                        .following
                        .failed(core.clock.boottime(), why.as_str());
                    core.problem(Part::Identity, why);
                    tokio::time::sleep(attestation.next(core.entropy.fraction())).await;
                }
            }
        }
        attest = None;
        if !core.has_valid_identity() {
            attest = Some("the agent's SVID has expired");
            continue;
        }
        match follow::follow(&core, &mut link).await {
            Ended::Banned(reason) => return banned(&core, reason),
            Ended::Evicted(reason) => {
                evicted(&core, &reason);
                attest = Some("this agent was evicted from its server");
            }
            Ended::Reconnect => {}
            Ended::Goodbye(after) => tokio::time::sleep(spread(&core, after)).await,
            Ended::Reattest(reason) => {
                tracing::warn!(reason, "the server asks this agent to attest again");
                attest = Some("the server asks this agent to attest again");
            }
            Ended::Lost(reason) => {
                let now = core.clock.boottime();
                core.duties.following.failed(now, reason.as_str());
                core.problem(Part::Sync, reason);
                core.link.give_up();
                tokio::time::sleep(link.next(core.entropy.fraction())).await;
            }
        }
    }
}

/// Attests, and takes what the server certified.
pub(crate) async fn enrol(core: &Core, why: &'static str) -> Result<(), EnrolError> {
    let (own, bundle) = core.enroller().enrol(why).await?;
    core.hub.hold_own_bundle(bundle);
    core.hub.admit_again();
    core.become_known_as(own)
        .await
        .map_err(|e| EnrolError::Key(e.to_string()))
}

/// The node is no longer wanted: nothing of what it was given stays.
fn banned(core: &Core, reason: String) -> RunError {
    core.hub.dismiss();
    core.folder.close();
    forget(core);
    RunError::Banned(reason)
}

/// The server does not know the node any more: it gives out nothing of what it was given,
/// and must prove itself as if for the first time.
fn evicted(core: &Core, reason: &str) {
    core.hub.dismiss();
    forget(core);
    core.link.reset();
    let why = format!("this agent was evicted, so it gives out no identity: {reason}");
    core.problem(Part::Identity, why);
}

fn forget(core: &Core) {
    core.forget_identity();
    for removed in [
        OwnIdentity::remove(&core.folder),
        HeldState::remove(&core.folder),
    ] {
        if let Err(error) = removed {
            core.problem(Part::Storage, error.to_string());
        }
    }
}

/// Agents that were sent away together come back over half as long again.
fn spread(core: &Core, after: Duration) -> Duration {
    let after = after.min(limits::RETRY_CEILING);
    after + after.mul_f64(core.entropy.fraction() / 2.0)
}
