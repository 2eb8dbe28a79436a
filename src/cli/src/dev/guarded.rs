//! The demo service that scoped tokens are for, and its caller: one line each way
//! over mutual TLS, and the agent's `/v1/check` decides.

use std::path::Path;
use std::sync::Arc;

use channel::{Expect, LiveIdentity};
use identity::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::server::TlsStream;

use super::service::{ANSWER_MAX, READ_MAX, listen, own, parse_id, wall_clock};
use crate::failure::Failure;
use crate::local_http;
use crate::output::{Output, text};
use crate::pem;

/// Asks for a token; the answer says what was granted and what was not.
///
/// # Errors
/// Nothing was granted.
pub(super) async fn token(
    workload_socket: &str,
    audience: &str,
    permissions: &[String],
    out: &mut Output,
) -> Result<(), Failure> {
    let wish = json!({ "audience": audience, "permissions": permissions });
    let answer = local_http::post(Path::new(workload_socket), "/v1/token", &wish).await?;
    Ok(out.record(&answer.ok()?)?)
}

/// Serves one call per connection, if its token allows it.
///
/// # Errors
/// No identity, or it cannot listen.
pub(super) async fn serve(
    workload_socket: &str,
    audience: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let (listener, acceptor) = listen(workload_socket, out).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let serving = async {
            let stream = acceptor.accept(stream).await?;
            answer(stream, workload_socket, audience).await
        };
        // One caller at a time is enough for a demonstration, and nobody waits on a slow one.
        let served = tokio::time::timeout(ANSWER_MAX, serving).await;
        if let Ok(Err(error)) = served {
            tracing::warn!("a call was not served: {error}");
        }
    }
}

/// Reads `METHOD PATH TOKEN`, asks the agent, and answers with a status and a reason.
async fn answer(
    mut stream: TlsStream<TcpStream>,
    workload_socket: &str,
    audience: &str,
) -> std::io::Result<()> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain: String = chain
        .iter()
        .map(|der| pem::encode("CERTIFICATE", der))
        .collect();
    let mut line = String::new();
    let mut reader = BufReader::new((&mut stream).take(READ_MAX));
    reader.read_line(&mut line).await?;
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_default();
    let (method, path, token) = (word(), word(), word());
    let question = json!({
        "token": token, "audience": audience, "certificate_chain": chain,
        "method": method, "path": path,
    });
    let checked = local_http::post(Path::new(workload_socket), "/v1/check", &question).await;
    let answer = match checked {
        Ok(answer) if answer.status == 200 => format!(
            "200 served {} by {}\n",
            text(&answer.body, "spiffe_id"),
            text(&answer.body, "permission")
        ),
        Ok(answer) => format!("{} {}\n", answer.status, text(&answer.body, "detail")),
        Err(failure) => format!("503 {}\n", failure.what),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Calls with a token and the certificate that it is bound to, as they came together.
///
/// # Errors
/// The service cannot be reached, or it is another.
pub(super) async fn spend(
    workload_socket: &str,
    to: &str,
    expect: &str,
    call: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut input = String::new();
    let stdin = tokio::io::stdin();
    stdin.take(4 * READ_MAX).read_to_string(&mut input).await?;
    let pair: Value = serde_json::from_str(&input).map_err(|error| {
        Failure::usage(format!("standard input is no answer of /v1/token: {error}"))
    })?;
    let expect = Expect {
        server: parse_id(expect)?,
        bundles: own(workload_socket).await?.bundles,
    };
    let config = channel::client_config(Some(certificate(&pair)?), expect, wall_clock())
        .map_err(|error| Failure::refused(error.to_string()))?;
    let line = format!("{call} {}\n", text(&pair, "token"));
    let answer = tokio::time::timeout(ANSWER_MAX, ask(config, to, &line))
        .await
        .map_err(|_elapsed| Failure::unreachable(format!("{to} did not answer")))??;
    out.record(&json!({ "call": call, "answer": answer }))?;
    Ok(())
}

fn certificate(pair: &Value) -> Result<Arc<LiveIdentity>, Failure> {
    let bad = |what: &str| Failure::usage(format!("the answer of /v1/token has no {what}"));
    let part = |name: &str| {
        let certificate = pair.get("certificate");
        certificate.map(|c| text(c, name)).unwrap_or_default()
    };
    let (chain, key) = (part("x509_svid"), part("x509_svid_key"));
    let chain: Vec<Arc<[u8]>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .filter_map(Result::ok)
        .map(|der| Arc::from(&*der))
        .collect();
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes());
    let key = key.map_err(|_unreadable| bad("key"))?;
    let identity = LiveIdentity::empty();
    identity
        .set(&chain, &PrivateKeyDer::new(key.secret_pkcs8_der()))
        .map_err(|error| Failure::refused(error.to_string()))?;
    Ok(identity)
}

async fn ask(config: Arc<rustls::ClientConfig>, to: &str, line: &str) -> std::io::Result<String> {
    let address: std::net::SocketAddr = to.parse().map_err(std::io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    let mut stream = TlsConnector::from(config).connect(name, stream).await?;
    stream.write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(stream.take(READ_MAX))
        .read_line(&mut answer)
        .await?;
    Ok(answer.trim_end().to_owned())
}
