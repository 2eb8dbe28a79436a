//! Changes to an input: bytes, blocks, repetitions, nesting, words of the format.

use crate::chance::Chance;

/// The longest input that is made: longer than any bound under test but the
/// largest files, short enough to try thousands a second.
pub(crate) const LONGEST: usize = 96 << 10;

/// Pairs that formats nest: each is repeated to depths that no sender needs.
const NESTS: &[(&[u8], &[u8])] = &[
    (b"(", b")"),
    (b"[", b"]"),
    (b"{", b"}"),
    (b"{\"a\":", b"}"),
    (b"{a:", b"}"),
    (b"!", b""),
    (b"-", b""),
    (b"- ", b""),
    (b"0\x80", b"\x00\x00"),
    (b"if true then ", b" else false"),
];

/// Makes a new input from one of `inputs`, with `words` of the format.
pub(crate) fn mutated(chance: &mut Chance, inputs: &[Vec<u8>], words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = inputs
        .get(chance.below(inputs.len()))
        .cloned()
        .unwrap_or_default();
    for _ in 0..=chance.below(6) {
        change(chance, &mut bytes, inputs, words);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, inputs: &[Vec<u8>], words: &[&[u8]]) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(13) {
        0 => flip(chance, bytes),
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = chance.byte();
            }
        }
        2 => {
            let extreme = [0, 1, 0x7f, 0x80, 0xff, b'\n', b'"', b'\\'];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = extreme[chance.below(extreme.len())];
            }
        }
        3 => remove(chance, bytes, at),
        4 => bytes.truncate(at),
        5 => repeat(chance, bytes, at),
        6 => number(chance, bytes, at),
        7 | 8 if !words.is_empty() => insert(bytes, at, chance.pick(words)),
        9 => splice(chance, bytes, at, inputs),
        10 => nest(chance, bytes, at),
        11 => swap(chance, bytes),
        _ => {
            let random: Vec<u8> = (0..chance.below(9)).map(|_| chance.byte()).collect();
            insert(bytes, at, &random);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, word: &[u8]) {
    bytes.splice(at..at, word.iter().copied());
}

fn flip(chance: &mut Chance, bytes: &mut [u8]) {
    let at = chance.below(bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << chance.below(8);
    }
}

fn remove(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let end = bytes.len().min(at + 1 + chance.below(32));
    bytes.drain(at.min(end)..end);
}

fn repeat(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let end = bytes.len().min(at + 1 + chance.below(64));
    let block = bytes[at.min(end)..end].to_vec();
    let most = LONGEST.saturating_sub(bytes.len()) / block.len().max(1);
    let few = if chance.one_in(8) { most } else { most.min(16) };
    insert(bytes, at, &block.repeat(chance.below(few + 1)));
}

/// Replaces a run of digits by a number at some type's edge, or inserts one.
fn number(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let edges: &[&str] = &[
        "0",
        "-1",
        "1e400",
        "4294967296",
        "9223372036854775807",
        "18446744073709551616",
        "99999999999999999999999999999999",
        "0.5",
    ];
    let digits = bytes.iter().skip(at).take_while(|b| b.is_ascii_digit());
    let end = at + digits.count();
    bytes.splice(at..end, chance.pick(edges).bytes());
}

fn splice(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize, inputs: &[Vec<u8>]) {
    if let Some(other) = inputs.get(chance.below(inputs.len())) {
        let from = chance.below(other.len() + 1);
        bytes.truncate(at);
        bytes.extend_from_slice(&other[from..]);
    }
}

/// Nests what follows a place to a depth between one and thousands.
fn nest(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let (open, close) = NESTS[chance.below(NESTS.len())];
    let depth = 1 << chance.below(14);
    let end = bytes.len().min(at + chance.below(8));
    insert(bytes, end, &close.repeat(depth));
    insert(bytes, at, &open.repeat(depth));
}

fn swap(chance: &mut Chance, bytes: &mut [u8]) {
    let (a, b) = (chance.below(bytes.len()), chance.below(bytes.len()));
    if a < bytes.len() && b < bytes.len() {
        bytes.swap(a, b);
    }
}
