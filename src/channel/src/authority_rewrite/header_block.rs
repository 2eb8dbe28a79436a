//! One HPACK header block (RFC 7541 section 6): walk its representations and
//! overwrite the value of each `:authority` that an HTTP server would not accept.

use super::huffman::{self, Symbols};
use super::name_table::{Name, NameTable};

/// The block is not HPACK. What the peer's server makes of it is its business.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

const AUTHORITY: &[u8] = b":authority";

/// Makes every authority in `block` acceptable, without changing any length, and
/// keeps `names` in step. True when one was not acceptable.
pub(super) fn rewrite(block: &mut [u8], names: &mut NameTable) -> Result<bool, Malformed> {
    let mut walk = Walk {
        block,
        at: 0,
        replaced: false,
    };
    while let Some(first) = walk.block.get(walk.at).copied() {
        if first & 0x80 != 0 {
            // A whole earlier header: an authority among them was made
            // acceptable when it entered the table.
            let index = walk.integer(7)?;
            names.name(index).ok_or(Malformed)?;
        } else if first & 0x40 != 0 {
            let (name, value_length) = walk.literal(6, names)?;
            names.insert(name, value_length);
        } else if first & 0x20 != 0 {
            if !names.resize(walk.integer(5)?) {
                return Err(Malformed);
            }
        } else {
            walk.literal(4, names)?;
        }
    }
    Ok(walk.replaced)
}

struct Walk<'a> {
    block: &'a mut [u8],
    at: usize,
    replaced: bool,
}

/// Where a string's bytes lie, and how they are coded.
struct Text {
    start: usize,
    end: usize,
    huffman: bool,
}

impl Walk<'_> {
    /// An integer with a prefix of `bits` bits (section 5.1), below 2^28 or so.
    fn integer(&mut self, bits: u32) -> Result<u32, Malformed> {
        let mask = (1u32 << bits) - 1;
        let prefix = u32::from(self.byte()?) & mask;
        if prefix < mask {
            return Ok(prefix);
        }
        let mut value = prefix;
        for shift in [0, 7, 14, 21] {
            let byte = u32::from(self.byte()?);
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.block.get(self.at).copied().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    /// A name, by index or in full, and a value: the name and the value's
    /// decoded length.
    fn literal(&mut self, bits: u32, names: &NameTable) -> Result<(Name, u32), Malformed> {
        let name = match self.integer(bits)? {
            0 => {
                let text = self.text()?;
                self.spelled_name(&text)?
            }
            index => names.name(index).ok_or(Malformed)?,
        };
        let value = self.text()?;
        let length = self.decoded_length(&value)?;
        if name.is_authority && !self.acceptable(&value)? {
            self.replaced = true;
            self.replace(&value, length);
        }
        Ok((name, u32::try_from(length).or(Err(Malformed))?))
    }

    fn text(&mut self) -> Result<Text, Malformed> {
        let huffman = self.block.get(self.at).ok_or(Malformed)? & 0x80 != 0;
        let length = usize::try_from(self.integer(7)?).or(Err(Malformed))?;
        let start = self.at;
        let end = start.checked_add(length).ok_or(Malformed)?;
        if end > self.block.len() {
            return Err(Malformed);
        }
        self.at = end;
        Ok(Text {
            start,
            end,
            huffman,
        })
    }

    fn raw(&self, text: &Text) -> &[u8] {
        self.block.get(text.start..text.end).unwrap_or_default()
    }

    fn spelled_name(&self, text: &Text) -> Result<Name, Malformed> {
        let length = self.decoded_length(text)?;
        let is_authority = if text.huffman {
            Symbols::new(self.raw(text)).eq(AUTHORITY.iter().map(|byte| Ok(*byte)))
        } else {
            self.raw(text) == AUTHORITY
        };
        Ok(Name {
            length: u32::try_from(length).or(Err(Malformed))?,
            is_authority,
        })
    }

    fn decoded_length(&self, text: &Text) -> Result<usize, Malformed> {
        if !text.huffman {
            return Ok(text.end - text.start);
        }
        Symbols::new(self.raw(text)).try_fold(0, |n, symbol| match symbol {
            Ok(_) => Ok(n + 1),
            Err(huffman::BadCode) => Err(Malformed),
        })
    }

    /// Whether the server behind us takes the value: it asks the same parser.
    fn acceptable(&self, value: &Text) -> Result<bool, Malformed> {
        let raw = self.raw(value);
        let parsed = if value.huffman {
            let decoded: Vec<u8> = Symbols::new(raw)
                .collect::<Result<_, _>>()
                .or(Err(Malformed))?;
            http::uri::Authority::try_from(&decoded[..])
        } else {
            http::uri::Authority::try_from(raw)
        };
        Ok(parsed.is_ok())
    }

    fn replace(&mut self, value: &Text, decoded_length: usize) {
        let Some(raw) = self.block.get_mut(value.start..value.end) else {
            return;
        };
        if value.huffman {
            // No filler of that shape: left alone, so the server refuses it.
            let _filled = huffman::fill(raw, decoded_length);
        } else {
            raw.fill(b'a');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A literal with incremental indexing: its name by `index`, or spelled.
    fn literal(index: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = match index {
            0..63 => vec![0x40 | index],
            _ => vec![0x7f, index - 63],
        };
        if index == 0 {
            out.push(u8::try_from(name.len()).unwrap());
            out.extend(name);
        }
        out.push(u8::try_from(value.len()).unwrap());
        out.extend(value);
        out
    }

    #[test]
    fn an_authority_named_by_the_dynamic_table_is_found() {
        let mut names = NameTable::new();
        let mut block = literal(0, AUTHORITY, b"/tmp/a");
        block.extend(literal(62, b"", b"/tmp/b")); // the entry just made
        block.extend(literal(0, b"x-other", b"/tmp/c"));
        block.extend(literal(64, b"", b"/tmp/d")); // the oldest of three
        block.extend(literal(63, b"", b"/tmp/e")); // x-other
        assert_eq!(rewrite(&mut block, &mut names), Ok(true));
        let text = String::from_utf8_lossy(&block);
        for (value, kept) in [
            ("a", false),
            ("b", false),
            ("c", true),
            ("d", false),
            ("e", true),
        ] {
            assert_eq!(text.contains(&format!("/tmp/{value}")), kept, "{value}");
        }
        assert_eq!(text.matches("aaaaaa").count(), 3);
    }

    #[test]
    fn a_name_evicted_by_a_size_update_is_unknown() {
        let mut names = NameTable::new();
        assert_eq!(
            rewrite(&mut literal(0, AUTHORITY, b"a"), &mut names),
            Ok(false)
        );
        assert_eq!(rewrite(&mut [0x20], &mut names), Ok(false));
        assert_eq!(
            rewrite(&mut literal(62, b"", b"/"), &mut names),
            Err(Malformed)
        );
        // 4097 is more than our settings allow.
        assert_eq!(rewrite(&mut [0x3f, 0xe2, 0x1f], &mut names), Err(Malformed));
    }

    #[test]
    fn integers_end_within_five_bytes_and_strings_within_the_block() {
        let mut names = NameTable::new();
        let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let short_string = [0x41, 0x05, b'a'];
        let huge_string = [0x41, 0x7f, 0xff, 0xff, 0xff, 0x7f];
        for mut bad in [&long[..], &short_string, &huge_string, &[0x80], &[0x00]].map(Vec::from) {
            assert_eq!(rewrite(&mut bad, &mut names), Err(Malformed), "{bad:?}");
        }
    }
}
