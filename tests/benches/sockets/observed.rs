//! What the kernel says of a measured process, and what the processor can do.

use std::fs;

use bulla_tests::{Domain, Process};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ALGORITHM, EcdsaKeyPair};
use rustix::time::{ClockId, clock_gettime};

/// Ticks of `/proc/PID/stat` a second: the same on every Linux we build for.
const TICKS: f64 = 100.0;
/// CPU time spent on finding out what the processor can do, seconds.
const RAW_SECONDS: f64 = 0.2;

/// A process under measurement.
#[derive(Clone, Copy)]
pub(crate) struct Observed {
    pub(crate) name: &'static str,
    pid: u32,
}

impl Observed {
    pub(crate) fn server(domain: &Domain) -> Self {
        Self::of("server", domain.server.as_ref())
    }

    pub(crate) fn agent(domain: &Domain) -> Self {
        Self::of("agent", domain.agent.as_ref())
    }

    fn of(name: &'static str, process: Option<&Process>) -> Self {
        let pid = process.expect("the process runs").pid();
        Self { name, pid }
    }

    /// User and system time used so far, seconds.
    pub(crate) fn cpu_seconds(self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        // The name before it may hold spaces and parentheses.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let mut times = rest.split_ascii_whitespace().skip(11);
        let mut next = || times.next().unwrap().parse::<f64>().unwrap();
        (next() + next()) / TICKS
    }

    /// Resident memory, KiB: all of it, and the part that no file backs.
    pub(crate) fn memory_kib(self) -> (f64, f64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            let kib = line.split_ascii_whitespace().nth(1).unwrap();
            kib.parse::<f64>().unwrap()
        };
        (field("VmRSS:"), field("RssAnon:"))
    }
}

/// Raw ring P-256 signatures in one CPU second of this thread.
pub(crate) fn raw_sign_rate() -> f64 {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ALGORITHM, &rng).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ALGORITHM, pkcs8.as_ref(), &rng).unwrap();
    let start = thread_seconds();
    let mut signed = 0.0;
    loop {
        for _ in 0..50 {
            std::hint::black_box(pair.sign(&rng, &[7; 450]).unwrap());
        }
        signed += 50.0;
        let spent = thread_seconds() - start;
        if spent > RAW_SECONDS {
            return signed / spent;
        }
    }
}

fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = i32::try_from(time.tv_nsec).unwrap();
    let seconds = i32::try_from(time.tv_sec).unwrap();
    f64::from(seconds) + f64::from(nanos) / 1e9
}
