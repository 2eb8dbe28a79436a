//! The question to a container engine against a socket that plays one.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use identity::{Seconds, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

const ID: &str = "3c1d0ab2f5c94b1d8e6f7a8b9c0d1e2f3a4b5c6d7e8f90112233445566778899";
const RECORDED: &[u8] = include_bytes!("../../../../../attestors/docker/fixtures/docker.json");

/// Plays an engine: gives `answer` to each connection and then waits.
struct FakeEngine {
    folder: TempDir,
    asked: Arc<AtomicU32>,
}

impl FakeEngine {
    fn start(answer: Vec<u8>, closes: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    let mut request = vec![0; 4096];
                    let read = stream.read(&mut request).await.unwrap();
                    let request = String::from_utf8_lossy(&request[..read]).into_owned();
                    assert!(
                        request.starts_with(&format!("GET /containers/{ID}/json HTTP/1.1\r\n"))
                    );
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(&answer).await;
                    if !closes {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { folder, asked }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn id() -> ContainerId {
    ContainerId::parse(ID).unwrap()
}

type Outcome = Result<Option<Arc<Container>>, InspectError>;

async fn ask(engine: &Arc<EngineSocket>, may_wait: bool) -> Outcome {
    let engine = Arc::clone(engine);
    let asked = tokio::task::spawn_blocking(move || engine.container(&id(), may_wait));
    asked.await.unwrap()
}

fn engine(socket: PathBuf) -> (Arc<EngineSocket>, Clock) {
    let clock = Clock::manual(Timestamp(1_800_000_000));
    let engine = EngineSocket::new(Kind::Docker, socket, clock.clone());
    (Arc::new(engine), clock)
}

#[tokio::test]
async fn an_answer_is_asked_for_once_a_minute_and_never_where_that_would_block() {
    let fake = FakeEngine::start(http("200 OK", RECORDED), false);
    let (engine, clock) = engine(fake.socket());
    let would_block = Err(ProcessError::WouldBlock.into());
    assert_eq!(ask(&engine, false).await, would_block);
    let container = ask(&engine, true).await.unwrap().unwrap();
    assert_eq!(container.image, "registry.example.org/shop/web:1.4");
    assert_eq!(ask(&engine, false).await, Ok(Some(container)));
    assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
    clock.advance(Seconds(61));
    assert_eq!(ask(&engine, false).await, would_block);
}

#[tokio::test]
async fn an_unknown_container_is_none_and_is_not_remembered() {
    let missing = http("404 Not Found", b"{\"message\":\"No such container\"}");
    let fake = FakeEngine::start(missing, true);
    let (engine, _) = engine(fake.socket());
    assert_eq!(ask(&engine, true).await, Ok(None));
    assert_eq!(ask(&engine, true).await, Ok(None));
    assert_eq!(fake.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    let other = String::from_utf8_lossy(RECORDED).replace(ID, &"f".repeat(64));
    let huge = [&b"{\"pad\":\""[..], &vec![b'x'; 2 * ANSWER_BYTES], b"\"}"].concat();
    let elsewhere = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n";
    let endless_head = [&b"HTTP/1.1 200 OK\r\nX: "[..], &vec![b'x'; 200_000]].concat();
    for (what, answer) in [
        ("another container", http("200 OK", other.as_bytes())),
        ("too large", http("200 OK", &huge)),
        ("a redirect", elsewhere.to_vec()),
        ("an error", http("500 Internal Server Error", b"{}")),
        ("an endless head", endless_head),
        ("not HTTP", b"hello\r\n".to_vec()),
        ("nothing", Vec::new()),
        ("cut short", http("200 OK", RECORDED)[..400].to_vec()),
    ] {
        let fake = FakeEngine::start(answer, true);
        let (engine, _) = engine(fake.socket());
        let outcome = ask(&engine, true).await;
        assert!(
            matches!(outcome, Err(InspectError::Unavailable(_))),
            "{what}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn an_engine_that_is_away_or_says_nothing_is_a_failure_in_bounded_time() {
    let (away, _) = engine(PathBuf::from("/nonexistent/docker.sock"));
    assert!(matches!(
        ask(&away, true).await,
        Err(InspectError::Unavailable(_))
    ));
    let silent = FakeEngine::start(Vec::new(), false);
    let (engine, _) = engine(silent.socket());
    let outcome = ask(&engine, true).await.unwrap_err().to_string();
    assert!(outcome.contains("none within"), "{outcome}");
}
