//! One stream's eye on its view.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use channel::uds::UnixPeer;
use identity::{Bundle, SpiffeId};
use tokio::sync::watch;
use tonic::Status;
use workload::{
    BundleView, Delivered as Version, State, Step, Versioned, ViewId, Withheld, X509View,
};

use super::{Hub, delivery, encode};

/// The text by which clients recognise that they have no identity (yet).
pub(crate) const NO_IDENTITY: &str = "no identity issued";

/// The latest state of one view.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Whether the agent has a view at all.
    pub(super) is_ready: bool,
    pub(super) x509: State<X509View>,
    pub(super) x509_bundles: State<BundleView>,
    pub(super) jwt_bundles: State<BundleView>,
    pub(super) own_only: Option<Arc<OwnBundle>>,
    /// The identity that comes first and has no valid X.509-SVID, if that is so.
    pub(super) waits_for: Option<SpiffeId>,
    /// Sequence of the own bundle in it.
    pub(crate) bundle_sequence: u64,
    /// When it came to be, of the boot clock.
    pub(super) since: Duration,
}

impl Shown {
    pub(super) const fn not_ready(since: Duration) -> Self {
        Self {
            is_ready: false,
            x509: State::Pending,
            x509_bundles: State::Pending,
            jwt_bundles: State::Pending,
            own_only: None,
            waits_for: None,
            bundle_sequence: 0,
            since,
        }
    }

    pub(super) const fn denied(since: Duration) -> Self {
        Self {
            is_ready: true,
            x509: State::Denied,
            x509_bundles: State::Denied,
            jwt_bundles: State::Denied,
            own_only: None,
            waits_for: None,
            bundle_sequence: 0,
            since,
        }
    }
}

/// The own bundle alone, for callers without identity.
#[derive(Debug)]
pub(crate) struct OwnBundle {
    x509: Bytes,
    jwt: Bytes,
}

impl OwnBundle {
    pub(super) fn new(own: &Bundle, crls: &[Bytes]) -> Arc<Self> {
        Arc::new(Self {
            x509: encode::own_x509_bundle(own, crls),
            jwt: encode::own_jwt_bundle(own),
        })
    }
}

/// Which of the streaming calls a stream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    X509Svid,
    X509Bundles,
    JwtBundles,
}

/// What a stream does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Wait for a change.
    Wait,
    /// Send these bytes.
    Send(Bytes),
    /// End with this status.
    End(Status),
}

/// An open stream's subscription; it ends when dropped.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    id: ViewId,
    /// Whose it is counted against.
    uid: u32,
    shown: watch::Receiver<Shown>,
    sent: Version,
    sent_own: Option<Bytes>,
    delivered: Option<delivery::Delivered>,
    /// Whose connection the stream is on.
    reader: Option<Arc<UnixPeer>>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.unsubscribe(self.id, self.uid);
    }
}

impl Subscription {
    pub(super) fn new(hub: Arc<Hub>, id: ViewId, uid: u32, shown: watch::Receiver<Shown>) -> Self {
        Self {
            hub,
            id,
            uid,
            shown,
            sent: Version::default(),
            sent_own: None,
            delivered: None,
            reader: None,
        }
    }

    /// The stream is on this caller's connection, which is ended when it takes nothing.
    pub(crate) fn read_by(mut self, reader: &Arc<UnixPeer>) -> Self {
        self.reader = Some(Arc::clone(reader));
        self
    }

    /// Goes on as `other`, another view of the same caller: what was sent of this one
    /// counts.
    pub(crate) fn continue_as(&mut self, mut other: Self) {
        other.sent = self.sent;
        other.sent_own = self.sent_own.take();
        other.delivered = self.delivered.take();
        *self = other;
    }

    /// Waits until the view changed.
    pub(crate) async fn changed(&mut self) {
        // The sender lives in the hub for as long as this subscription does.
        let _gone = self.shown.changed().await;
    }

    /// The X.509 identities as they are now, for a caller who is answered once;
    /// `None` while they are on their way.
    pub(crate) fn x509(&mut self) -> Result<Option<Arc<X509View>>, Status> {
        let shown = self.shown.borrow_and_update();
        if !shown.is_ready {
            return Err(not_ready());
        }
        match &shown.x509 {
            State::Denied => Err(no_identity()),
            State::Withheld(why) => Err(withheld(*why)),
            State::Pending => Ok(None),
            State::Ready(view) => Ok(Some(Arc::clone(view))),
        }
    }

    /// When the view as it is now came to be, of the boot clock: what is sent of it
    /// has been due since then.
    pub(crate) fn since(&self) -> Duration {
        self.shown.borrow().since
    }

