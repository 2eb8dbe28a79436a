//! kill -9 against real processes: nothing acknowledged is lost, no commit is seen in half,
//! and the store always reopens.
//!
//! The parent starts this very program as the child, which opens a store, commits from 16
//! threads and prints each acknowledgement; the parent kills it after a while, reopens and
//! compares. The checker itself is tested against a store that acknowledges without a flush.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{env, io, thread};

use store::sled_engine::{PlantedFault, Sled, SledOptions};
use store::{Commit, CommitId, Position, Resolution, Store, Write, block_on};
use tempfile::TempDir;

type Outcome<T> = Result<T, Box<dyn Error>>;

const CHILD: &str = "--be-the-child";
const WRITERS: u32 = 16;
/// Records each writer has at most: every commit puts one and deletes an older one.
const SLOTS: u32 = 16;
const KILLS_WHILE_WRITING: u32 = 150;
const KILLS_WHILE_OPENING: u32 = 50;
const KILLS_PER_STORE: u32 = 20;
/// Kills while commits of so many records are written.
const KILLS_OF_LARGE: u32 = 24;
const LARGE: u32 = 10_000;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CHILD) {
        let dir = arguments.get(at.saturating_add(1)).ok_or("no directory")?;
        let mode = arguments.get(at.saturating_add(2)).map(String::as_str);
        return match mode {
            Some("large") => large_child(Path::new(dir)),
            mode => child(Path::new(dir), mode == Some("honest")),
        };
    }
    kills_lose_nothing_acknowledged()?;
    a_commit_of_ten_thousand_is_whole_or_absent()?;
    the_checker_finds_a_store_that_does_not_flush()
}

fn open(dir: &Path, honest: bool) -> Outcome<Sled> {
    let fault = if honest {
        PlantedFault::None
    } else {
        PlantedFault::SkipFlush
    };
    Ok(Sled::open(
        dir,
        SledOptions {
            fault,
            ..SledOptions::new([7; 32])
        },
    )?)
}

fn last_key(writer: u32) -> String {
    format!("last/{writer:02}")
}

fn slot_key(writer: u32, n: u32) -> String {
    format!("slot/{writer:02}/{:02}", n % SLOTS)
}

/// Commit `n` of a writer: its newest number, a record, and the end of an older record.
fn writes(writer: u32, n: u32) -> Vec<Write> {
    let put = |key: String, bytes: usize| {
        Write::Put(
            key.as_bytes().into(),
            n.to_be_bytes().repeat(bytes / 4).into(),
        )
    };
    let older = slot_key(writer, n.wrapping_add(SLOTS / 2));
    vec![
        put(last_key(writer), 4),
        put(slot_key(writer, n), 240),
        Write::Delete(older.as_bytes().into()),
    ]
}

fn id(writer: u32, n: u32) -> CommitId {
    CommitId(((u128::from(writer) << 64) | u128::from(n)).to_be_bytes())
}

/// The number of the writer's newest commit, 0 if there is none.
fn newest(store: &dyn Store, writer: u32) -> Outcome<u32> {
    let value = block_on(store.get(last_key(writer).as_bytes()))?;
    Ok(value.map_or(Ok(0), |value| {
        value.as_ref().try_into().map(u32::from_be_bytes)
    })?)
}

