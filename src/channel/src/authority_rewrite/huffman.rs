//! HPACK's Huffman code (RFC 7541 appendix B), as far as replacing needs it:
//! reading symbols, and writing a filler of a given number of symbols and bytes.
//!
//! The code is canonical, so the lengths alone define it: codes of one length
//! are consecutive, in the order of their symbols.

/// Bits of each symbol's code; the last one is EOS.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const LONGEST: usize = 30;
const END_OF_STRING: u16 = 256;

/// The canonical code, by length.
struct Canonical {
    /// The smallest code of each length.
    first_code: [u32; LONGEST + 1],
    /// How many codes have each length.
    count: [u32; LONGEST + 1],
    /// Where the symbols of each length begin in `symbols`.
    first_symbol: [usize; LONGEST + 1],
    /// All symbols by (length, value).
    symbols: [u16; 257],
}

const CODE: Canonical = canonical();

#[expect(
    clippy::indexing_slicing,
    reason = "runs at compile time, where a bad index is a build error"
)]
const fn canonical() -> Canonical {
    let mut code = Canonical {
        first_code: [0; LONGEST + 1],
        count: [0; LONGEST + 1],
        first_symbol: [0; LONGEST + 1],
        symbols: [0; 257],
    };
    let mut next_code = 0u32;
    let mut next_symbol = 0;
    let mut length = 1;
    while length <= LONGEST {
        next_code <<= 1;
        code.first_code[length] = next_code;
        code.first_symbol[length] = next_symbol;
        let mut symbol = 0u16;
        while symbol <= END_OF_STRING {
            if LENGTHS[symbol as usize] as usize == length {
                code.symbols[next_symbol] = symbol;
                code.count[length] += 1;
                next_symbol += 1;
                next_code += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    code
}

/// The bytes that a Huffman-coded string stands for, one at a time. `Err` is a
/// code that RFC 7541 section 5.2 forbids: EOS, or padding that is not up to
/// seven one-bits.
pub(super) struct Symbols<'a> {
    bytes: &'a [u8],
    bit: usize,
}

/// Not a Huffman-coded string.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadCode;

impl<'a> Symbols<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, bit: 0 }
    }

    fn next_bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.bit / 8)?;
        let bit = (byte >> (7 - self.bit % 8)) & 1;
        self.bit += 1;
        Some(u32::from(bit))
    }
}

impl Iterator for Symbols<'_> {
    type Item = Result<u8, BadCode>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut code = 0u32;
        for length in 1..=LONGEST {
            let Some(bit) = self.next_bit() else {
                let padding = length - 1;
                let all_ones = code == (1u32 << padding) - 1;
                return if padding < 8 && all_ones {
                    None
                } else {
                    Some(Err(BadCode))
                };
            };
            code = code << 1 | bit;
            if let Some(symbol) = symbol_of(code, length) {
                return Some(u8::try_from(symbol).or(Err(BadCode)));
            }
        }
        Some(Err(BadCode))
    }
}

fn symbol_of(code: u32, length: usize) -> Option<u16> {
    let nth = code.checked_sub(*CODE.first_code.get(length)?)?;
    if nth >= *CODE.count.get(length)? {
        return None;
    }
    let first = *CODE.first_symbol.get(length)?;
    CODE.symbols
        .get(first + usize::try_from(nth).ok()?)
        .copied()
}

/// `~`: thirteen bits.
const LONG: (u32, usize) = (0x1ffd, 13);
/// `a`: five bits, the fewest there are.
const SHORT: (u32, usize) = (0x3, 5);

/// Overwrites `out` with the code of a host name of exactly `symbols`
/// characters, so that neither the coded nor the decoded length changes.
///
/// False, with `out` untouched, when no such name exists: more than 13 bits for
/// each symbol, which takes backslashes, control characters or raw UTF-8.
pub(super) fn fill(out: &mut [u8], symbols: usize) -> bool {
    let Some(spare) = (out.len() * 8).checked_sub(symbols * SHORT.1) else {
        return false;
    };
    // A long symbol takes up eight spare bits; up to seven remain as padding.
    let long = spare / (LONG.1 - SHORT.1);
    if long > symbols {
        return false;
    }
    out.fill(0xff);
    let mut at = 0;
    for nth in 0..symbols {
        let (code, bits) = if nth < long { LONG } else { SHORT };
        for shift in (0..bits).rev() {
            if (code >> shift) & 1 == 0
                && let Some(byte) = out.get_mut(at / 8)
            {
                *byte &= !(0x80 >> (at % 8));
            }
            at += 1;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Vec<u8>, BadCode> {
        Symbols::new(bytes).collect()
    }

    #[test]
    fn reads_the_examples_of_rfc_7541() {
        // C.4.1 and C.4.3
        let authority = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        assert_eq!(decode(&authority).unwrap(), b"www.example.com");
        let value = [0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf];
        assert_eq!(decode(&value).unwrap(), b"custom-value");
    }

    #[test]
    fn refuses_bad_padding_and_eos() {
        assert_eq!(decode(&[0b0001_1000]), Err(BadCode)); // padding of zeros
        assert_eq!(decode(&[0b0001_1111, 0xff]), Err(BadCode)); // eleven bits of it
        assert_eq!(decode(&[0xff; 4]), Err(BadCode)); // EOS
        assert_eq!(decode(&[]), Ok(Vec::new()));
    }

    #[test]
    fn filler_keeps_both_lengths() {
        for bytes in 1..40usize {
            for symbols in 1..=bytes * 8 / 5 {
                let mut out = vec![0; bytes];
                if fill(&mut out, symbols) {
                    assert_eq!(decode(&out).unwrap().len(), symbols, "{bytes} {symbols}");
                } else {
                    assert!(bytes * 8 > symbols * 13, "{bytes} {symbols}");
                }
            }
        }
    }
}
