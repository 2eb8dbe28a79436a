//! Where log lines and failures go: standard error, so that standard output
//! carries answers alone.

use std::io::{IsTerminal as _, Write as _};

use tracing_subscriber::EnvFilter;

use crate::failure::Failure;

/// Starts logging at `level`, as JSON lines or as text.
pub(crate) fn start(level: &str, json: bool) {
    // The cron crate reports its own construction at info.
    let quiet = format!("{level},tokio_cron_scheduler=warn");
    let filter = EnvFilter::try_new(quiet).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start (in tests) keeps the first one's settings.
    let _ = if json {
        builder.json().try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .try_init()
    };
}

/// Starts logging for a command: what people should know, without decoration.
pub(crate) fn start_for_command() {
    let builder = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("warn,cli=info"));
    let builder = builder
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false);
    let _ = builder
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// Writes a failure to standard error.
pub(crate) fn report(failure: &Failure) {
    // Nothing can be done when even that fails.
    let _ = writeln!(std::io::stderr(), "{failure}");
}
