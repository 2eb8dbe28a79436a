//! What it costs to know who calls: `cargo bench -p agent --bench process`.
//!
//! The process that is looked at is this one, over a socket pair. Figures are
//! medians of batches; nothing is asserted.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints, and stops when something is wrong"
)]

use std::hint::black_box;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use agent::process::{Options, ProcessHost};
use channel::uds::UnixPeer;
use contract::Attestor;
use unix::{Config, Unix};

const BATCHES: usize = 101;
const CALLS: u32 = 200;

fn measure(name: &str, mut call: impl FnMut()) {
    let mut batches: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
        })
        .collect();
    batches.sort_by(f64::total_cmp);
    let median = batches.get(BATCHES / 2).unwrap();
    println!("{name:<52} {median:>7.2} us");
}

fn attestors(config: Config) -> Arc<[Attestor]> {
    Arc::new([Attestor {
        inspect: Arc::new(Unix::new(config)),
        optional: false,
    }])
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (here, _there) = UnixStream::pair().unwrap();
    let host = ProcessHost::new(Options::default()).unwrap();
    let unseeing = ProcessHost::new(Options {
        programs: false,
        ..Options::default()
    });
    let peer = Arc::new(UnixPeer::of(&here).unwrap());
    let plain = Config {
        path: false,
        ..Config::default()
    };
    let hashing = Config {
        sha256: true,
        ..Config::default()
    };

    measure("ask the kernel who connected (pidfd)", || {
        black_box(UnixPeer::of(&here).unwrap());
    });
    measure("first look at a caller, at accept", || {
        black_box(host.caller(&peer));
    });
    let blind = unseeing.unwrap().caller(&peer);
    let caller = host.caller(&peer);
    for (name, caller, config) in [
        (
            "attest: users and groups, programs not looked at",
            &blind,
            plain,
        ),
        ("attest: users and groups", &caller, plain),
        ("attest: and path", &caller, Config::default()),
        ("attest: and path and sha256 (remembered)", &caller, hashing),
    ] {
        let attestors = attestors(config);
        runtime.block_on(caller.attest(&attestors)).unwrap();
        measure(name, || {
            black_box(runtime.block_on(caller.attest(&attestors)).unwrap());
        });
    }
    let liveness = runtime.block_on(async { caller.watch() }).unwrap();
    measure("recheck before a push", || liveness.recheck().unwrap());
    println!(
        "of each attestation, about 0.1 us is the runtime's; hashing runs at ring's speed, once a file"
    );
}
