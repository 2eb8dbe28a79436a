//! An agent that has run out of file descriptors. Alone in its program, since the limit
//! is that of the whole process.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use agent::process::{AttestError, Options, ProcessHost};
use channel::uds::UnixPeer;
use contract::{Attestor, ProcessError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn a12_a_look_that_lacked_a_descriptor_is_taken_again_by_the_next_call() {
    let (here, _there) = UnixStream::pair().unwrap();
    let peer = Arc::new(UnixPeer::of(&here).unwrap());
    assert!(peer.pidfd().is_some(), "this test needs Linux 6.5 or later");
    let attestors: Arc<[Attestor]> = Arc::new([]);
    let host = ProcessHost::new(Options::default()).unwrap();
    let before = getrlimit(Resource::Nofile);
    // Nothing more can be opened.
    let none = Rlimit {
        current: Some(3),
        ..before
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let caller = host.caller(&peer);
    let refused = caller.attest(&attestors).await;
    setrlimit(Resource::Nofile, before).unwrap();
    let exhausted = AttestError::Process(ProcessError::NoDescriptor);
    assert_eq!(refused.unwrap_err(), exhausted);
    caller.attest(&attestors).await.unwrap();
}
