//! Somebody who can write the audit log's files takes whole records out, swaps them,
//! rewrites one, or cuts the end off: `bulla audit verify` finds each against a head that
//! was kept elsewhere, also when the chain was made anew behind it.

use std::path::PathBuf;

use bulla_tests::{Domain, Ran, bulla};
use ring::digest::{SHA256, digest};
use serde_json::Value;

/// Where a segment's records begin, and the two places of its commit mark.
const RECORDS_AT: usize = 4096;
const MARKS_AT: [usize; 2] = [1024, 2048];
/// Of a record: magic, payload length, number, binding; its hash comes last.
const HEAD_BYTES: usize = 48;
const HASH_BYTES: usize = 32;

/// A segment of the log, taken apart.
#[derive(Clone)]
struct Segment {
    /// What is before the records.
    start: Vec<u8>,
    records: Vec<Vec<u8>>,
    /// Space that no record has taken yet.
    rest: Vec<u8>,
}

impl Segment {
    fn read(bytes: &[u8]) -> Self {
        let (mut at, mut records) = (RECORDS_AT, Vec::new());
        while bytes[at..].starts_with(b"BJR1") {
            let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
            let end = at + HEAD_BYTES + usize::try_from(length).unwrap() + HASH_BYTES;
            records.push(bytes[at..end].to_vec());
            at = end;
        }
        Self {
            start: bytes[..RECORDS_AT].to_vec(),
            records,
            rest: bytes[at..].to_vec(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.start[..], &self.records.concat(), &self.rest].concat()
    }

    /// Which record has the text, counted from 0.
    fn position(&self, text: &str) -> usize {
        let has = |record: &Vec<u8>| record.windows(text.len()).any(|w| w == text.as_bytes());
        self.records.iter().position(has).expect("the record")
    }

    /// Numbers, hashes and the commit mark as an untouched log with these records has
    /// them: what somebody does who knows the format.
    fn forged(mut self) -> Self {
        let first = u64::from_le_bytes(self.start[8..16].try_into().unwrap());
        let mut before = self.start[16..48].to_vec();
        for (number, record) in (first..).zip(&mut self.records) {
            record[8..16].copy_from_slice(&u64::to_le_bytes(number));
            let hashed = record.len() - HASH_BYTES;
            let hash = digest(&SHA256, &[&before[..], &record[..hashed]].concat());
            record[hashed..].copy_from_slice(hash.as_ref());
            before = hash.as_ref().to_vec();
        }
        let last = first - 1 + u64::try_from(self.records.len()).unwrap();
        let mark = [&last.to_le_bytes()[..], &before].concat();
        let mark = [&mark[..], digest(&SHA256, &mark).as_ref()].concat();
        for at in MARKS_AT {
            self.start[at..at + mark.len()].copy_from_slice(&mark);
        }
        self
    }
}

/// A log from which a record was taken, in which it was swapped with the next and edited,
/// and that ends before it.
fn tampered_with(whole: &Segment, victim: usize) -> [Segment; 4] {
    let with = |change: &dyn Fn(&mut Segment)| {
        let mut changed = whole.clone();
        change(&mut changed);
        changed
    };
    let deleted = with(&|log| drop(log.records.remove(victim)));
    let reordered = with(&|log| log.records.swap(victim, victim + 1));
    let edited = with(&|log| {
        let record = &mut log.records[victim];
        let name = record.windows(7).position(|w| w == b"/second").unwrap();
        record[name..name + 7].copy_from_slice(b"/nobody");
    });
    let cut_off = with(&|log| {
        log.records.truncate(victim);
        log.rest.clear();
    });
    [deleted, reordered, edited, cut_off]
}

fn verify(domain: &Domain, more: &[&str]) -> Ran {
    let mut command = bulla();
    command
        .args(["audit", "verify", "--json", "--dir"])
        .arg(domain.path("server/data/journal"));
    Ran::of(command.args(more))
}

fn segment(domain: &Domain) -> PathBuf {
    let folder = std::fs::read_dir(domain.path("server/data/journal")).unwrap();
    let mut segments = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "journal"));
    let only = segments.next().unwrap();
    assert_eq!(segments.next(), None, "all records are in one segment");
    only
}

#[test]
fn deleted_reordered_edited_and_cut_off_records_are_found_by_a_head_kept_elsewhere() {
    let mut domain = Domain::start();
    for service in ["/first", "/second", "/third"] {
        domain.register(service, []);
    }
    domain.stop();
    let head = verify(&domain, &[]).ok().json();
    let (seq, hash) = (head["seq"].to_string(), head["hash"].as_str().unwrap());
    let kept = ["--seq", &seq, "--hash", hash];
    assert_eq!(verify(&domain, &kept).ok().json()["intact"], true);

    let path = segment(&domain);
    let whole = Segment::read(&std::fs::read(&path).unwrap());
    let last = usize::try_from(head["seq"].as_u64().unwrap()).unwrap();
    let victim = whole.position("example.org/second");
    // The number that `verify` knows it by.
    let number = victim + 1;
    assert!(number + 1 < last, "records come after it");
    let [deleted, reordered, edited, cut_off] = tampered_with(&whole, victim);
    let missing = "record is missing: the tail was cut";
    let other = "record is not the one that was acknowledged";
    for (what, log, at, says, forged_at, forged_says) in [
        (
            "deleted",
            deleted,
            number,
            "record number is out of order",
            last,
            missing,
        ),
        (
            "reordered",
            reordered,
            number,
            "record number is out of order",
            last,
            other,
        ),
        (
            "edited",
            edited,
            number,
            "record does not continue the hash chain",
            last,
            other,
        ),
        (
            "cut off",
            cut_off,
            number,
            "record is missing",
            number,
            missing,
        ),
    ] {
        std::fs::write(&path, log.bytes()).unwrap();
        assert_found(what, &verify(&domain, &kept), at, says);
        // Made anew to the end the chain holds again: the kept head alone tells.
        std::fs::write(&path, log.forged().bytes()).unwrap();
        assert_eq!(verify(&domain, &[]).code, 0, "{what}, forged, no head");
        assert_found(what, &verify(&domain, &kept), forged_at, forged_says);
    }
    std::fs::write(&path, whole.bytes()).unwrap();
    let _ = verify(&domain, &kept).ok();
}

#[track_caller]
fn assert_found(what: &str, ran: &Ran, at: usize, says: &str) {
    assert_eq!(ran.code, 1, "{what}: {}", ran.out);
    let said = format!("the audit chain does not hold at record {at}: ");
    assert!(ran.err.contains(&said), "{what}: {said}: {}", ran.err);
    assert!(ran.err.contains(says), "{what}: {says}: {}", ran.err);
    let printed: Result<Value, _> = serde_json::from_str(&ran.out);
    let vouched = printed.is_ok_and(|printed| printed["intact"] == true);
    assert!(!vouched, "{what}: {}", ran.out);
}
