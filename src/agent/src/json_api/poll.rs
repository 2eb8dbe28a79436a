//! Answering at once, or as soon as there is something newer than what the caller
//! has: one loop for everything that can be polled.
//!
//! A waiting caller holds a subscription to its view, as a stream does, and no
//! queue: whatever happened while it was not looking, it is given the latest.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use identity::Timestamp;
use tokio::time::sleep;

use super::conditions::Conditions;
use super::problem::{Kind, Problem};
use super::{Call, ETag};
use crate::hub::Subscription;
use crate::limits;
use crate::process::{Attested, Liveness};
use crate::workload_api::{Admitted, Answer, process_changed};

/// How soon a source is looked at again that should have something by now, such as a
/// token whose server was away.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// One thing that can be polled.
pub(super) trait Source {
    /// The query parameters it takes.
    const PARAMETERS: &'static [&'static str] = &[];
    /// Whether what it finds is the view and nothing else.
    const IS_VIEW: bool;

    /// What there is for the caller now.
    fn look(
        &self,
        call: &Call<'_>,
        attested: &Attested,
        view: &mut Subscription,
    ) -> impl Future<Output = Result<Look, Problem>> + Send;
}

/// What was found.
pub(super) enum Look {
    /// This.
    Found(Found),
    /// Nothing yet, but it is on its way.
    Pending,
    /// Nothing, and this is why; that may change.
    Nothing(Problem),
}

/// Something to answer with.
pub(super) struct Found {
    pub(super) body: Bytes,
    pub(super) etag: ETag,
    /// When there will be something newer that no change of the view announces.
    pub(super) stale_at: Option<Timestamp>,
}

enum Woken {
    Changed,
    Ended,
    Draining,
    TimeIsUp,
}

/// Answers a request for `source`.
pub(super) async fn answer<S: Source + Sync>(
    mut call: Call<'_>,
    source: S,
    admitted: Admitted,
) -> Result<Response<Answer>, Problem> {
    call.query.expect(S::PARAMETERS)?;
    let mut conditions = Conditions::of(call.headers);
    let attested = call.attest().await?;
    let core = &call.connection.api.core;
    let mut view = call.connection.subscribe(&attested.caller())?;
    let wait = conditions.wait.unwrap_or_default();
    let mut time_is_up = std::pin::pin!(sleep(wait));
    let mut first_is_late = std::pin::pin!(sleep(wait.max(limits::FIRST_ANSWER)));
    let mut liveness: Option<Liveness> = None;
    loop {
        let look = source.look(&call, &attested, &mut view).await?;
        let mut again = None;
        match &look {
            Look::Found(found) if !conditions.has(&found.etag) => {
                let due = S::IS_VIEW.then(|| view.since());
                recheck(liveness.as_ref(), due)?;
                return Ok(found.response(StatusCode::OK, &conditions, admitted));
            }
            Look::Found(found) if conditions.wait.is_none() => {
                return Ok(found.response(StatusCode::NOT_MODIFIED, &conditions, admitted));
            }
            Look::Found(found) => {
                view.holds_latest();
                again = found.stale_at.map(|at| until(at, core.now()));
            }
            // One who had an identity is told at once that it has none any more.
            Look::Nothing(problem) if conditions.has_something() || conditions.wait.is_none() => {
                return Err(problem.clone());
            }
            Look::Nothing(problem) if problem.kind == Kind::Unavailable => again = Some(LOOK_AGAIN),
            Look::Pending | Look::Nothing(_) => {}
        }
        if liveness.is_none() {
            let watch = call.connection.caller.watch();
            liveness = Some(watch.map_err(|error| process_changed(&error))?);
        }
        let deadline = match look {
            Look::Pending => first_is_late.as_mut(),
            _ => time_is_up.as_mut(),
        };
        match woken(&mut call, &mut view, liveness.as_ref(), deadline, again).await {
            Woken::Changed => {}
            Woken::Ended => {
                return Err(Kind::Unavailable.because("the process that was attested has ended"));
            }
            Woken::Draining => {
                return Err(Kind::Unavailable.because("the agent is stopping; connect again"));
            }
            Woken::TimeIsUp => {
                return match look {
                    Look::Found(found) => {
                        Ok(found.response(StatusCode::NOT_MODIFIED, &conditions, admitted))
                    }
                    Look::Pending => Err(Problem::from(view.late())),
                    Look::Nothing(problem) => Err(problem),
                };
            }
        }
    }
}

async fn woken(
    call: &mut Call<'_>,
    view: &mut Subscription,
    liveness: Option<&Liveness>,
    deadline: std::pin::Pin<&mut tokio::time::Sleep>,
    again: Option<Duration>,
) -> Woken {
    let ended = async {
        match liveness {
            Some(liveness) => liveness.ended().await,
            None => std::future::pending().await,
        }
    };
    let draining = async {
        match &mut call.draining {
            Some(draining) => draining.wait().await,
            None => std::future::pending().await,
        }
    };
    let stale = async {
        match again {
            Some(again) => sleep(again).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = ended => Woken::Ended,
        () = view.changed() => Woken::Changed,
        () = stale => Woken::Changed,
        () = draining => Woken::Draining,
        () = deadline => Woken::TimeIsUp,
    }
}

/// What was attested a while ago must still be so.
fn recheck(liveness: Option<&Liveness>, due: Option<Duration>) -> Result<(), Problem> {
    let unchanged = match (liveness, due) {
        (None, _) => Ok(()),
        (Some(liveness), None) => liveness.recheck(),
        (Some(liveness), Some(due)) => liveness.recheck_since(due),
    };
    Ok(unchanged.map_err(|error| process_changed(&error))?)
}

/// How long until then; a while when that has passed, so that a source that cannot
/// renew itself is not asked all the time.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    match at.since(now).0 {
        0 => LOOK_AGAIN,
        seconds => Duration::from_secs(seconds.into()),
    }
}

impl Found {
    fn response(
        &self,
        status: StatusCode,
        conditions: &Conditions,
        admitted: Admitted,
    ) -> Response<Answer> {
        let body = match status {
            StatusCode::NOT_MODIFIED => Bytes::new(),
            _ => self.body.clone(),
        };
        let mut response = super::json(status, body, Some(admitted));
        let headers = response.headers_mut();
        if status == StatusCode::NOT_MODIFIED {
            headers.remove(header::CONTENT_TYPE);
            *response.body_mut() = Answer::Empty;
        }
        let headers = response.headers_mut();
        if let Some(tag) = self.etag.header() {
            headers.insert(header::ETAG, tag);
        }
        if let Some(wait) = conditions.wait
            && let Ok(applied) = HeaderValue::from_str(&format!("wait={}", wait.as_secs()))
        {
            headers.insert("preference-applied", applied);
        }
        response
    }
}
