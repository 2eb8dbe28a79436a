//! Runs the long-lived parts (`bulla server`, `bulla agent`) and decides which
//! runtime a command gets.

use std::path::{Path, PathBuf};

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::command::{AgentArgs, AgentCommand, AgentOverrides, Command, ServerArgs, ServerCommand};
use crate::failure::Failure;
use crate::output::Output;
use crate::{admin, config_line, dev, logging, talk};

/// The environment variable an agent's join token comes in.
const JOIN_TOKEN: &str = "BULLA_JOIN_TOKEN";

/// Runs any command of `bulla`.
///
/// # Errors
/// As the command fails.
pub(crate) fn run(command: Command, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Server(args) => server(args, out),
        Command::Agent(args) => agent(args, out),
        Command::Dev(args) => {
            logging::start_for_command();
            let program = std::env::current_exe()?;
            runtime(2)?.block_on(dev::run(args, program, out, dev::shutdown_signal()))
        }
        command => {
            logging::start_for_command();
            Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(talk(command, out))
        }
    }
}

/// Threads that serve workloads: one for each core, within reason. A second one serves
/// while the first waits for a file, also where there is one core alone.
fn agent_workers() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 16))
}

fn runtime(workers: usize) -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?)
}

fn chain(error: &dyn std::error::Error) -> String {
    let cause = admin::root_cause(error);
    let what = error.to_string();
    if what == cause {
        what
    } else {
        format!("{what}: {cause}")
    }
}

/// What is wrong with a file's key, with the line that holds it.
fn located(path: &Path, key: Option<&str>, what: impl std::fmt::Display) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match key.and_then(|key| config_line::of(&text, key)) {
        Some(line) => format!("{}:{line}: {what}", path.display()),
        None => format!("{}: {what}", path.display()),
    }
}

fn load_server(path: &Path) -> Result<server::Settings, Failure> {
    use server::ConfigError;
    let refused = |error: ConfigError| {
        Failure::usage(match &error {
            // It names the file itself.
            ConfigError::File { .. } => chain(&error),
            ConfigError::Value { key, .. } => located(path, Some(key), chain(&error)),
            ConfigError::Syntax(_) => located(path, None, chain(&error)),
        })
    };
    let config = server::Config::load(path).map_err(refused)?;
    config.check().map_err(refused)
}

fn load_agent(path: &Path) -> Result<agent::Config, Failure> {
    agent::Config::from_file(path).map_err(|error| agent_refused(path, &error))
}

fn agent_refused(path: &Path, error: &agent::ConfigError) -> Failure {
    use agent::ConfigError;
    Failure::usage(match error {
        ConfigError::Read { .. } => chain(error),
        ConfigError::Value { key, .. } => located(path, Some(key), chain(error)),
        _ => located(path, None, chain(error)),
    })
}

/// Checks a server's configuration and the files that it names.
fn validate_server(path: &Path, out: &mut Output) -> Result<(), Failure> {
    let settings = load_server(path)?;
    let server::Inspection { faults, warnings } = server::inspect(&settings);
    let told = |findings: &[server::Finding]| -> Vec<String> {
        let line = |found: &server::Finding| {
            located(
                path,
                Some(found.key),
                format!("{}: {}", found.key, found.what),
            )
        };
        findings.iter().map(line).collect()
    };
    let (faults, warnings) = (told(&faults), told(&warnings));
    if let [first, rest @ ..] = faults.as_slice() {
        let more = rest.iter().map(|fault| format!("\n       {fault}"));
        return Err(Failure::usage(format!(
            "{first}{}",
            more.collect::<String>()
        )));
    }
    let shown = path.display().to_string();
    let trust_domain = settings.trust_domain.as_str();
    Ok(out.object(&serde_json::json!({
        "valid": shown,
        "trust_domain": trust_domain,
        "warnings": warnings,
    }))?)
}

