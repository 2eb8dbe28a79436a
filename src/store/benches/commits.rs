//! Durable commits per second with 1, 16 and 64 writers, and batches of 500 puts.
//! One JSON object per line.

use std::error::Error;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use store::sled_engine::{Sled, SledOptions};
use store::{Commit, CommitId, Store as _, Write, block_on};
use tempfile::TempDir;

const RUN: Duration = Duration::from_secs(3);
const VALUE_BYTES: usize = 600;
/// Keys of one writer, so that puts are replacements after a while, as in service.
const KEYS: u64 = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    for writers in [1_u64, 16, 64] {
        let dir = TempDir::new_in(".")?;
        let store = Arc::new(Sled::open(dir.path(), SledOptions::new([1; 32]))?);
        commits(&store, writers)?;
    }
    let dir = TempDir::new_in(".")?;
    let store = Sled::open(dir.path(), SledOptions::new([1; 32]))?;
    batches(&store)?;
    drop(store);
    let start = now();
    let store = Sled::open(dir.path(), SledOptions::new([1; 32]))?;
    let opened = start.elapsed();
    let records = block_on(store.load(b""))?.records.len();
    let loaded = start.elapsed().saturating_sub(opened);
    let line = format!(
        "{{\"bench\":\"store_open\",\"records\":{records},\"open_ms\":{},\"load_ms\":{}}}",
        opened.as_millis(),
        loaded.as_millis()
    );
    writeln!(io::stdout(), "{line}")?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}

fn put(writer: u64, n: u64) -> Write {
    let key = format!("td/entry/{writer:03}/{:06}", n % KEYS);
    Write::Put(key.as_bytes().into(), vec![1; VALUE_BYTES].into())
}

fn id(writer: u64, n: u64) -> CommitId {
    CommitId(((u128::from(writer) << 64) | u128::from(n)).to_be_bytes())
}

fn commits(store: &Arc<Sled>, writers: u64) -> Result<(), Box<dyn Error>> {
    let start = now();
    let run = |writer| {
        let mut n = 0_u64;
        while start.elapsed() < RUN {
            let writes = vec![put(writer, n)];
            let commit = Commit {
                id: id(writer, n),
                conditions: Vec::new(),
                writes,
            };
            block_on(store.commit(commit)).map_err(|error| error.to_string())?;
            n = n.saturating_add(1);
        }
        Ok::<u64, String>(n)
    };
    let mut total = 0_u64;
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..writers)
            .map(|writer| scope.spawn(move || run(writer)))
            .collect();
        for thread in threads {
            total = total.saturating_add(thread.join().map_err(|_panic| "a thread panicked")??);
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    let per_second = u128::from(total) * 1_000_000 / start.elapsed().as_micros().max(1);
    writeln!(
        io::stdout(),
        "{{\"bench\":\"store_commit\",\"writers\":{writers},\"per_second\":{per_second}}}"
    )?;
    Ok(())
}

fn batches(store: &Sled) -> Result<(), Box<dyn Error>> {
    const BATCHES: u64 = 100;
    const PUTS: u64 = 500;
    let start = now();
    for batch in 0..BATCHES {
        let writes = (0..PUTS).map(|n| put(batch, n)).collect();
        let commit = Commit {
            id: id(batch, 0),
            conditions: Vec::new(),
            writes,
        };
        block_on(store.commit(commit))?;
    }
    let micros = start.elapsed().as_micros() / u128::from(BATCHES);
    let per_second = u128::from(PUTS) * 1_000_000 / micros.max(1);
    writeln!(
        io::stdout(),
        "{{\"bench\":\"store_batch\",\"puts\":{PUTS},\"us_per_batch\":{micros},\"puts_per_second\":{per_second}}}"
    )?;
    Ok(())
}
