//! Whether a wall clock can be believed: against the newest record, and against the
//! machine's uptime. By a clock that cannot, nothing is signed and no key moves.
//! Pure: readings are arguments.

/// A clock this much behind the newest record is not believed, in milliseconds.
pub const MAX_REGRESSION_MS: i64 = 60_000;
/// A clock that ran ahead of the uptime by more than this has jumped, in milliseconds.
pub const MAX_JUMP_MS: i64 = 300_000;
/// The furthest jump that is believed without a restart, in milliseconds: a week.
pub const MAX_BELIEVED_JUMP_MS: i64 = 7 * 86_400_000;
/// How long a jump must stay before it is believed, in milliseconds of uptime.
pub const QUARANTINE_MS: i64 = 600_000;

/// Both clocks at one moment, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Since 1970, as somebody may have set it.
    pub wall: i64,
    /// Since the machine started, suspend included.
    pub uptime: i64,
}

impl Reading {
    const fn offset(self) -> i64 {
        self.wall.saturating_sub(self.uptime)
    }
}

/// A jump ahead that is not believed yet.
#[derive(Clone, Copy, Debug)]
struct Jump {
    since: i64,
    offset: i64,
}

/// What is known of one clock.
#[derive(Clone, Debug)]
pub struct Belief {
    /// The newest time in any record.
    newest: i64,
    /// Wall time less uptime, as last believed.
    offset: i64,
    jumped: Option<Jump>,
}

/// Why a clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// It is behind what was recorded by it.
    #[error(
        "this server's clock is {0} s behind its newest record; nothing is signed until it is right"
    )]
    Behind(i64),
    /// It ran ahead of the machine's uptime.
    #[error(
        "this server's clock jumped {0} s ahead of the machine's uptime; nothing is signed until it is right, or the server is restarted"
    )]
    Ahead(i64),
}

impl Belief {
    /// Believes the clock as it is now, unless records are newer than it.
    #[must_use]
    pub const fn new(now: Reading, newest_record_ms: i64) -> Self {
        Self {
            newest: newest_record_ms,
            offset: now.offset(),
            jumped: None,
        }
    }

    /// Whether to sign by this reading. A jump ahead that stays for a while is believed,
    /// as after a pause of the whole machine; one of more than days needs somebody to
    /// look.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&mut self, now: Reading) -> Result<(), Disbelief> {
        let behind = self.behind(now);
        if behind > MAX_REGRESSION_MS {
            return Err(Disbelief::Behind(behind / 1000));
        }
        let ahead = self.ahead(now);
        if ahead <= MAX_JUMP_MS {
            // What was put right has to stay as long again if it comes back.
            self.jumped = None;
            return Ok(());
        }
        let stays =
            |jump: &Jump| now.offset().saturating_sub(jump.offset).saturating_abs() <= MAX_JUMP_MS;
        let jump = self.jumped.filter(stays).unwrap_or_else(|| Jump {
            since: now.uptime,
            offset: now.offset(),
        });
        self.jumped = Some(jump);
        let waited = now.uptime.saturating_sub(jump.since);
        if ahead > MAX_BELIEVED_JUMP_MS || waited < QUARANTINE_MS {
            return Err(Disbelief::Ahead(ahead / 1000));
        }
        self.offset = now.offset();
        self.jumped = None;
        Ok(())
    }

    /// The time that records carry: the wall clock's, or, while that has jumped ahead,
    /// what the uptime says it would be.
    #[must_use]
    pub fn record_ms(&self, now: Reading) -> i64 {
        let ahead = self.ahead(now);
        if ahead <= MAX_JUMP_MS {
            return now.wall;
        }
        now.wall.saturating_sub(ahead)
    }

    /// Notes that a record was made just now.
    pub fn recorded(&mut self, now: Reading) {
        self.newest = self.newest.max(self.record_ms(now));
    }

    /// By how many milliseconds the clock stands behind the newest record.
    #[must_use]
    pub fn behind(&self, now: Reading) -> i64 {
        self.newest.saturating_sub(now.wall).max(0)
    }

    /// The newest time in any record.
    #[must_use]
    pub const fn newest_ms(&self) -> i64 {
        self.newest
    }

    /// Whether a jump ahead is waited out.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        self.jumped.is_some()
    }

    const fn ahead(&self, now: Reading) -> i64 {
        now.offset().saturating_sub(self.offset)
    }
}
