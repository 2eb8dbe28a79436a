//! A long poll answers the process that asked, and nobody else: not the program it
//! becomes while it waits, not the child that holds its connection when it is gone.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

use bulla_tests::{Domain, eventually};

/// Of each kind, at the same time.
const EACH: usize = 25;

/// Asks, waits for a word, and then: waits on, becomes another program, or ends. In the
/// last two a child keeps the connection and tells what arrives.
const CLIENT: &str = r#"
import os, socket, sys
path, mode = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
# An answer proves that the agent has accepted the connection.
connection.sendall(b"GET /v1/explain/me HTTP/1.1\r\nHost: x\r\nworkload.spiffe.io: true\r\n\r\n")
answer = b""
while b'"verdict"' not in answer:
    answer += connection.recv(65536)
connection.sendall(b"GET /v1/svid/x509 HTTP/1.1\r\nHost: x\r\nworkload.spiffe.io: true\r\n"
                   b"Connection: close\r\nIf-None-Match: *\r\nPrefer: wait=60\r\n\r\n")
sys.stdin.readline()
if mode == "honest" or os.fork() == 0:
    answer = b""
    while part := connection.recv(65536):
        answer += part
    status = answer.split(b" ")[1].decode() if answer else "closed"
    print(status, "key" if b"PRIVATE KEY" in answer else "no key", flush=True)
    os._exit(0)
if mode == "exec":
    os.execvp("sleep", ["sleep", "60"])
os._exit(0)
"#;

struct Client {
    mode: &'static str,
    child: Child,
    word: Option<ChildStdin>,
}

impl Client {
    fn start(domain: &Domain, mode: &'static str) -> Self {
        let mut command = Command::new("python3");
        command
            .args(["-c", CLIENT])
            .arg(domain.workload_socket())
            .arg(mode);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let word = child.stdin.take();
        Self { mode, child, word }
    }

    fn go_on(&mut self) {
        self.word.take().unwrap().write_all(b"go\n").unwrap();
    }

    fn heard(&mut self) -> String {
        let mut line = String::new();
        let output = self.child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What the process runs by now; nothing when it has ended.
    fn program(&mut self) -> Option<String> {
        if self.child.try_wait().unwrap().is_some() {
            return None;
        }
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.child.id()));
        Some(name.unwrap_or_default().trim_end().to_owned())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the agent waits for: connections, and the ends of processes.
fn awaited(pid: u32) -> usize {
    let all = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = all.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok());
    let count = |text: String| text.lines().filter(|line| line.starts_with("tfd:")).count();
    texts.map(count).sum()
}

/// The same once what earlier callers left is gone.
fn awaited_at_rest(pid: u32) -> usize {
    let (mut last, mut same) = (0, 0);
    eventually("the agent is at rest", || {
        let now = awaited(pid);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        (same == 30).then_some(now)
    })
}

#[test]
fn a_long_poll_reaches_neither_another_program_nor_the_heirs_of_a_dead_one() {
    let domain = Domain::start();
    domain.register("/first", []);
    domain.await_svid("/first");
    let agent = domain.agent.as_ref().unwrap().pid();
    let idle = awaited_at_rest(agent);
    let modes = ["honest", "exec", "exit"];
    let mut clients: Vec<Client> = (0..EACH)
        .flat_map(|_| modes)
        .map(|mode| Client::start(&domain, mode))
        .collect();
    // A connection, and while it waits the end of its process.
    eventually("all are attested and wait", || {
        (awaited(agent) >= idle + 2 * clients.len()).then_some(())
    });
    awaited_at_rest(agent);
    clients.iter_mut().for_each(Client::go_on);
    eventually("they have become what they become", || {
        let mut all = clients.iter_mut().filter(|client| client.mode != "honest");
        all.all(|client| {
            let runs = client.program();
            runs.as_deref() == (client.mode == "exec").then_some("sleep")
        })
        .then_some(())
    });
    domain.register("/second", []);
    for client in &mut clients {
        let heard = client.heard();
        match client.mode {
            "honest" => assert_eq!(heard, "200 key"),
            mode => assert!(
                heard.ends_with(" no key") && !heard.starts_with('2'),
                "{mode}: {heard}"
            ),
        }
    }
}
