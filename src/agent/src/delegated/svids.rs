//! A workload's SVIDs, for the one who acts in its name.

use api::delegated_identity as wire;
use api::workload::JwtsvidRequest;
use bytes::Bytes;
use tonic::{Code, Status};
use workload::Versioned;

use super::Open;
use super::delegate::Delegate;
use super::messages::{jwt_svids, may_be_delegated, x509_svids};
use super::target::{FollowedTarget, Target};
use crate::workload_api::{Messages, Push, drained, messages};

/// The stream of one workload's X.509-SVIDs.
struct Following {
    open: Open,
    target: FollowedTarget,
    /// The version that was sent last; 0 stands for having none.
    sent: Option<u64>,
}

/// Opens the stream: a full set at once, and again whenever it changed. A
/// workload without identity has an empty set, and may come to have one.
pub(super) fn stream(open: Open, target: &Target) -> Result<Messages, Status> {
    let target = target.follow(&open.delegate.connection)?;
    let following = Following {
        open,
        target,
        sent: None,
    };
    Ok(messages(following))
}

impl Push for Following {
    async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            if let Some(message) = self.news()? {
                return Ok(message);
            }
            tokio::select! {
                changed = self.target.changed() => changed?,
                standing = self.open.delegate.changed() => standing?,
                () = drained(&mut self.open.draining) => {
                    return Err(Status::unavailable("the agent is stopping; connect again"));
                }
            }
        }
    }
}

impl Following {
    /// What to send. Who is no delegate any more is told so even if there is nothing.
    fn news(&mut self) -> Result<Option<Bytes>, Status> {
        self.open.delegate.recheck()?;
        let view = match self.target.subscription().x509() {
            Ok(Some(view)) => Some(view),
            // On their way: what was sent before still holds.
            Ok(None) => return Ok(None),
            Err(status) if status.code() == Code::PermissionDenied => None,
            Err(status) => return Err(status),
        };
        let version = view.as_ref().map_or(0, |view| view.version());
        self.target.recheck()?;
        if self.sent == Some(version) {
            return Ok(None);
        }
        self.sent = Some(version);
        Ok(Some(x509_svids(view.as_deref())))
    }
}

/// One token for each identity of the workload.
pub(super) async fn tokens(
    delegate: &Delegate,
    wanted: wire::FetchJwtsviDsRequest,
) -> Result<Bytes, Status> {
    let (connection, tokens) = (&delegate.connection, &delegate.api().tokens);
    let audience = wanted.audience;
    let spiffe_id = String::new();
    let asked = tokens.parse(JwtsvidRequest {
        audience,
        spiffe_id,
    })?;
    let asked = asked.by_delegate(may_be_delegated);
    let target = Target::find(connection, &wanted.selectors, wanted.pid).await?;
    let granted = tokens
        .grant(&connection.caller, &target.who, &asked)
        .await?;
    // That took a while.
    delegate.recheck()?;
    target.recheck()?;
    Ok(jwt_svids(&granted))
}
