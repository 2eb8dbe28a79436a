//! A small server on a Unix socket that says of each caller who it is: guarded
//! by `agent::process`, or a control that does what is common instead.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use agent::process::{Caller, Options, ProcessHost};
use channel::uds::UnixPeer;
use contract::Attestor;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use unix::Unix;

use crate::roles::LATE;

/// How a server finds out who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Through `agent::process`, as the agent does for streams.
    Guarded,
    /// Through `agent::process`, without the watch that ends a dead process's
    /// stream: what single calls rely on.
    GuardedCalls,
    /// Through `agent::process` on a kernel that gives no pidfd.
    GuardedWeakly,
    /// Through `agent::process`, as a stream: attested once, and held against
    /// what it was before each further message.
    GuardedPushes,
    /// Control: number from `SO_PEERCRED`, the rest from `/proc` when asked.
    ProcWhenAsked,
    /// Control: as above, but once for each connection.
    ProcOnce,
}

/// A server, stopped when dropped.
pub(crate) struct Server {
    pub(crate) path: String,
    gate: Option<oneshot::Sender<()>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(kind: Kind, folder: &Path) -> Self {
        Self::bind(kind, &folder.join(format!("{kind:?}.sock"))).accepting()
    }

    /// A server that lets connections wait in its backlog until
    /// [`Server::accepting`].
    pub(crate) fn start_late(kind: Kind, folder: &Path) -> Self {
        Self::bind(kind, &folder.join(format!("{kind:?}{LATE}")))
    }

    fn bind(kind: Kind, path: &Path) -> Self {
        // Of an earlier round; absent in the first.
        let _removed = fs::remove_file(path);
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let (gate, open) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                if open.await.is_ok() {
                    tokio::select! {
                        () = serve(kind, listener) => {}
                        _ = stopped => {}
                    }
                }
            });
        });
        Self {
            path: path.to_str().unwrap().to_owned(),
            gate: Some(gate),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(crate) fn accepting(mut self) -> Self {
        self.gate.take().unwrap().send(()).unwrap();
        self
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop((self.gate.take(), self.stop.take()));
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn serve(kind: Kind, listener: std::os::unix::net::UnixListener) {
    let listener = UnixListener::from_std(listener).unwrap();
    let host = ProcessHost::new(Options::default()).unwrap();
    let attestor = Attestor {
        inspect: Arc::new(Unix::default()),
        optional: false,
    };
    let attestors: Arc<[Attestor]> = Arc::new([attestor]);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (host, attestors) = (Arc::clone(&host), Arc::clone(&attestors));
        tokio::spawn(async move {
            // An error is the caller's end of the connection; the next one counts.
            let _ended = match kind {
                Kind::ProcWhenAsked | Kind::ProcOnce => naive(stream, kind).await,
                _ => guarded(stream, kind, &host, &attestors).await,
            };
        });
    }
}

async fn guarded(
    stream: UnixStream,
    kind: Kind,
    host: &Arc<ProcessHost>,
    attestors: &Arc<[Attestor]>,
) -> std::io::Result<()> {
    let mut peer = UnixPeer::of(&stream)?;
    if kind == Kind::GuardedWeakly {
        peer = peer.without_pidfd();
    }
    let caller = host.caller(&Arc::new(peer));
    let watch = (kind == Kind::Guarded).then(|| caller.watch());
    let answers = answer_all(stream, kind, &caller, attestors);
    match watch {
        None => answers.await,
        Some(Err(_ended)) => Ok(()),
        Some(Ok(liveness)) => {
            tokio::select! {
                answered = answers => answered,
                () = liveness.ended() => Ok(()),
            }
        }
    }
}

async fn answer_all(
    stream: UnixStream,
    kind: Kind,
    caller: &Arc<Caller>,
    attestors: &Arc<[Attestor]>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"hello\n").await?;
    let mut first = None;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = match (kind, &first) {
            (Kind::GuardedPushes, Some(first)) => caller.recheck().map_or_else(
                |error| format!("refused {error}\n"),
                |()| String::clone(first),
            ),
            _ => one_call(caller, attestors).await,
        };
        stream.write_all(answer.as_bytes()).await?;
        first.get_or_insert(answer);
        line.clear();
    }
    Ok(())
}

async fn one_call(caller: &Arc<Caller>, attestors: &Arc<[Attestor]>) -> String {
    match caller.attest(attestors).await {
        Ok(attested) => {
            let selectors: Vec<_> = attested.selectors.iter().map(|s| s.as_str()).collect();
            format!("issued {}\n", selectors.join(" "))
        }
        Err(error) => format!("refused {error}\n"),
    }
}

async fn naive(stream: UnixStream, kind: Kind) -> std::io::Result<()> {
    let credentials = stream.peer_cred()?;
    let pid = credentials.pid().unwrap();
    let mut stream = BufReader::new(stream);
    stream.write_all(b"hello\n").await?;
    let mut first = None;
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        let answer = match (kind, &first) {
            (Kind::ProcOnce, Some(first)) => String::clone(first),
            (Kind::ProcOnce, None) => naive_facts(pid, Some(credentials.uid())),
            _ => naive_facts(pid, None),
        };
        stream.write_all(answer.as_bytes()).await?;
        first.get_or_insert(answer);
        line.clear();
    }
    Ok(())
}

fn naive_facts(pid: i32, uid: Option<u32>) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let uid = uid.map_or_else(
        || effective.unwrap_or_default().to_owned(),
        |u| u.to_string(),
    );
    format!("issued unix:uid:{uid} unix:path:{}\n", program.display())
}