    /// What a caller is told whose SVIDs do not come in time.
    pub(crate) fn late(&self) -> Status {
        let shown = self.shown.borrow();
        let Some(first) = &shown.waits_for else {
            return Status::unavailable("the SVID could not be issued yet; call again");
        };
        Status::unavailable(format!(
            "the X.509-SVID of {first} could not be issued yet, or has expired; it comes first among \
             the identities of this process, and no other is given in its place; call again, and \
             see `bulla healthcheck --only agent` for what the agent waits for"
        ))
    }

    /// Changes from now on count as news.
    pub(crate) fn mark_seen(&mut self) {
        self.shown.mark_unchanged();
    }

    /// The caller waits holding the bundle as it is now: until the wait ends, that
    /// is what it was sent last.
    pub(crate) fn holds_latest(&mut self) {
        let sequence = self.shown.borrow().bundle_sequence;
        match &mut self.delivered {
            Some(delivered) => delivered.advance(sequence),
            none => *none = Some(self.hub.deliveries.begin(sequence, self.reader.clone())),
        }
    }

    /// What to do about the view as it is now.
    pub(crate) fn next(&mut self, answer: Answer) -> Next {
        let shown = self.shown.borrow_and_update();
        if !shown.is_ready {
            return Next::End(not_ready());
        }
        let own = shown.own_only.as_ref();
        let (sent, sent_own) = (&mut self.sent, &mut self.sent_own);
        let next = match answer {
            Answer::X509Svid => step(sent, &shown.x509, |view| view.encoded(encode::x509)),
            Answer::X509Bundles => match &shown.x509_bundles {
                State::Denied => step_own(sent_own, own, |own| &own.x509),
                state => step(sent, state, |view| view.encoded(encode::x509_bundles)),
            },
            Answer::JwtBundles => match &shown.jwt_bundles {
                State::Denied => step_own(sent_own, own, |own| &own.jwt),
                state => step(sent, state, |view| view.encoded(encode::jwt_bundles)),
            },
        };
        let sequence = shown.bundle_sequence;
        drop(shown);
        match (&next, &mut self.delivered) {
            (Next::End(_), _) | (Next::Wait, None) => {}
            (_, Some(delivered)) => delivered.advance(sequence),
            (Next::Send(_), none) => {
                *none = Some(self.hub.deliveries.begin(sequence, self.reader.clone()));
            }
        }
        next
    }
}

fn step<V: Versioned>(
    sent: &mut Version,
    state: &State<V>,
    encoded: impl FnOnce(&V) -> Bytes,
) -> Next {
    match sent.step(state) {
        Step::Wait => Next::Wait,
        Step::Send(view) => Next::Send(encoded(&view)),
        Step::End => Next::End(no_identity()),
        Step::Withheld(why) => Next::End(withheld(why)),
    }
}

/// For a caller without identity: the own bundle, where the admin allows that.
fn step_own(
    sent: &mut Option<Bytes>,
    own: Option<&Arc<OwnBundle>>,
    bytes: impl FnOnce(&OwnBundle) -> &Bytes,
) -> Next {
    let Some(bytes) = own.map(|own| bytes(own)) else {
        return Next::End(no_identity());
    };
    if sent.as_ref() == Some(bytes) {
        return Next::Wait;
    }
    *sent = Some(bytes.clone());
    Next::Send(bytes.clone())
}

/// The refusal while the agent has no view at all.
pub(crate) fn not_ready() -> Status {
    Status::unavailable("the agent has not heard from its server yet; call again")
}

/// The refusal of a caller whose identity depends on an attestor that is away.
pub(crate) fn withheld(why: Withheld) -> Status {
    Status::unavailable(format!("{why}; call again"))
}

/// The refusal of a caller without identity. Clients try again after it.
pub(crate) fn no_identity() -> Status {
    Status::permission_denied(NO_IDENTITY)
}

#[cfg(test)]
mod tests {
    use identity::{Selector, Selectors, Timestamp};
    use workload::Caller;

    use crate::clock::Clock;
    use crate::config::Config;
    use crate::entropy::Entropy;
    use crate::hub::Hub;

    /// As when two threads drop them: neither receiver is gone when both have unsubscribed.
    #[test]
    fn a12_two_streams_that_close_together_leave_nothing_behind() {
        let settings = Config::new("example.org", "localhost:1")
            .settings()
            .unwrap();
        let clock = Clock::manual(Timestamp(1000));
        let hub = Hub::new(&settings, clock, Entropy::system());
        let selectors = vec![Selector::parse("unix:uid:1").unwrap()];
        let caller = Caller::from(&Selectors::new(selectors).unwrap());
        let streams = [
            hub.subscribe(&caller, 1).unwrap(),
            hub.subscribe(&caller, 1).unwrap(),
        ];
        for stream in &streams {
            hub.unsubscribe(stream.id, 1);
        }
        assert!(hub.lock().watched.is_empty());
        let _ = streams.map(std::mem::forget);
    }
}
