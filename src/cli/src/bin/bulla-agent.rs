//! `bulla-agent`: what a node runs. It links no code that mints.

fn main() -> std::process::ExitCode {
    cli::finish(cli::agent_only())
}