fn server(args: ServerArgs, out: &mut Output) -> Result<(), Failure> {
    match args.command {
        Some(ServerCommand::Validate { config }) => return validate_server(&config, out),
        Some(ServerCommand::SealKeys { config }) => return seal_keys(out, &load_server(&config)?),
        None => {}
    }
    let settings = load_server(&args.config)?;
    let json = settings.log_format == server::config::LogFormat::Json;
    logging::start(&settings.log_level, json);
    let runtime = runtime(settings.worker_threads)?;
    let clock = server::clock::Clock::machine();
    let outcome = runtime.block_on(server::run_with(
        settings,
        clock,
        dev::shutdown_signal(),
        |_| {},
    ));
    // A server that ends because something hangs must not wait for it here.
    runtime.shutdown_timeout(server::limits::CLOSE);
    outcome.map_err(|error| Failure::refused(chain(&error)))
}

fn agent(args: AgentArgs, out: &mut Output) -> Result<(), Failure> {
    if let Some(AgentCommand::Validate { config }) = args.command {
        let loaded = load_agent(&config)?;
        loaded
            .check()
            .map_err(|error| agent_refused(&config, &error))?;
        return valid(out, &config, &loaded.trust_domain);
    }
    let mut config = agent_config(args.config.as_deref(), args.overrides)?;
    config.join_token = join_token()?;
    config.check().map_err(|error| match &args.config {
        Some(path) => agent_refused(path, &error),
        None => Failure::usage(chain(&error)),
    })?;
    logging::start("info", false);
    runtime(agent_workers())?
        .block_on(agent::run(config, dev::shutdown_signal()))
        .map_err(|error| Failure::refused(chain(&error)))
}

fn seal_keys(out: &mut Output, settings: &server::Settings) -> Result<(), Failure> {
    let sealed = server::seal_files(settings).map_err(|error| Failure::refused(chain(&error)))?;
    if out.is_json() {
        return Ok(out.document(&serde_json::json!({ "sealed": sealed }))?);
    }
    out.line(format!("sealed {sealed} signing keys"))?;
    Ok(out.line(" next: start the server, and replace the keys soon: bulla keys rotate --all")?)
}

fn valid(out: &mut Output, path: &Path, trust_domain: &str) -> Result<(), Failure> {
    let path = path.display().to_string();
    Ok(out.object(&serde_json::json!({ "valid": path, "trust_domain": trust_domain }))?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the join token"
)]
fn join_token() -> Result<Option<agent::JoinToken>, Failure> {
    let Ok(text) = std::env::var(JOIN_TOKEN) else {
        return Ok(None);
    };
    agent::JoinToken::new(&text)
        .map(Some)
        .map_err(|error| Failure::usage(chain(&error)))
}

fn agent_config(file: Option<&Path>, overrides: AgentOverrides) -> Result<agent::Config, Failure> {
    let mut config = match (file, &overrides.trust_domain, &overrides.server) {
        (Some(path), ..) => load_agent(path)?,
        (None, Some(trust_domain), Some(server)) => agent::Config::new(trust_domain, server),
        (None, ..) => {
            return Err(Failure::usage("an agent needs a server and a trust domain")
                .next("give --config FILE, or run the command that `bulla token create` prints"));
        }
    };
    let put = |target: &mut PathBuf, given: Option<PathBuf>| {
        if let Some(given) = given {
            *target = given;
        }
    };
    put(&mut config.data_dir, overrides.data_dir);
    put(&mut config.workload_socket, overrides.workload_socket);
    put(&mut config.admin_socket, overrides.admin_socket);
    if let Some(trust_domain) = overrides.trust_domain {
        config.trust_domain = trust_domain;
    }
    if let Some(server) = overrides.server {
        config.server.address = server;
    }
    if !overrides.bundle_sha256.is_empty() {
        config.trust.bundle_sha256 = overrides.bundle_sha256;
    }
    Ok(config)
}

/// `bulla-agent`: the agent alone, for nodes.
#[derive(Parser, Debug)]
#[command(name = "bulla-agent", version, max_term_width = 100)]
struct BullaAgent {
    #[command(flatten)]
    args: AgentArgs,
    /// Answer in JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
}

/// Runs the agent with the process's arguments.
///
/// # Errors
/// As the agent fails.
pub fn agent_only() -> Result<(), Failure> {
    let BullaAgent { args, json } = BullaAgent::parse();
    agent(args, &mut Output::stdout(json))
}
