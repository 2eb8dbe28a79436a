//! Every bundle the agent holds, for a delegate that verifies the peers of many.

use bytes::Bytes;
use tonic::Status;

use super::Open;
use super::messages::{jwt_bundles, x509_bundles};
use crate::hub::{AllBundles, not_ready};
use crate::workload_api::{Messages, Push, drained, messages};

/// In which form.
#[derive(Clone, Copy)]
pub(super) enum Form {
    X509,
    Jwt,
}

struct Following {
    open: Open,
    form: Form,
    bundles: AllBundles,
    sent: Option<Bytes>,
}

/// Opens the stream: all bundles at once, and again whenever one changed.
pub(super) fn stream(open: Open, form: Form) -> Result<Messages, Status> {
    let reader = open.delegate.connection.caller.peer();
    let bundles = open.delegate.api().core.hub.all_bundles(reader);
    let following = Following {
        open,
        form,
        bundles,
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
                () = self.bundles.changed() => {}
                standing = self.open.delegate.changed() => standing?,
                () = drained(&mut self.open.draining) => {
                    return Err(Status::unavailable("the agent is stopping; connect again"));
                }
            }
        }
    }
}

impl Following {
    fn news(&mut self) -> Result<Option<Bytes>, Status> {
        self.open.delegate.recheck()?;
        let bundles = self.bundles.look();
        if bundles.is_empty() {
            return Err(not_ready());
        }
        let message = match self.form {
            Form::X509 => x509_bundles(&bundles),
            Form::Jwt => jwt_bundles(&bundles),
        };
        self.bundles.holds_latest();
        if self.sent.as_ref() == Some(&message) {
            return Ok(None);
        }
        self.sent = Some(message.clone());
        Ok(Some(message))
    }
}
