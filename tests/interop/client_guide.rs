//! The programs of the guide "A client in Go, Python, Node and Java", taken out of
//! the page and run against a real agent.

use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_tests::{Domain, Ran, guide, peer};

/// The one program in a language that the guide has.
fn program(language: &str) -> String {
    let text = guide::page("guides/clients.md");
    let fence = format!("```{language}\n");
    let mut after = text.split(&fence).skip(1);
    let program = after.next().and_then(|rest| rest.split("```").next());
    assert!(after.next().is_none(), "two programs in {language}");
    program.expect(language).to_owned()
}

/// Runs a command as a service, in a folder of its own.
fn run(domain: &Domain, language: &str, command: &mut Command) {
    command.env("SPIFFE_ENDPOINT_SOCKET", domain.endpoint());
    let ran = Ran::of(command).ok();
    let service = domain.id("/service");
    let said = format!("the server is {service} and the client is {service}\n");
    assert_eq!(ran.out, said, "{language}: {}", ran.err);
}

fn write(folder: &Path, name: &str, language: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, program(language)).unwrap();
    path
}

#[test]
fn the_client_guide_works_as_written() {
    let domain = Domain::start();
    domain.register("/service", []);
    domain.await_svid("/service");
    let folder = domain.path("guide");
    std::fs::create_dir(&folder).unwrap();

    // The module and the class path stand in for `go get` and for Maven.
    write(&folder, "main.go", "go");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/go");
    for name in ["go.mod", "go.sum"] {
        std::fs::copy(here.join(name), folder.join(name)).unwrap();
    }
    let mut build = Command::new("go");
    build
        .args(["build", "-o", "client", "."])
        .current_dir(&folder);
    let _ = Ran::of(&mut build).ok();
    run(&domain, "go", &mut Command::new(folder.join("client")));

    let script = write(&folder, "client.py", "python");
    let python = peer("python/bin/python");
    run(&domain, "python", Command::new(python).arg(script));

    let script = write(&folder, "client.js", "js");
    run(&domain, "js", Command::new("node").arg(script));

    let source = write(&folder, "Client.java", "java");
    let library = peer("java/lib");
    let mut java = Command::new("java");
    java.arg("-cp").arg(format!("{}/*", library.display()));
    run(&domain, "java", java.arg(source));
}
