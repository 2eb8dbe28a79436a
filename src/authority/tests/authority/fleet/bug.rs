//! Defects to plant, and the invariant that each must be found by.

/// A defect of the shell around the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nobody is asked whether agents have the bundle.
    AcknowledgesAtOnce,
    /// What was sent counts as delivered.
    SentIsDelivered,
    /// A publication is reported before its commit, and the commit is lost.
    PublishesNothing,
    /// A retired key is said to have nothing outstanding.
    ForgetsWhatWasSigned,
    /// So it is after a crash.
    CrashForgetsWhatWasSigned,
    /// A retired key goes on signing.
    SignsAfterRetirement,
    /// Lifetimes are not clamped.
    OutlivesItsKey,
    /// After a crash the bundle's sequence starts anew.
    SequenceStartsAnew,
    /// Taint takes the key out of the bundle.
    TaintRemoves,
    /// A tainted key is revoked although agents hold what it signed.
    RevokesWhatIsHeld,
    /// A key signs as soon as agents know it, whatever relying parties keep.
    PublishesForNoTime,
    /// How long a key is public is measured by a clock that can be set.
    MeasuresByTheWall,
    /// The clock is believed, whatever it says.
    BelievesEveryClock,
    /// An agent that restarts has lost some of what it held.
    ForgetsAtRestart,
}

pub(crate) const BUGS: [Bug; 14] = [
    Bug::AcknowledgesAtOnce,
    Bug::SentIsDelivered,
    Bug::PublishesNothing,
    Bug::ForgetsWhatWasSigned,
    Bug::CrashForgetsWhatWasSigned,
    Bug::SignsAfterRetirement,
    Bug::OutlivesItsKey,
    Bug::SequenceStartsAnew,
    Bug::TaintRemoves,
    Bug::RevokesWhatIsHeld,
    Bug::PublishesForNoTime,
    Bug::MeasuresByTheWall,
    Bug::BelievesEveryClock,
    Bug::ForgetsAtRestart,
];

impl Bug {
    /// What finds it: the invariant that it breaks.
    pub(crate) const fn breaks(self) -> &'static str {
        match self {
            Self::AcknowledgesAtOnce
            | Self::SentIsDelivered
            | Self::PublishesForNoTime
            | Self::MeasuresByTheWall => "I1",
            Self::PublishesNothing
            | Self::ForgetsWhatWasSigned
            | Self::CrashForgetsWhatWasSigned
            | Self::SignsAfterRetirement
            | Self::TaintRemoves
            | Self::BelievesEveryClock
            | Self::RevokesWhatIsHeld => "I2",
            Self::OutlivesItsKey => "I3",
            Self::SequenceStartsAnew => "I10",
            Self::ForgetsAtRestart => "I11",
        }
    }
}
