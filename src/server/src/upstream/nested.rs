//! Another server above this one, ours or SPIRE's: it signs this server's
//! intermediates and publishes its JWT keys, over SPIRE's own API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::bundle::bundle_client::BundleClient;
use api::bundle::{GetBundleRequest, PublishJwtAuthorityRequest};
use api::convert::bundle_from_wire;
use api::svid::NewDownstreamX509caRequest;
use api::svid::svid_client::SvidClient;
use api::types;
use authority::upstream::{Given, Granted, granted, request};
use identity::{JwtAuthorityKey, Seconds, SpiffeId};
use keys::Signer;
use tokio::sync::Mutex;
use tonic::Status;
use tonic::transport::Channel;

use super::session::{self, Session};
use super::{Look, Parts};
use crate::limits;

/// The server above.
pub(crate) struct Nested {
    server: String,
    socket: PathBuf,
    spiffe_id: Option<SpiffeId>,
    session: Mutex<Option<Session>>,
    parts: Parts,
}

impl Nested {
    pub(super) fn new(
        server: &str,
        socket: &Path,
        spiffe_id: Option<SpiffeId>,
        parts: Parts,
    ) -> Self {
        Self {
            server: server.to_owned(),
            socket: socket.to_owned(),
            spiffe_id,
            session: Mutex::new(None),
            parts,
        }
    }

    pub(super) async fn look(&self) -> Result<Look, String> {
        let channel = self.channel().await?;
        let mut client = BundleClient::new(channel);
        let answer = client.get_bundle(GetBundleRequest::default()).await;
        let bundle = self.heard("GetBundle", answer).await?;
        let bundle = bundle_from_wire(&bundle).map_err(|e| self.told(&e.to_string()))?;
        if bundle.trust_domain != self.parts.trust_domain {
            return Err(self.told("it is of another trust domain"));
        }
        if bundle.x509_authorities.is_empty() {
            return Err(self.told("it has no X.509 authority"));
        }
        Ok(Look {
            given: Given {
                x509: bundle.x509_authorities,
                jwt: bundle.jwt_authorities,
            },
            issuer: None,
            ends: None,
        })
    }

    pub(super) async fn sign(
        &self,
        signer: &Arc<dyn Signer>,
        lifetime: Seconds,
    ) -> Result<Granted, String> {
        let (td, key) = (self.parts.trust_domain.clone(), Arc::clone(signer));
        // The key may be in a token or a KMS.
        let csr = tokio::task::spawn_blocking(move || request(&td, &key));
        let csr = csr.await.map_err(|e| e.to_string())?;
        let csr = csr.map_err(|e| e.to_string())?;
        let request = NewDownstreamX509caRequest {
            csr: csr.into(),
            preferred_ttl: i32::try_from(lifetime.0).unwrap_or(i32::MAX),
        };
        let call = |channel| {
            let request = request.clone();
            async {
                SvidClient::new(channel)
                    .new_downstream_x509ca(request)
                    .await
            }
        };
        let answer = self.call("NewDownstreamX509CA", call).await?;
        let chain = answer.ca_cert_chain.iter().map(AsRef::as_ref);
        let chain: Vec<&[u8]> = chain.collect();
        let roots = answer.x509_authorities.iter().map(AsRef::as_ref);
        let roots: Vec<&[u8]> = roots.collect();
        let now = self.parts.clock.now();
        granted(&chain, &roots, signer, &self.parts.trust_domain, now)
            .map_err(|fault| self.told(&fault.to_string()))
    }

    pub(super) async fn publish(&self, key: &JwtAuthorityKey) -> Result<(), String> {
        let request = PublishJwtAuthorityRequest {
            jwt_authority: Some(types::JwtKey {
                public_key: key.spki.to_vec().into(),
                key_id: key.key_id.as_ref().to_owned(),
                expires_at: key.expires_at.map_or(0, |at| at.0),
                tainted: false,
            }),
        };
        let call = |channel| {
            let request = request.clone();
            async {
                BundleClient::new(channel)
                    .publish_jwt_authority(request)
                    .await
            }
        };
        self.call("PublishJWTAuthority", call).await.map(|_| ())
    }

    /// Calls on the connection at hand. When that is refused, calls once more with a new
    /// identity: after a taint the agent has renewed it, and the old one opens nothing.
    async fn call<T, F>(&self, what: &str, call: impl Fn(Channel) -> F) -> Result<T, String>
    where
        F: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        let had_one = self.session.lock().await.is_some();
        let answer = call(self.channel().await?).await;
        let refused = |status: &Status| status.code() == tonic::Code::PermissionDenied;
        if had_one && answer.as_ref().is_err_and(refused) {
            *self.session.lock().await = None;
            let answer = call(self.channel().await?).await;
            return self.heard(what, answer).await;
        }
        self.heard(what, answer).await
    }

    /// A connection with an identity that is not old.
    async fn channel(&self) -> Result<Channel, String> {
        let mut session = self.session.lock().await;
        let now = self.parts.clock.now();
        if let Some(session) = session.as_ref().filter(|session| now < session.renew_at) {
            return Ok(session.channel.clone());
        }
        let who = (self.socket.as_path(), self.spiffe_id.as_ref());
        let (td, clock) = (&self.parts.trust_domain, &self.parts.clock);
        let opening = session::open(who, &self.server, td, clock);
        // The socket and the server have a span of time each.
        let opened = tokio::time::timeout(2 * limits::UPSTREAM_TIMEOUT, opening).await;
        let opened = opened.map_err(|_elapsed| self.told("it gave no answer in time"))??;
        let channel = opened.channel.clone();
        *session = Some(opened);
        Ok(channel)
    }

    /// An answer, or what the upstream said; after an error a new session is made, for
    /// the identity may be what it minded.
    async fn heard<T>(
        &self,
        what: &str,
        answer: Result<tonic::Response<T>, Status>,
    ) -> Result<T, String> {
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => {
                *self.session.lock().await = None;
                let advice = match status.code() {
                    tonic::Code::PermissionDenied => {
                        "; give this server's entry there `downstream`"
                    }
                    _ => "",
                };
                let (code, message) = (status.code(), status.message());
                Err(self.told(&format!("{what}: {code:?}: {message}{advice}")))
            }
        }
    }

    fn told(&self, what: &str) -> String {
        format!("upstream.workload_api.server {}: {what}", self.server)
    }
}
