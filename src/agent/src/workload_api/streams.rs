//! The streaming calls: a full set at once, and again whenever it changed, for
//! as long as the attested process lives.

use channel::Draining;
use http::Response;
use tonic::Status;

use bytes::Bytes;

use super::admission::Admitted;
use super::connection::{Connection, process_changed};
use super::followed::Followed;
use super::wire::{self, Answer, Push};
use crate::hub::{self, Next};
use crate::limits;
use crate::process::Attested;

/// An open stream.
struct Stream {
    answer: hub::Answer,
    followed: Followed,
    draining: Option<Draining>,
    has_answered: bool,
    /// Counts as open until the stream ends.
    _admitted: Admitted,
}

/// Opens a stream for a caller that was just attested.
pub(super) fn open(
    connection: &Connection,
    attested: &Attested,
    admitted: Admitted,
    draining: Option<Draining>,
    answer: hub::Answer,
) -> Result<Response<Answer>, Status> {
    let mut followed = Followed::new(connection, attested)?;
    // Nothing was awaited since the process was looked at for the last time.
    let first = match followed.subscription.next(answer) {
        Next::End(status) => return Err(status),
        Next::Send(bytes) => Some(bytes),
        Next::Wait => None,
    };
    let stream = Stream {
        answer,
        followed,
        draining,
        has_answered: first.is_some(),
        _admitted: admitted,
    };
    Ok(wire::respond(match first {
        Some(first) => Answer::Begun(Some(first), wire::messages(stream)),
        None => Answer::Many(wire::messages(stream)),
    }))
}

impl Push for Stream {
    async fn next(&mut self) -> Result<Bytes, Status> {
        if self.has_answered {
            return self.push().await;
        }
        // A first answer that cannot be given soon is refused, so that the
        // client knows and comes back.
        let first = tokio::time::timeout(limits::FIRST_ANSWER, self.push()).await;
        let first = first.unwrap_or_else(|_| Err(self.followed.subscription.late()))?;
        self.has_answered = true;
        Ok(first)
    }
}

impl Stream {
    /// Waits for something to send.
    async fn push(&mut self) -> Result<Bytes, Status> {
        loop {
            match self.followed.subscription.next(self.answer) {
                Next::End(status) => return Err(status),
                Next::Send(bytes) => {
                    let due = self.followed.subscription.since();
                    self.followed
                        .liveness
                        .recheck_since(due)
                        .map_err(|error| process_changed(&error))?;
                    return Ok(bytes);
                }
                Next::Wait => {}
            }
            tokio::select! {
                changed = self.followed.changed() => changed?,
                () = drained(&mut self.draining) => {
                    return Err(Status::unavailable("the agent is stopping; connect again"));
                }
            }
        }
    }
}

/// Completes when the connection is to end.
pub(crate) async fn drained(draining: &mut Option<Draining>) {
    match draining {
        Some(draining) => draining.wait().await,
        None => std::future::pending().await,
    }
}
