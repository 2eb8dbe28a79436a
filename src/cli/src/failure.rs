//! How a command fails: what went wrong, what to do next, and the exit code a
//! script can rely on.

use std::fmt;
use std::process::ExitCode;

/// The exit codes of `bulla`, also listed in `bulla --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: the request was understood and refused, or a check did not hold.
    Refused,
    /// 2: the command line or a configuration file is wrong.
    Usage,
    /// 3: the server or agent cannot be reached, or is not ready.
    Unreachable,
    /// 4: what was named does not exist.
    NotFound,
}

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotFound => 4,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub exit: Exit,
    /// What went wrong, in one sentence.
    pub what: String,
    /// What to do next, when there is something to do.
    pub next: Option<String>,
    /// Whether it is only that nobody reads the answer any more.
    pub is_broken_pipe: bool,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            next: None,
            is_broken_pipe: false,
        }
    }

    /// A request that was refused or a check that did not hold.
    pub fn refused(what: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what)
    }

    /// A command line or file that is wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// A server or agent that does not answer.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, what)
    }

    /// The same failure with what to do next.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next = Some(step.into());
        self
    }

    /// The code the process ends with.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.exit.number())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            Some(step) => write!(f, "\n next: {step}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// What to do about a socket that cannot be opened: whoever may not open it is not helped
/// by starting another server.
pub(crate) fn advice(cause: &str, whose: &str, otherwise: &str) -> String {
    if cause.contains("Permission denied") {
        format!(
            "only root and the user that runs the {whose} may open it: become one of them (sudo)"
        )
    } else {
        otherwise.to_owned()
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        use tonic::Code;
        // So tonic says that whoever answered speaks HTTP, and no gRPC.
        if status.message().starts_with("grpc-status header missing") {
            return Self::usage("what answers there is not a Bulla server")
                .next("an agent's admin socket? name the server's with --admin-socket");
        }
        let exit = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Exit::Unreachable,
            Code::NotFound => Exit::NotFound,
            Code::InvalidArgument => Exit::Usage,
            _ => Exit::Refused,
        };
        Self::new(exit, status.message().to_owned())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self {
            is_broken_pipe: error.kind() == std::io::ErrorKind::BrokenPipe,
            ..Self::refused(format!("input or output failed: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u11_who_answers_no_grpc_is_not_a_server() {
        let said = "grpc-status header missing, mapped from HTTP status code 404";
        let failure = Failure::from(tonic::Status::unimplemented(said));
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.next.unwrap().contains("--admin-socket"));
    }

    #[test]
    fn u11_a_socket_that_may_not_be_opened_needs_another_user() {
        let denied = advice("Permission denied (os error 13)", "server", "start one");
        assert!(denied.contains("sudo"), "{denied}");
        assert_eq!(advice("No such file", "server", "start one"), "start one");
    }
}
