//! `bulla`: the server, the agent, the admin commands and the tour in one binary.

fn main() -> std::process::ExitCode {
    cli::main()
}
