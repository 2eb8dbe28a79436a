//! kill -9 against real processes: nothing acknowledged is lost, and it always reopens.
//!
//! The parent starts this very program as the child, which opens a journal, appends from
//! 16 threads and prints each acknowledgement; the parent kills it after a while, reopens
//! and compares. The checker itself is tested against a journal that acknowledges early.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;
use std::{env, io, thread};

use journal::{Binding, Draft, Journal, Options, PlantedFault, Priority, read, verify};
use tempfile::TempDir;

type Outcome<T> = Result<T, Box<dyn Error>>;

const CHILD: &str = "--be-the-child";
const WRITERS: u32 = 16;
const KILLS_WHILE_WRITING: u32 = 160;
const KILLS_WHILE_OPENING: u32 = 40;
const KILLS_PER_JOURNAL: u32 = 20;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CHILD) {
        let dir = arguments.get(at.saturating_add(1)).ok_or("no directory")?;
        let honest = arguments
            .get(at.saturating_add(2))
            .is_some_and(|mode| mode == "honest");
        return child(Path::new(dir), honest);
    }
    kills_lose_nothing_acknowledged()?;
    the_checker_finds_a_journal_that_acknowledges_early()
}

fn options(honest: bool) -> Options {
    let fault = if honest {
        PlantedFault::None
    } else {
        PlantedFault::AckBeforeWrite
    };
    Options {
        segment_bytes: 256 << 10,
        fault,
        ..Options::default()
    }
}

/// Appends for ever; prints `seq hash` for each record, once it is acknowledged.
fn child(dir: &Path, honest: bool) -> Outcome<()> {
    writeln!(io::stdout(), "opening")?;
    let journal = Journal::open(dir, options(honest))?;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let journal = journal.clone();
            thread::spawn(move || -> Result<(), String> {
                let mut n = 0_u32;
                loop {
                    let payload = vec![writer.to_le_bytes()[0]; 200];
                    let binding = Binding::of(&[writer.to_be_bytes(), n.to_be_bytes()].concat());
                    let outcome = journal.append_blocking(vec![Draft {
                        priority: Priority::default(),
                        binding,
                        payload,
                    }]);
                    let receipts = outcome.map_err(|error| error.to_string())?;
                    let receipt = receipts.first().ok_or("no receipt")?;
                    let line = format!("{} {:?}\n", receipt.seq(), receipt.binding());
                    io::stdout()
                        .write_all(line.as_bytes())
                        .map_err(|error| error.to_string())?;
                    n = n.wrapping_add(1);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().map_err(|_panic| "a writer panicked")??;
    }
    Ok(())
}

fn spawn(dir: &Path, honest: bool) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg(CHILD)
        .arg(dir)
        .arg(if honest { "honest" } else { "early" });
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// Kills the child after `acks` acknowledgements, or `delay` after it began to open;
/// returns what it acknowledged.
fn run_and_kill(
    dir: &Path,
    honest: bool,
    acks: u32,
    delay: Duration,
) -> Outcome<Vec<(u64, String)>> {
    let mut child = spawn(dir, honest)?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("no pipe")?).lines();
    lines.next().ok_or("the child did not start")??;
    let mut acknowledged = Vec::new();
    let mut parse = |line: String| {
        // The last line may be cut by the kill.
        let parsed = line.split_once(' ').and_then(|(seq, binding)| {
            (binding.len() == 64).then_some((seq.parse().ok()?, binding.to_owned()))
        });
        acknowledged.extend(parsed);
    };
    for _ in 0..acks {
        let Some(line) = lines.next() else { break };
        parse(line?);
    }
    if acks == 0 {
        // A pause that nothing interrupts: the sender lives until it is over.
        let (_sender, receiver) = mpsc::channel::<()>();
        let _elapsed = receiver.recv_timeout(delay);
    }
    child.kill()?;
    for line in lines {
        parse(line?);
    }
    child.wait()?;
    Ok(acknowledged)
}

/// Reopens and looks for everything acknowledged.
fn check(dir: &Path, acknowledged: &[(u64, String)]) -> Outcome<()> {
    let journal = Journal::open(dir, options(true))?;
    let head = journal.head();
    journal.close();
    verify(dir, Some(&head))?;
    let Some(first) = acknowledged.iter().map(|(seq, _)| *seq).min() else {
        return Ok(());
    };
    let kept = read(dir, first)?
        .map(|stored| stored.map(|stored| (stored.seq, format!("{:?}", stored.binding))))
        .collect::<Result<std::collections::HashMap<_, _>, _>>()?;
    match acknowledged
        .iter()
        .find(|(seq, binding)| kept.get(seq) != Some(binding))
    {
        Some((seq, _)) => Err(format!("acknowledged record {seq} is lost").into()),
        None => Ok(()),
    }
}

fn kills_lose_nothing_acknowledged() -> Outcome<()> {
    let mut total = 0_usize;
    let mut dir = TempDir::new()?;
    for kill in 0..KILLS_WHILE_WRITING.saturating_add(KILLS_WHILE_OPENING) {
        if kill % KILLS_PER_JOURNAL == 0 {
            dir = TempDir::new()?;
        }
        let opening = kill % 5 == 4;
        // Spread over the life of a segment and over the microseconds of an open.
        let acks = if opening {
            0
        } else {
            kill.wrapping_mul(37) % 400 + 1
        };
        let delay = Duration::from_micros(u64::from(kill.wrapping_mul(89) % 3000));
        let acknowledged = run_and_kill(dir.path(), true, acks, delay)?;
        check(dir.path(), &acknowledged).map_err(|error| format!("kill {kill}: {error}"))?;
        total = total.saturating_add(acknowledged.len());
    }
    let kills = KILLS_WHILE_WRITING.saturating_add(KILLS_WHILE_OPENING);
    writeln!(
        io::stdout(),
        "ok: {kills} kills, {total} acknowledged, none lost"
    )?;
    Ok(())
}

fn the_checker_finds_a_journal_that_acknowledges_early() -> Outcome<()> {
    for kill in 0..50_u32 {
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
    Err("the checker missed a journal that acknowledges before it writes".into())
}
