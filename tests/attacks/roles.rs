//! What the other processes do: this binary, started again with a role.

use std::fs;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The first argument of a process that plays a role.
pub(crate) const FLAG: &str = "--play";
/// The role of a victim that does nothing; nobody else has it in its arguments.
pub(crate) const LINGER: &str = "linger-as-the-victim";
/// How the path of a socket ends whose server accepts only later.
pub(crate) const LATE: &str = "-late.sock";

/// Plays the role that the arguments name.
pub(crate) fn play(arguments: &[String]) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["honest", socket] => say(&ask(&mut connect(socket))),
        ["honest-stream", socket] => {
            let mut stream = connect(socket);
            ask(&mut stream);
            say(&ask(&mut stream));
        }
        [LINGER] => wait_for_end_of_input(),
        ["exec", socket, victim] => exec(&connect(socket), victim),
        ["ask-and-exec", socket, victim] => {
            let mut stream = connect(socket);
            say(&ask(&mut stream));
            exec(&stream, victim);
        }
        ["hand-over", socket] => hand_over(socket),
        ["ask-when-runs", pid] => ask_when(&|| runs_victim(pid)),
        ["ask-when-gone", pid] => ask_when(&|| !Path::new("/proc").join(pid).exists()),
        ["drop-privileges", socket] => drop_privileges(socket),
        ["leave-a-child", socket] => leave_a_child(socket),
        ["pass", socket] => pass(socket),
        ["receive", pid] => receive(pid),
        ["mount-over", socket, victim] => mount_over(socket, victim),
        ["pid-world", rounds] => pid_world(rounds),
        ["pid-world-init", rounds] => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).unwrap();
            crate::pid_reuse::inside(rounds.parse().unwrap());
        }
        other => panic!("no such role: {other:?}"),
    }
}

fn say(line: &str) {
    println!("{}", line.trim_end());
}

/// Connects and waits until the other side has accepted, if it will yet.
fn connect(socket: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket).unwrap();
    if !socket.ends_with(LATE) {
        assert_eq!(line(&mut stream), "hello\n");
    }
    stream
}

fn ask(stream: &mut UnixStream) -> String {
    // An error is an end as well: the other side has closed.
    let _sent = stream.write_all(b"who\n");
    let answer = line(stream);
    if answer == "hello\n" {
        return line(stream);
    }
    answer
}

// Byte by byte: what follows is not ours to buffer.
fn line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        match stream.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            _ => return "closed\n".to_owned(),
        }
    }
    String::from_utf8(line).unwrap()
}

fn wait_for_end_of_input() {
    let mut input = BufReader::new(std::io::stdin());
    let mut text = String::new();
    while input.read_line(&mut text).unwrap() > 0 {}
}

fn again(role: &[&str], stdin: Stdio) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(FLAG).args(role).stdin(stdin);
    command
}

fn me() -> String {
    std::process::id().to_string()
}

fn child_with(stream: &UnixStream, role: &[&str]) {
    let stdin = Stdio::from(OwnedFd::from(stream.try_clone().unwrap()));
    again(role, stdin).spawn().unwrap();
}

fn exec(stream: &UnixStream, victim: &str) {
    child_with(stream, &["ask-when-runs", &me()]);
    let error = Command::new(victim).arg(FLAG).arg(LINGER).exec();
    panic!("the victim was not executed: {error}");
}

fn hand_over(socket: &str) {
    let stream = connect(socket);
    child_with(&stream, &["ask-when-runs", &me()]);
}

fn leave_a_child(socket: &str) {
    let mut stream = connect(socket);
    say(&ask(&mut stream));
    child_with(&stream, &["ask-when-gone", &me()]);
}

fn runs_victim(pid: &str) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&arguments).contains(LINGER)
}

// The socket is this process's standard input.
fn ask_when(ready: &dyn Fn() -> bool) {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut stream = UnixStream::from(stdin);
    while !ready() {
        std::thread::yield_now();
    }
    say(&ask(&mut stream));
}

fn drop_privileges(socket: &str) {
    let mut stream = connect(socket);
    let (uid, gid) = (Uid::from_raw(1000), Gid::from_raw(1000));
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
    say(&ask(&mut stream));
}

fn pass(socket: &str) {
    let stream = connect(socket);
    let (here, there) = UnixStream::pair().unwrap();
    let mut receiver = again(&["receive", &me()], Stdio::from(OwnedFd::from(there)));
    receiver.uid(2000).gid(2000).spawn().unwrap();
    let descriptor = [stream.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    assert!(rights.push(SendAncillaryMessage::ScmRights(&descriptor)));
    sendmsg(
        &here,
        &[IoSlice::new(b"x")],
        &mut rights,
        SendFlags::empty(),
    )
    .unwrap();
    // The receiver's word that it has asked while this process lived.
    let mut done = [0];
    (&here).read_exact(&mut done).unwrap();
}

fn receive(pid: &str) {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let mut pair = UnixStream::from(stdin);
    let descriptor = received(&pair);
    let mut stream = UnixStream::from(descriptor);
    say(&ask(&mut stream));
    pair.write_all(b"d").unwrap();
    while Path::new("/proc").join(pid).exists() {
        std::thread::yield_now();
    }
    say(&ask(&mut stream));
}

fn received(pair: &UnixStream) -> OwnedFd {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut byte)];
    recvmsg(pair, &mut bytes, &mut rights, RecvFlags::empty()).unwrap();
    let mut messages = rights.drain();
    match messages.next() {
        Some(RecvAncillaryMessage::ScmRights(mut descriptors)) => descriptors.next().unwrap(),
        _ => panic!("no descriptor came"),
    }
}

fn mount_over(socket: &str, victim: &str) {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).unwrap();
    let own = std::env::current_exe().unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    mount(
        Some(&own),
        victim,
        None::<&str>,
        MsFlags::MS_BIND,
        None::<&str>,
    )
    .unwrap();
    let error = Command::new(victim).args([FLAG, "honest", socket]).exec();
    panic!("the attacker's own program was not executed: {error}");
}

fn pid_world(rounds: &str) {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).unwrap();
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
    let status = again(&["pid-world-init", rounds], Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "in the namespace: {status}");
}
