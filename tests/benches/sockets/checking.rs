//! What a service asks of the agent for each call that it is shown a token with:
//! `POST /v1/check`; and what its caller asked before, `POST /v1/token`.

use std::path::PathBuf;
use std::sync::Arc;

use bulla_tests::Domain;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Mutex;

use crate::load::Load;
use crate::observed::Observed;

const AT_ONCE: [usize; 2] = [1, 16];

/// One connection to the agent's JSON API, kept open.
struct Connection(BufReader<UnixStream>);

impl Connection {
    async fn open(socket: &PathBuf) -> Self {
        Self(BufReader::new(UnixStream::connect(socket).await.unwrap()))
    }

    /// The answer's body, which must come with 200.
    async fn post(&mut self, path: &str, body: &str) -> Vec<u8> {
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: agent\r\nworkload.spiffe.io: true\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        let (mut length, mut status) = (0, String::new());
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            let line = line.trim_end().to_ascii_lowercase();
            if status.is_empty() {
                status = line;
            } else if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            } else if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer);
        assert!(status.contains(" 200 "), "{status}: {text}");
        answer
    }
}

/// Expects the catalogue and the policy of `scoped` to be active.
pub(crate) async fn measure(domain: &Domain) {
    let socket = domain.workload_socket();
    domain.register("/scoped/own", []);
    domain.await_svid("/scoped/own");
    let wanted = json!({
        "spiffe_id": domain.id("/scoped/own"), "audience": "bench", "permissions": ["bench:read"],
    });
    let wanted = wanted.to_string();
    let answer = Connection::open(&socket)
        .await
        .post("/v1/token", &wanted)
        .await;
    let pair: Value = serde_json::from_slice(&answer).unwrap();
    let (token, chain) = (&pair["token"], &pair["certificate"]["x509_svid"]);
    let call = json!({
        "token": token, "audience": "bench", "certificate_chain": chain,
        "method": "GET", "path": "/items/17",
    });
    let certificate = json!({ "certificate_chain": chain });
    let asked = [
        ("/v1/token, held", "/v1/token", wanted),
        (
            "/v1/check of a certificate",
            "/v1/check",
            certificate.to_string(),
        ),
        (
            "/v1/check of a token, its certificate and a call",
            "/v1/check",
            call.to_string(),
        ),
    ];
    let agent = Observed::agent(domain);
    for (what, path, body) in asked {
        for at_once in AT_ONCE {
            let mut open = Vec::new();
            for _ in 0..at_once {
                open.push(Mutex::new(Connection::open(&socket).await));
            }
            let (open, body): (Arc<[_]>, Arc<str>) = (open.into(), body.as_str().into());
            let load = Load {
                what,
                process: agent,
                at_once: at_once.try_into().unwrap(),
                items: 1,
            };
            load.run(move |task, _| {
                let (open, body) = (Arc::clone(&open), Arc::clone(&body));
                async move {
                    open[task].lock().await.post(path, &body).await;
                }
            })
            .await;
        }
    }
}
