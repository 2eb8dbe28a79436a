//! One HTTP/1.1 request and its answer, over a few connections that are kept.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::endpoint::Endpoint;
use crate::limits;

type Sender = SendRequest<Full<Bytes>>;

/// Connections to one endpoint.
pub(crate) struct Connections {
    pub(crate) endpoint: Endpoint,
    tls: Option<Arc<ClientConfig>>,
    idle: Mutex<Vec<Sender>>,
}

impl Connections {
    /// `tls` must be there when the endpoint wants it.
    pub(crate) fn new(endpoint: Endpoint, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            endpoint,
            tls,
            idle: Mutex::default(),
        }
    }

    /// Sends a request and reads the whole answer. Texts of errors name what failed
    /// and never what was sent.
    pub(crate) async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), String> {
        let mut sender = self.sender().await?;
        let told = |what: &str, error: &dyn std::fmt::Display| {
            format!("{}: {what}: {error}", self.endpoint)
        };
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(|error| told("no answer", &error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), limits::MAX_ANSWER_BYTES);
        let body = body.collect().await;
        let body = body.map_err(|error| told("answer was cut or too large", &error))?;
        self.keep(sender);
        Ok((status, body.to_bytes()))
    }

    async fn sender(&self) -> Result<Sender, String> {
        loop {
            let kept = self.lock().pop();
            match kept {
                // One that the other side has closed meanwhile.
                Some(sender) if sender.is_closed() => {}
                Some(mut sender) => {
                    if sender.ready().await.is_ok() {
                        return Ok(sender);
                    }
                }
                None => break,
            }
        }
        let connected = tokio::time::timeout(limits::CONNECT, self.connect());
        let connected = connected.await.map_err(|_elapsed| {
            format!(
                "{}: no connection within {} s",
                self.endpoint,
                limits::CONNECT.as_secs()
            )
        })?;
        connected.map_err(|why| format!("{}: {why}", self.endpoint))
    }

    async fn connect(&self) -> Result<Sender, String> {
        let Endpoint { tls, host, port } = &self.endpoint;
        let stream = TcpStream::connect((host.as_str(), *port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        if !tls {
            return handshake(TokioIo::new(stream)).await;
        }
        let Some(config) = &self.tls else {
            return Err("no authorities to verify it by".into());
        };
        let name = ServerName::try_from(host.clone()).map_err(|error| error.to_string())?;
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        let stream = stream.await.map_err(|error| error.to_string())?;
        handshake(TokioIo::new(stream)).await
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.lock();
        if idle.len() < limits::IDLE_CONNECTIONS {
            idle.push(sender);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Sender>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn handshake<I>(io: I) -> Result<Sender, String>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(io).await.map_err(|e| e.to_string())?;
    // Ends with the sender; what it has to say, the sender says, too.
    tokio::spawn(async move {
        let _ended = connection.await;
    });
    Ok(sender)
}

/// Where distributions keep the certificates of the authorities they trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

fn system_authorities() -> Result<Vec<u8>, String> {
    let found = SYSTEM_BUNDLES
        .iter()
        .find_map(|path| std::fs::read(path).ok());
    found.ok_or_else(|| format!("none of {SYSTEM_BUNDLES:?} can be read; name a bundle"))
}

/// TLS to a service on the internet: the system's authorities, or those given.
pub(crate) fn tls_config(authorities: Option<&[u8]>) -> Result<Arc<ClientConfig>, String> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        None => {
            for certificate in CertificateDer::pem_slice_iter(&system_authorities()?).flatten() {
                // A store may hold certificates of forms that webpki does not read.
                let _unread = roots.add(certificate);
            }
        }
    }
    if roots.is_empty() {
        return Err("there are no certificate authorities to verify it by".into());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
