//! Long polls and streams by the ten thousand on one agent: a push reaches all of them
//! at once, what stalls holds up nobody, and nothing is left when they go.
//!
//! A test binary of its own: while it runs, no other test competes for the processors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test says what is wrong by failing"
)]

mod crowd;
mod machine;

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use api::workload::X509svidResponse;
use bulla_tests::{Domain, descriptors, eventually, moment, resident_kib};
use prost::Message as _;

use crowd::{Crowd, opening, poll};
use machine::{Busy, raise_descriptor_limit};

const POLLERS: usize = 10_000;
/// Half of the streams have a connection of their own, half share one by the hundred.
const LONE_STREAMS: usize = 5_000;
const SHARED_STREAMS: usize = 5_000;
const STREAMS_EACH: u32 = 100;
const SHARED_CONNECTIONS: usize = 50;
const STALLED: usize = 50;
const EVERYBODY: usize = POLLERS + LONE_STREAMS + SHARED_STREAMS;
/// What one poll or stream may cost the agent in resident memory, KiB.
const MEMORY_EACH: usize = 40;
/// Descriptors that do not belong to a connection: the handle to this process, and
/// what the agent opens for a moment.
const OTHER_DESCRIPTORS: usize = 16;
const A_SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// How often to try on a machine that others keep busy.
const TRIES: usize = 3;
/// A push is not judged by the clock if others had more of the processors.
const OTHERS_AT_MOST: f64 = 0.25;

/// The tag of what there is now.
fn tag(socket: &Path) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    let request = "GET /v1/svid/x509 HTTP/1.1\r\nHost: x\r\nworkload.spiffe.io: true\r\n\
                   Connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let tag = answer.lines().find_map(|line| line.strip_prefix("etag: "));
    tag.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Clients that ask and never read, that never finish asking, and that let nothing be
/// sent to them.
fn stall(socket: &Path, tag: &str) -> Vec<UnixStream> {
    let half = b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Le".to_vec();
    let ways = [poll(tag), half, opening(1, 0)];
    let all = ways.iter().cycle().take(ways.len() * STALLED);
    all.map(|request| {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(request).unwrap();
        stream
    })
    .collect()
}

/// Everybody, waiting for the next push.
fn gather(domain: &Domain, tag: &str) -> Crowd {
    let socket = domain.workload_socket();
    let mut crowd = Crowd::new();
    for _ in 0..LONE_STREAMS {
        crowd.streams(&socket, 1);
    }
    for _ in 0..SHARED_CONNECTIONS {
        crowd.streams(&socket, STREAMS_EACH);
    }
    for _ in 0..POLLERS {
        crowd.poll(&socket, tag);
    }
    let first_answers = crowd.read(LONE_STREAMS + SHARED_STREAMS, PATIENCE);
    assert!(first_answers, "a stream has no first answer");
    crowd
}

/// Registers one more entry, and waits until everybody has its SVID: how long that took
/// from before the command.
fn push(domain: &Domain, crowd: &mut Crowd, svids: usize) -> Duration {
    // Nobody has anything to read any more.
    crowd.read(usize::MAX, A_SECOND);
    crowd.answers.clear();
    let start = moment();
    let reached = std::thread::scope(|scope| {
        scope.spawn(|| domain.register(&format!("/w{svids}"), []));
        crowd.read(EVERYBODY, PATIENCE).then(moment)
    });
    let count = crowd.answers.len();
    let reached = reached.unwrap_or_else(|| panic!("only {count} were reached"));
    let mut answers = crowd.answers.iter();
    let stale = answers.find(|answer| svids_in(answer) != svids);
    assert!(stale.is_none(), "an answer without the new SVID");
    reached.duration_since(start).unwrap()
}

/// How long a push took, and how that was found.
struct Verdict {
    took: Duration,
    how: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.took, self.how)
    }
}

/// Pushes until one can be judged: it took less than a second, or others had little of
/// the processors. Where others always have much of them, what counts is the time that
/// they left to us, in the best of the tries.
fn judge(domain: &Domain, crowd: &mut Crowd) -> Verdict {
    let [agent, server] = [&domain.agent, &domain.server].map(|part| part.as_ref().unwrap().pid());
    let mut best: Option<Verdict> = None;
    for svids in 2..2 + TRIES {
        let busy = Busy::now([agent, server, std::process::id()]);
        let took = push(domain, crowd, svids);
        let others = busy.share_of_others();
        if took < A_SECOND || others < OTHERS_AT_MOST {
            let how = format!("by the clock; others had {others:.2} of the processors");
            return Verdict { took, how };
        }
        let left = took.mul_f64(1.0 - others);
        if best.as_ref().is_none_or(|best| left < best.took) {
            let how = format!(
                "as the part left to us of {took:?} by the clock: the best of {TRIES} pushes, in \
                 each of which others had {OTHERS_AT_MOST} of the processors or more, in this {others:.2}"
            );
            best = Some(Verdict { took: left, how });
        }
        crowd.poll_again(&tag(&domain.workload_socket()));
    }
    best.unwrap()
}

/// How many SVIDs an answer of either kind has.
fn svids_in(answer: &[u8]) -> usize {
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(answer) {
        return json["svids"].as_array().unwrap().len();
    }
    X509svidResponse::decode(answer).unwrap().svids.len()
}

#[test]
fn a_push_reaches_ten_thousand_polls_and_streams_within_a_second_whatever_stalls() {
    raise_descriptor_limit();
    let domain = Domain::start();
    domain.register("/w1", []);
    domain.await_svid("/w1");
    let agent = domain.agent.as_ref().unwrap().pid();
    let socket = domain.workload_socket();
    let first = tag(&socket);
    let (idle, before) = (descriptors(agent), resident_kib(agent));
    let mut crowd = gather(&domain, &first);
    let stalled = stall(&socket, &first);
    // Those that do not finish asking are cut after a while.
    let connections = POLLERS + LONE_STREAMS + SHARED_CONNECTIONS + stalled.len();
    eventually("all are there", || {
        (descriptors(agent) >= idle + connections - STALLED).then_some(())
    });
    let open = descriptors(agent) - idle;
    let most = connections + OTHER_DESCRIPTORS;
    assert!(
        open <= most,
        "{open} descriptors for {connections} connections"
    );

    let verdict = judge(&domain, &mut crowd);
    println!("to the last of {EVERYBODY}: {verdict}");
    assert!(verdict.took < A_SECOND, "{verdict}");
    let each = resident_kib(agent).saturating_sub(before) / EVERYBODY;
    let cost = format!(
        "the agent's resident memory grew by {each} KiB for each of {EVERYBODY} polls and streams, \
         and it has {open} descriptors more than before, for {connections} connections"
    );
    println!("{cost}");
    assert!(each < MEMORY_EACH, "{cost}; at most {MEMORY_EACH} KiB each");
    drop((stalled, crowd));
    eventually("what was opened is closed", || {
        (descriptors(agent) <= idle + 8).then_some(())
    });
}
