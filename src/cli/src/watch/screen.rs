//! The terminal: taken over for as long as [`Screen`] lives, and given back as it
//! was however the watching ends.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use tokio::sync::oneshot;

use super::picture::{Line, Size, Style};

/// Used when the terminal does not say.
const USUAL: Size = Size {
    rows: 24,
    columns: 80,
};
/// No picture is made larger.
const MOST: Size = Size {
    rows: 500,
    columns: 500,
};

/// Whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The size of the terminal at standard output.
pub(super) fn size() -> Size {
    let said = rustix::termios::tcgetwinsize(io::stdout());
    let Ok(said) = said else { return USUAL };
    match (usize::from(said.ws_row), usize::from(said.ws_col)) {
        (0, _) | (_, 0) => USUAL,
        (rows, columns) => Size {
            rows: rows.min(MOST.rows),
            columns: columns.min(MOST.columns),
        },
    }
}

/// The terminal while a picture is on it.
pub(super) struct Screen {
    tty: File,
    before: Termios,
}

impl Screen {
    /// Takes the terminal over: no echo, keys at once, a screen of its own. With it
    /// comes what tells that a key asked for the end, or that the terminal is gone.
    ///
    /// # Errors
    /// There is no terminal to read keys from.
    pub(super) fn open() -> io::Result<(Self, oneshot::Receiver<()>)> {
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        let before = rustix::termios::tcgetattr(&tty)?;
        let mut ours = before.clone();
        // Ctrl-C still ends the command as everywhere; Ctrl-Z would leave a shell on
        // a screen that is not its own.
        ours.local_modes -= LocalModes::ICANON | LocalModes::ECHO;
        ours.special_codes[SpecialCodeIndex::VSUSP] = 0;
        let keys = tty.try_clone()?;
        rustix::termios::tcsetattr(&tty, OptionalActions::Now, &ours)?;
        let screen = Self { tty, before };
        // Another screen, no cursor.
        write(b"\x1b[?1049h\x1b[?25l\x1b[2J")?;
        let (end, ended) = oneshot::channel();
        // A thread of its own, which ends with the process: reading a terminal cannot
        // be called off.
        std::thread::spawn(move || {
            wait_for_quit(keys);
            // The watching may have ended otherwise.
            let _ = end.send(());
        });
        Ok((screen, ended))
    }

    /// Draws.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(super) fn draw(&self, lines: &[Line]) -> io::Result<()> {
        write(&frame(lines))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nothing can be done when even that fails.
        let _ = write(b"\x1b[?25h\x1b[?1049l");
        let _ = rustix::termios::tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

/// Reads keys until one asks for the end, or the terminal is gone.
fn wait_for_quit(mut keys: File) {
    let mut typed = [0; 64];
    loop {
        match keys.read(&mut typed) {
            Ok(0) => return,
            Ok(count) => {
                let typed = typed.get(..count).unwrap_or_default();
                if typed.iter().any(|key| matches!(key, b'q' | b'Q' | 0x03)) {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_gone) => return,
        }
    }
}

/// One picture as bytes: drawn over the last one, not after it is wiped, so that
/// nothing flickers.
fn frame(lines: &[Line]) -> Vec<u8> {
    let mut frame = b"\x1b[H".to_vec();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            frame.push(b'\n');
        }
        let (on, off) = match line.style {
            Style::Plain => ("", ""),
            Style::Bold => ("\x1b[1m", "\x1b[0m"),
            Style::Dim => ("\x1b[2m", "\x1b[0m"),
            Style::Alarm => ("\x1b[33m", "\x1b[0m"),
        };
        for part in [on, &line.text, off, "\x1b[K"] {
            frame.extend_from_slice(part.as_bytes());
        }
    }
    frame.extend_from_slice(b"\x1b[J");
    frame
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
