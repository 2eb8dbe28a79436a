//! The demo services of the tour: small programs that authenticate each other
//! by SPIFFE ID over mutual TLS, with certificates that they fetched themselves
//! from the Workload API. They run as processes of their own, so that each is
//! attested as what it is.

use std::sync::Arc;
use std::time::Duration;

use channel::{ClientAuth, Clock, Expect, LiveBundles, LiveIdentity};
use clap::Subcommand;
use identity::{Bundle, PrivateKeyDer, SpiffeId, TrustDomain, X509AuthorityCertificate};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::guarded;
use crate::clock;
use crate::failure::Failure;
use crate::output::Output;
use crate::pem;
use crate::workload_client::WorkloadClient;

/// How long a demo service waits for an answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest token or answer a demo service reads, bytes.
pub(super) const READ_MAX: u64 = 16 * 1024;

/// The demo services, started by `bulla dev` alone.
#[derive(Subcommand, Debug)]
pub enum DemoCommand {
    /// Serve callers of one SPIFFE ID; refuse every other.
    Serve {
        /// The agent's workload socket.
        #[arg(long)]
        workload_socket: String,
        /// The only caller that is served.
        #[arg(long)]
        allow: String,
    },
    /// Call a service that must prove its SPIFFE ID.
    Call {
        /// The agent's workload socket.
        #[arg(long)]
        workload_socket: String,
        /// Where it listens.
        #[arg(long)]
        to: String,
        /// Who it must be.
        #[arg(long)]
        expect: String,
    },
    /// Ask for a token that allows some calls; print the agent's whole answer.
    Token {
        /// The agent's workload socket.
        #[arg(long)]
        workload_socket: String,
        /// Who the token must be for.
        #[arg(long)]
        audience: String,
        /// A permission; may be repeated.
        #[arg(long = "permission")]
        permissions: Vec<String>,
    },
    /// Serve calls that their caller's token allows; refuse every other.
    Guard {
        /// The agent's workload socket.
        #[arg(long)]
        workload_socket: String,
        /// Whom tokens must be for.
        #[arg(long)]
        audience: String,
    },
    /// Make a call with the token and certificate read from standard input.
    Spend {
        /// The agent's workload socket.
        #[arg(long)]
        workload_socket: String,
        /// Where the service listens.
        #[arg(long)]
        to: String,
        /// Who it must be.
        #[arg(long)]
        expect: String,
        /// The call, as METHOD PATH.
        #[arg(long)]
        call: String,
    },
    /// Check a token read from standard input, as the service of an audience would.
    Check {
        /// The agent's workload socket.
        #[arg(long)]
        workload_socket: String,
        /// Who the token must be for.
        #[arg(long)]
        audience: String,
    },
}

/// Runs one demo service.
///
/// # Errors
/// No identity, no connection, or refused.
pub async fn run(command: DemoCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        DemoCommand::Serve {
            workload_socket,
            allow,
        } => serve(&workload_socket, &allow, out).await,
        DemoCommand::Call {
            workload_socket,
            to,
            expect,
        } => call(&workload_socket, &to, &expect, out).await,
        DemoCommand::Token {
            workload_socket,
            audience,
            permissions,
        } => guarded::token(&workload_socket, &audience, &permissions, out).await,
        DemoCommand::Guard {
            workload_socket,
            audience,
        } => guarded::serve(&workload_socket, &audience, out).await,
        DemoCommand::Spend {
            workload_socket,
            to,
            expect,
            call,
        } => guarded::spend(&workload_socket, &to, &expect, &call, out).await,
        DemoCommand::Check {
            workload_socket,
            audience,
        } => check(&workload_socket, &audience, out).await,
    }
}

/// What a process is, and whom it trusts.
pub(super) struct Own {
    pub(super) id: SpiffeId,
    pub(super) identity: Arc<LiveIdentity>,
    pub(super) bundles: Arc<LiveBundles>,
}

pub(super) async fn own(workload_socket: &str) -> Result<Own, Failure> {
    let mut client = WorkloadClient::connect(workload_socket, ANSWER_MAX).await?;
    let answer = client.x509().await?;
    let svid = answer
        .svids
        .first()
        .ok_or_else(|| Failure::refused("the agent sent no SVID"))?;
    let id = parse_id(&svid.spiffe_id)?;
    let chain: Vec<Arc<[u8]>> = pem::split_der(&svid.x509_svid)
        .into_iter()
        .map(Arc::from)
        .collect();
    let identity = LiveIdentity::empty();
    identity
        .set(&chain, &PrivateKeyDer::new(&svid.x509_svid_key))
        .map_err(|error| Failure::refused(error.to_string()))?;
    let bundles = LiveBundles::empty();
    bundles.set(Arc::new(bundle(id.trust_domain(), &svid.bundle)));
    Ok(Own {
        id,
        identity,
        bundles,
    })
}

