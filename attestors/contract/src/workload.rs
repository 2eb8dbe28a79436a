//! Workload attestation: what a process is, as selectors.

use std::sync::Arc;

use identity::{Selector, SelectorError, Selectors};

use crate::{Process, ProcessError};

/// A workload attestor: states facts about a process.
///
/// A fact that is not so is left out; a fact that could not be found out is an
/// error, never left out silently. Entries match when all their selectors are
/// there, so what is missing can only narrow what a process gets.
pub trait Inspect: Send + Sync {
    /// The attestor's name, which is the kind of all selectors it states.
    fn kind(&self) -> &'static str;

    /// States what is known of `process`. May block; called off the event loop.
    ///
    /// # Errors
    /// Something that this attestor is configured to state could not be found
    /// out.
    fn inspect(&self, process: &dyn Process) -> Result<Vec<Selector>, InspectError>;
}

/// Why an attestor has no selectors to state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// The host could not answer.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// What was found makes no selector.
    #[error("the fact {what} makes no selector: {source}")]
    Selector {
        /// Which fact, such as "path".
        what: &'static str,
        /// What is wrong with it.
        source: SelectorError,
    },
    /// A service that the attestor asks did not answer. What could not be found out
    /// then may be missing, and closes what depends on it.
    #[error("{0}")]
    Unavailable(String),
    /// The attestor stated a selector that is not of its own kind.
    #[error("the attestor {0} stated a selector of another kind")]
    ForeignKind(&'static str),
    /// The attestors together stated more than a caller may have.
    #[error("too many selectors: {0}")]
    TooMany(SelectorError),
}

/// One configured attestor.
#[derive(Clone)]
pub struct Attestor {
    /// The attestor.
    pub inspect: Arc<dyn Inspect>,
    /// Whether the admin accepts that its selectors are missing when it fails.
    pub optional: bool,
}

/// What the attestors together stated of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// What they stated.
    pub selectors: Selectors,
    /// Optional attestors that failed: the admin accepts that their selectors are
    /// missing.
    pub skipped: Vec<&'static str>,
    /// Attestors that did not answer: nobody knows what they would have stated.
    pub unknown: Vec<&'static str>,
}

/// Asks all attestors about one process. The selectors of one that fails are
/// missing, all of them, where it is marked optional or is
/// [`InspectError::Unavailable`]; every other failure fails the call.
///
/// # Errors
/// The first failure that fails the call; always one that says that the process has
/// ended or changed.
pub fn inspect_all(attestors: &[Attestor], process: &dyn Process) -> Result<Stated, InspectError> {
    let mut all = Vec::new();
    let (mut skipped, mut unknown) = (Vec::new(), Vec::new());
    for attestor in attestors {
        let kind = attestor.inspect.kind();
        match attestor.inspect.inspect(process) {
            Ok(selectors) if selectors.iter().any(|s| s.kind() != kind) => {
                return Err(InspectError::ForeignKind(kind));
            }
            Ok(selectors) => all.extend(selectors),
            Err(error) if attestor.optional && !counts_always(&error) => skipped.push(kind),
            Err(InspectError::Unavailable(_)) => unknown.push(kind),
            Err(error) => return Err(error),
        }
    }
    Ok(Stated {
        selectors: Selectors::new(all).map_err(InspectError::TooMany)?,
        skipped,
        unknown,
    })
}

// The first three say that the process is not the one that called, and the last
// that the attestor is to be asked again: nobody may overlook them.
fn counts_always(error: &InspectError) -> bool {
    matches!(
        error,
        InspectError::Process(
            ProcessError::Gone
                | ProcessError::Changed(_)
                | ProcessError::Refused(_)
                | ProcessError::WouldBlock
        )
    )
}
