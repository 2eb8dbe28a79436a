//! How deep the expressions of a Cedar text nest, found without recursion, before
//! Cedar reads it: its parser, its validator and what prints a condition call
//! themselves once for each level, and a stack that overflows ends the process.
//!
//! Two measures, both never below the truth. *Nesting* counts what makes the parser
//! itself recurse through all of its grammar: brackets of every kind, and `if`.
//! *Depth* counts every level of the tree that comes of it: operators, attribute
//! accesses and calls in a row make a tree as deep as the row is long.

use policy::Fault;
use policy::limits::{POLICY_DEPTH_MAX, POLICY_NESTING_MAX};

/// How deep one text nests at its deepest place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Brackets and `if`s around one place.
    pub(crate) nesting: usize,
    /// Levels of the tree.
    pub(crate) depth: usize,
    /// Policies: how many `;` end one.
    pub(crate) policies: usize,
}

/// Measures a text and holds it to the limits.
///
/// # Errors
/// It nests too deep, or its brackets do not match: then its depth is not known, and
/// Cedar would not accept it either.
pub(crate) fn measure(file: &str, text: &str) -> Result<Shape, Fault> {
    let mut scan = Scan {
        text,
        at: 0,
        open: vec![Level::default()],
        found: Shape::default(),
    };
    scan.run().map_err(|(at, what, next)| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64;
        Fault::error(file, Some(line), what).next(next)
    })
}