fn bundle(trust_domain: TrustDomain, concatenated: &[u8]) -> Bundle {
    let authority = |der: &[u8]| X509AuthorityCertificate {
        der: der.into(),
        tainted: false,
    };
    let x509_authorities = pem::split_der(concatenated)
        .into_iter()
        .map(authority)
        .collect();
    Bundle {
        x509_authorities,
        ..Bundle::empty(trust_domain)
    }
}

pub(super) fn parse_id(text: &str) -> Result<SpiffeId, Failure> {
    SpiffeId::parse(text).map_err(|error| Failure::usage(format!("{text:?}: {error}")))
}

pub(super) fn wall_clock() -> Clock {
    Clock::new(clock::now)
}

/// Listens for mutual TLS with the process's own identity, and says where.
pub(super) async fn listen(
    workload_socket: &str,
    out: &mut Output,
) -> Result<(TcpListener, TlsAcceptor), Failure> {
    let own = own(workload_socket).await?;
    let config = channel::server_config(
        own.identity,
        own.bundles,
        ClientAuth::Required,
        wall_clock(),
    )
    .map_err(|error| Failure::refused(error.to_string()))?;
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    out.record(&json!({ "id": own.id.as_str(), "listening": listener.local_addr()?.to_string() }))?;
    Ok((listener, acceptor))
}

async fn serve(workload_socket: &str, allow: &str, out: &mut Output) -> Result<(), Failure> {
    let allow = parse_id(allow)?;
    let (listener, acceptor) = listen(workload_socket, out).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        // One caller at a time is enough for a demonstration, and nobody waits on a slow one.
        let served = tokio::time::timeout(ANSWER_MAX, greet(&acceptor, stream, &allow)).await;
        if let Ok(Err(error)) = served {
            tracing::warn!("a caller was not served: {error}");
        }
    }
}

async fn greet(acceptor: &TlsAcceptor, stream: TcpStream, allow: &SpiffeId) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let leaf = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let caller = leaf
        .and_then(|der| verify::leaf_identity(der).ok())
        .map(|leaf| leaf.spiffe_id);
    let answer = match caller {
        Some(caller) if caller == *allow => format!("welcome {caller}\n"),
        Some(caller) => format!("refused {caller} is not {allow}\n"),
        None => "refused no SPIFFE ID\n".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

async fn call(
    workload_socket: &str,
    to: &str,
    expect: &str,
    out: &mut Output,
) -> Result<(), Failure> {
    let own = own(workload_socket).await?;
    let expect = Expect {
        server: parse_id(expect)?,
        bundles: own.bundles,
    };
    let server = expect.server.clone();
    let config = channel::client_config(Some(own.identity), expect, wall_clock())
        .map_err(|error| Failure::refused(error.to_string()))?;
    let answer = tokio::time::timeout(ANSWER_MAX, ask(config, to))
        .await
        .map_err(|_elapsed| Failure::unreachable(format!("{to} did not answer")))?
        .map_err(|error| Failure::refused(format!("{to} is not {server}: {error}")))?;
    out.record(&json!({ "id": own.id.as_str(), "server": server.as_str(), "answer": answer }))?;
    if answer.starts_with("welcome ") {
        Ok(())
    } else {
        Err(Failure::refused(answer))
    }
}

async fn ask(config: Arc<rustls::ClientConfig>, to: &str) -> std::io::Result<String> {
    let address: std::net::SocketAddr = to.parse().map_err(std::io::Error::other)?;
    let stream = TcpStream::connect(address).await?;
    let name = rustls_pki_types::ServerName::IpAddress(address.ip().into());
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    let mut answer = String::new();
    BufReader::new(stream.take(READ_MAX))
        .read_line(&mut answer)
        .await?;
    Ok(answer.trim_end().to_owned())
}

async fn check(workload_socket: &str, audience: &str, out: &mut Output) -> Result<(), Failure> {
    let mut token = String::new();
    tokio::io::stdin()
        .take(READ_MAX)
        .read_to_string(&mut token)
        .await?;
    let mut client = WorkloadClient::connect(workload_socket, ANSWER_MAX).await?;
    let valid = client.validate(audience, token.trim()).await;
    let valid = valid.map_err(|failure| Failure {
        next: None,
        ..failure
    })?;
    out.record(&json!({ "audience": audience, "spiffe_id": valid.spiffe_id }))?;
    Ok(())
}
