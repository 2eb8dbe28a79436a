//! Handshakes take turns: a turn is held while something is computed, never while
//! the peer is waited for, and each address has a few of the turns at one time.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::Semaphore;

use super::crowd::Place;
use super::source::Source;

/// Drives `work` to its end, each step of it in a turn. Between two steps `work`
/// waits for its peer, and its place may be given to another.
pub(super) async fn in_turns<F: Future + Unpin>(
    mut work: F,
    place: &Place<Source>,
    turns: &Semaphore,
) -> F::Output {
    loop {
        place.set_idle(false);
        // First a turn among those of the same address, so that one address has few in
        // the queue that all share. Neither is ever closed; if it were, nothing would
        // be lost but the order.
        let own = place.turns().acquire().await;
        let turn = turns.acquire().await;
        let step = poll_fn(|context| Poll::Ready(Pin::new(&mut work).poll(context))).await;
        drop((turn, own));
        if let Poll::Ready(done) = step {
            return done;
        }
        place.set_idle(true);
        woken().await;
    }
}

/// Completes when this task is woken, by whatever its last step waits for.
async fn woken() {
    let mut asleep = false;
    poll_fn(|_| {
        if asleep {
            return Poll::Ready(());
        }
        asleep = true;
        Poll::Pending
    })
    .await;
}