/// Where, what, and what to do.
type Wrong = (usize, String, &'static str);

/// One bracket that is open, or the policy that contains them. Cedar's grammar has
/// operands of `||` of operands of `&&` of everything else, and each kind is counted by
/// itself: a long list of short alternatives is not deep twice.
#[derive(Default)]
struct Level {
    /// The bracket that closes it; 0 for the policy itself.
    closes: u8,
    /// Where it was opened.
    at: usize,
    /// `if`s since the last comma.
    ifs: usize,
    /// `||` since the last comma.
    ors: usize,
    /// The deepest operand of `||` that has ended.
    alternative: usize,
    /// `&&` since the last `||`.
    ands: usize,
    /// The deepest operand of `&&` that has ended since the last `||`.
    conjunct: usize,
    /// Other operators, accesses and brackets since the last `&&`.
    links: usize,
    /// The deepest bracket that was closed since the last `&&`.
    inside: usize,
    /// Brackets and `if`s in the deepest bracket since the last comma.
    nested: usize,
    /// The deepest of what commas have ended.
    before: Deepest,
}

#[derive(Clone, Copy, Default)]
struct Deepest {
    nesting: usize,
    depth: usize,
}

impl Deepest {
    fn or(self, other: Self) -> Self {
        Self {
            nesting: self.nesting.max(other.nesting),
            depth: self.depth.max(other.depth),
        }
    }
}

impl Level {
    fn and(&mut self) {
        self.conjunct = self.conjunct.max(self.links + self.inside);
        self.ands += 1;
        (self.links, self.inside) = (0, 0);
    }

    fn or(&mut self) {
        self.alternative = self.alternative.max(self.operand());
        self.ors += 1;
        (self.ands, self.conjunct, self.links, self.inside) = (0, 0, 0, 0);
    }

    /// The depth of the operand of `||` that is being read.
    fn operand(&self) -> usize {
        self.ands + self.conjunct.max(self.links + self.inside)
    }

    /// Ends an element at a comma.
    fn part(&mut self) {
        let (closes, at, before) = (self.closes, self.at, self.total());
        *self = Self {
            closes,
            at,
            before,
            ..Self::default()
        };
    }

    fn total(&self) -> Deepest {
        self.before.or(Deepest {
            nesting: self.ifs + self.nested,
            depth: self.ifs + self.ors + self.alternative.max(self.operand()),
        })
    }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Level>,
    found: Shape,
}

impl Scan<'_> {
    fn run(&mut self) -> Result<Shape, Wrong> {
        while let Some(byte) = self.peek(0) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'/' if self.peek(0) == Some(b'/') => self.comment(),
                b'"' => self.string(start)?,
                b'(' => self.opens(start, b')')?,
                b'[' => self.opens(start, b']')?,
                b'{' => self.opens(start, b'}')?,
                b')' | b']' | b'}' => self.closes(start, byte)?,
                b',' => self.level(Level::part),
                b';' => self.ends(start)?,
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => self.word(start),
                b'&' => self.pair(b'&', Level::and),
                b'|' => self.pair(b'|', Level::or),
                b'<' | b'>' | b'=' | b'!' => self.pair(b'=', |level| level.links += 1),
                b'+' | b'-' | b'*' | b'/' | b'%' | b'.' => self.level(|level| level.links += 1),
                _ => {}
            }
            self.within(start)?;
        }
        match self.open.last() {
            Some(level) if level.closes != 0 => Err(unclosed(level.at)),
            _ => {
                self.end();
                Ok(self.found)
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn level(&mut self, change: impl FnOnce(&mut Level)) {
        if let Some(level) = self.open.last_mut() {
            change(level);
        }
    }

    /// An operator of one byte, or of two with `second`.
    fn pair(&mut self, second: u8, change: impl FnOnce(&mut Level)) {
        self.at += usize::from(self.peek(0) == Some(second));
        self.level(change);
    }

    fn comment(&mut self) {
        while !matches!(self.peek(0), None | Some(b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn string(&mut self, start: usize) -> Result<(), Wrong> {
        loop {
            match self.peek(0) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => {
                    let what = "the string that begins here has no end".to_owned();
                    return Err((start, what, "close it with a quote"));
                }
            }
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, start: usize) {
        while self
            .peek(0)
            .is_some_and(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
        {
            self.at += 1;
        }
        match self.text.as_bytes().get(start..self.at) {
            Some(b"if") => self.level(|level| level.ifs += 1),
            Some(b"in" | b"has" | b"like" | b"is") => self.level(|level| level.links += 1),
            // Several conditions of one policy become operands of one `&&`.
            Some(b"when" | b"unless") => self.level(Level::and),
            _ => {}
        }
    }

    /// An open bracket deepens what it stands in, too: calls and indexes in a row are
    /// one inside the other.
    fn opens(&mut self, at: usize, closes: u8) -> Result<(), Wrong> {
        self.level(|level| level.links += 1);
        if self.open.len() > POLICY_NESTING_MAX {
            return Err(too_deep(at));
        }
        self.open.push(Level {
            closes,
            at,
            ..Level::default()
        });
        Ok(())
    }

    fn closes(&mut self, at: usize, byte: u8) -> Result<(), Wrong> {
        let level = self.open.pop_if(|level| level.closes == byte);
        let Some(level) = level else {
            let what = format!("the bracket {} closes none that is open", char::from(byte));
            return Err((at, what, "remove it, or open it"));
        };
        let inner = level.total();
        self.level(|outer| {
            outer.nested = outer.nested.max(inner.nesting + 1);
            outer.inside = outer.inside.max(inner.depth + 1);
        });
        Ok(())
    }

    /// The end of a policy.
    fn ends(&mut self, at: usize) -> Result<(), Wrong> {
        match self.open.last() {
            Some(level) if level.closes != 0 => Err(unclosed(level.at)),
            _ => {
                self.found.policies += 1;
                self.end();
                self.within(at)
            }
        }
    }

    fn end(&mut self) {
        let mut total = Deepest::default();
        self.level(|level| {
            level.part();
            total = std::mem::take(&mut level.before);
        });
        self.found.nesting = self.found.nesting.max(total.nesting);
        self.found.depth = self.found.depth.max(total.depth);
    }

    /// Stops at the first place that is too deep, for its line.
    fn within(&self, at: usize) -> Result<(), Wrong> {
        let Some(level) = self.open.last() else {
            return Ok(());
        };
        let here = level.total();
        if here.nesting > POLICY_NESTING_MAX || here.depth > POLICY_DEPTH_MAX {
            return Err(too_deep(at));
        }
        Ok(())
    }
}

fn unclosed(at: usize) -> Wrong {
    let what = "the bracket that is opened here is not closed".to_owned();
    (at, what, "close it")
}

fn too_deep(at: usize) -> Wrong {
    let what = format!(
        "the policy nests too deep: at most {POLICY_NESTING_MAX} brackets and ifs inside one another, \
         and {POLICY_DEPTH_MAX} operators, accesses and brackets in one condition"
    );
    (
        at,
        what,
        "split it into several policies, or compare with a set",
    )
}
