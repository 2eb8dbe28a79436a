//! Work that recurses with the nesting of a text, on a stack that is large enough
//! for everything the limits let through.
//!
//! Parsers, validators and JSON Schema compilers call themselves once for each level
//! of nesting. A stack that is too small for that does not fail, it ends the process.
//! So whatever reads a policy set runs here, whichever thread asks for it.

use std::cell::Cell;
use std::io;
use std::thread;

use crate::limits::STACK_BYTES;

thread_local! {
    /// Whether this thread already has the large stack.
    static LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread with a stack of [`STACK_BYTES`] and waits for it; directly
/// when the caller is on such a thread already. A panic of `work` goes on in the caller.
///
/// # Errors
/// The system gives no further thread.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if LARGE.get() {
        return Ok(work());
    }
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("policy".into());
        let thread = builder.stack_size(STACK_BYTES).spawn_scoped(scope, || {
            LARGE.set(true);
            work()
        })?;
        Ok(thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn depth(levels: usize) -> usize {
        let frame = std::hint::black_box([levels; 64]);
        if levels == 0 {
            0
        } else {
            1 + depth(frame[0] - 1)
        }
    }

    #[test]
    fn the_stack_is_large_and_used_again_by_what_runs_on_it() {
        // 20,000 frames of 512 bytes and more do not fit on the 2 MiB of a test thread.
        let nested = on_large_stack(|| {
            let outer = thread::current().id();
            let inner = on_large_stack(|| thread::current().id()).unwrap();
            (depth(20_000), outer == inner)
        });
        assert_eq!(nested.unwrap(), (20_000, true));
        assert!(!LARGE.get(), "the caller's own thread is as it was");
    }
}