/// Commits for ever; prints `writer n revision` for each commit, once it is acknowledged.
fn child(dir: &Path, honest: bool) -> Outcome<()> {
    writeln!(io::stdout(), "opening")?;
    let store = Arc::new(open(dir, honest)?);
    let threads: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            thread::spawn(move || -> Result<(), String> {
                let mut n = newest(&*store, writer).map_err(|error| error.to_string())?;
                loop {
                    n = n.wrapping_add(1);
                    let commit = Commit {
                        id: id(writer, n),
                        conditions: vec![],
                        writes: writes(writer, n),
                    };
                    let outcome = block_on(store.commit(commit));
                    let position = outcome.map_err(|error| error.to_string())?;
                    let line = format!("{writer} {n} {} .\n", position.revision);
                    io::stdout()
                        .write_all(line.as_bytes())
                        .map_err(|error| error.to_string())?;
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_panic| "a writer panicked")??;
    }
    Ok(())
}

struct Acknowledged {
    writer: u32,
    n: u32,
    revision: u64,
}

fn parse(line: &str) -> Option<Acknowledged> {
    let mut words = line.split(' ');
    let writer = words.next()?.parse().ok()?;
    let n = words.next()?.parse().ok()?;
    let revision = words.next()?.parse().ok()?;
    // The kill may have cut the line.
    (words.next()? == ".").then_some(Acknowledged {
        writer,
        n,
        revision,
    })
}

fn spawn(dir: &Path, mode: &str) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.arg(CHILD).arg(dir).arg(mode);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// Kills the child after `acks` acknowledgements, or `delay` after it began to open;
/// returns what it acknowledged.
fn run_and_kill(
    dir: &Path,
    honest: bool,
    acks: u32,
    delay: Duration,
) -> Outcome<Vec<Acknowledged>> {
    let mut child = spawn(dir, if honest { "honest" } else { "unflushed" })?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    lines.next().ok_or("the child did not start")??;
    let mut acknowledged = Vec::new();
    for _ in 0..acks {
        let Some(line) = lines.next() else {
            return Err("the child ended by itself".into());
        };
        acknowledged.extend(parse(&line?));
    }
    if acks == 0 {
        // A pause that nothing interrupts: the sender lives until it is over.
        let (_sender, receiver) = mpsc::channel::<()>();
        let _elapsed = receiver.recv_timeout(delay);
    }
    child.kill()?;
    for line in lines {
        acknowledged.extend(parse(&line?));
    }
    child.wait()?;
    Ok(acknowledged)
}

/// Reopens, and compares every record with what the writer's newest commit implies.
fn check(dir: &Path, acknowledged: &[Acknowledged]) -> Outcome<()> {
    let store = open(dir, true)?;
    let head = store.head();
    let mut expected = BTreeMap::new();
    for writer in 0..WRITERS {
        let newest = newest(&store, writer)?;
        for n in newest.saturating_sub(2 * SLOTS).max(1)..newest.saturating_add(1) {
            for write in writes(writer, n) {
                match write {
                    Write::Put(key, value) => expected.insert(key, value),
                    Write::Delete(key) => expected.remove(&key),
                };
            }
        }
        let mine = acknowledged.iter().filter(|it| it.writer == writer);
        let Some(last) = mine.max_by_key(|it| it.n) else {
            continue;
        };
        if last.n > newest {
            return Err(format!("commit {} of writer {writer} is lost", last.n).into());
        }
        let resolved = block_on(store.resolve(id(writer, last.n)))?;
        let position = Position {
            revision: last.revision,
            ..head
        };
        if resolved != Resolution::Committed(position) {
            return Err(format!("an acknowledged commit resolves to {resolved:?}").into());
        }
    }
    let found: BTreeMap<_, _> = block_on(store.load(b""))?.records.into_iter().collect();
    block_on(store.close());
    if found == expected {
        Ok(())
    } else {
        Err("a commit was applied in half".into())
    }
}

fn kills_lose_nothing_acknowledged() -> Outcome<()> {
    let mut total = 0_usize;
    let mut dir = TempDir::new()?;
    let kills = KILLS_WHILE_WRITING.saturating_add(KILLS_WHILE_OPENING);
    for kill in 0..kills {
        if kill % KILLS_PER_STORE == 0 {
            dir = TempDir::new()?;
        }
        let opening = kill % 4 == 3;
        let acks = if opening {
            0
        } else {
            kill.wrapping_mul(37) % 300 + 1
        };
        // Spread over creation, recovery, the snapshot and the verification.
        let delay = Duration::from_micros(u64::from(kill.wrapping_mul(89) % 120 * 200));
        let acknowledged = run_and_kill(dir.path(), true, acks, delay)?;
        check(dir.path(), &acknowledged).map_err(|error| format!("kill {kill}: {error}"))?;
        total = total.saturating_add(acknowledged.len());
    }
    writeln!(
        io::stdout(),
        "ok: {kills} kills, {total} acknowledged, none lost"
    )?;
    Ok(())
}

/// Commit `n` of large ones: each of its records says `n`.
fn large(n: u32) -> Commit {
    let put = |record: u32| {
        let key = format!("large/{record:05}");
        Write::Put(key.as_bytes().into(), n.to_be_bytes().repeat(40).into())
    };
    Commit {
        id: id(WRITERS, n),
        conditions: vec![],
        writes: (0..LARGE).map(put).collect(),
    }
}

fn open_for_large(dir: &Path) -> Outcome<Sled> {
    let limits = store::Limits {
        max_operations: LARGE as usize,
        max_commit_bytes: 16 << 20,
        ..store::Limits::default()
    };
    Ok(Sled::open(
        dir,
        SledOptions {
            limits,
            ..SledOptions::new([7; 32])
        },
    )?)
}

/// Commits large ones for ever; prints the number of each before and after it.
fn large_child(dir: &Path) -> Outcome<()> {
    let store = open_for_large(dir)?;
    let newest = newest_large(&store)?.unwrap_or(0);
    for n in newest.saturating_add(1).. {
        writeln!(io::stdout(), "begun {n}")?;
        block_on(store.commit(large(n)))?;
        writeln!(io::stdout(), "done {n}")?;
    }
    Ok(())
}

/// The one commit that all records are of; `None` when there is no record.
fn newest_large(store: &Sled) -> Outcome<Option<u32>> {
    let records = block_on(store.load(b"large/"))?.records;
    let Some((_, first)) = records.first() else {
        return Ok(None);
    };
    let torn = records.iter().filter(|(_, value)| value != first).count();
    if torn > 0 || records.len() != LARGE as usize {
        return Err(format!("{} records, {torn} of another commit", records.len()).into());
    }
    let number = first.first_chunk().ok_or("a record without its number")?;
    Ok(Some(u32::from_be_bytes(*number)))
}

/// Kills a child in the middle of large commits, `acks` acknowledgements and `delay`
/// after it began: the last commit that was begun and the last acknowledged.
fn kill_large(dir: &Path, acks: u32, delay: Duration) -> Outcome<(u32, u32)> {
    let mut child = spawn(dir, "large")?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    let mut said = vec![lines.next().ok_or("the child did not start")??];
    for _ in 0..acks {
        said.push(lines.next().ok_or("the child ended by itself")??);
    }
    let (_sender, receiver) = mpsc::channel::<()>();
    let _elapsed = receiver.recv_timeout(delay);
    child.kill()?;
    child.wait()?;
    for line in lines {
        said.push(line?);
    }
    let last = |word: &str| -> u32 {
        let numbers = said.iter().filter_map(|line| line.strip_prefix(word));
        numbers.filter_map(|n| n.parse().ok()).max().unwrap_or(0)
    };
    Ok((last("begun "), last("done ")))
}

fn a_commit_of_ten_thousand_is_whole_or_absent() -> Outcome<()> {
    let dir = TempDir::new()?;
    let (mut whole, mut absent) = (0_u32, 0_u32);
    for kill in 0..KILLS_OF_LARGE {
        // Some in the first commit of a process, some after it: an acknowledgement may
        // come at any moment of the delay, which is spread over a commit.
        let delay = Duration::from_millis(u64::from(kill.wrapping_mul(7) % KILLS_OF_LARGE * 20));
        let (begun, acknowledged) = kill_large(dir.path(), kill % 2, delay)?;
        let store = open_for_large(dir.path())?;
        let found = newest_large(&store).map_err(|error| format!("kill {kill}: {error}"))?;
        block_on(store.close());
        if found.unwrap_or(0) < acknowledged {
            return Err(format!("kill {kill}: commit {acknowledged} is lost").into());
        }
        if found == Some(begun) {
            whole = whole.saturating_add(1);
        } else {
            absent = absent.saturating_add(1);
        }
    }
    writeln!(
        io::stdout(),
        "ok: {KILLS_OF_LARGE} kills in commits of {LARGE}: the last begun was whole {whole} times, \
         absent {absent} times, never in half"
    )?;
    Ok(())
}

fn the_checker_finds_a_store_that_does_not_flush() -> Outcome<()> {
    for kill in 0..20_u32 {
        let dir = TempDir::new()?;
        let acks = kill.wrapping_mul(13) % 200 + 20;
        let acknowledged = run_and_kill(dir.path(), false, acks, Duration::ZERO)?;
        if let Err(found) = check(dir.path(), &acknowledged) {
            writeln!(
                io::stdout(),
                "ok: the planted bug was found at kill {kill}: {found}"
            )?;
            return Ok(());
        }
    }
    Err("the checker missed a store that acknowledges without a flush".into())
}
