//! What the machine gives: descriptors for this process, processor time for all.

use std::fs::read_to_string;

/// Each connection costs this process a descriptor, as it does the agent.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
}

/// Who has had how much of the processors, in ticks, at one moment.
pub(crate) struct Busy {
    ours: [u32; 3],
    ticks: Ticks,
}

#[derive(Clone, Copy)]
struct Ticks {
    ours: u64,
    busy: u64,
    all: u64,
}

impl Busy {
    /// This moment; these processes are ours.
    pub(crate) fn now(ours: [u32; 3]) -> Self {
        let ticks = Ticks::now(&ours);
        Self { ours, ticks }
    }

    /// The part of the processors that went to others since then.
    pub(crate) fn share_of_others(&self) -> f64 {
        let (then, now) = (self.ticks, Ticks::now(&self.ours));
        let others = (now.busy - then.busy).saturating_sub(now.ours - then.ours);
        let part = |ticks: u64| f64::from(u32::try_from(ticks).unwrap());
        part(others) / part((now.all - then.all).max(1))
    }
}

impl Ticks {
    fn now(ours: &[u32]) -> Self {
        let text = read_to_string("/proc/stat").unwrap();
        let line = text.lines().next().unwrap();
        let numbers = line.split_whitespace().skip(1).take(8);
        let numbers: Vec<u64> = numbers.map(|n| n.parse().unwrap()).collect();
        let all: u64 = numbers.iter().sum();
        Self {
            ours: ours.iter().map(|pid| of_process(*pid)).sum(),
            // Without idle, and without waiting for a disk.
            busy: all - numbers[3] - numbers[4],
            all,
        }
    }
}

fn of_process(pid: u32) -> u64 {
    let text = read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, after_name) = text.rsplit_once(')').unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
