//! Enrolment: from a token and a pin to an agent with an SVID of its own.
//!
//! The order matters. A token is a secret, so evidence is sent only over a
//! connection whose server is already recognised. An agent that holds a trust bundle
//! recognises its server by that and by nothing else: a root that the server has removed
//! since must not come back by way of a pin or a bundle file that is older. These count
//! only before there is a bundle, when every authority in it has expired, or when the
//! operator asks for it (`trust.replace_stored_bundle`). Without any of them the agent
//! refuses; there is no "insecure bootstrap".

mod anchor;
mod anchors;
mod attest;
mod csr;
mod error;
mod proof;

use std::sync::Arc;

use api::bundle::GetBundleRequest;
use api::bundle::bundle_client::BundleClient;
use api::convert::bundle_from_wire;
use bytes::Bytes;
use identity::{Bundle, PrivateKeyDer, Timestamp, X509Svid};
use keys::{KeyType, MemorySigner, Signer};
use tonic::Status;
use tonic::transport::Channel;
use zeroize::Zeroizing;

use anchors::Anchor;
pub(crate) use anchors::has_expired;
pub(crate) use csr::certification_request;
pub use error::EnrolError;

use crate::clock::Clock;
use crate::config::Settings;
use crate::disk::{Folder, OwnIdentity, TrustedBundle};
use crate::entropy::Entropy;
use crate::limits;
use crate::server_link::{LinkError, ServerLink};

const PENDING_KEY: &str = "agent-key.pending";

/// What enrolment needs to know.
pub(crate) struct Enroller<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) folder: &'a Folder,
    pub(crate) link: &'a ServerLink,
    pub(crate) clock: &'a Clock,
    pub(crate) entropy: &'a Entropy,
    /// The own bundle that the agent goes by now, if it has one: at least as new as the
    /// stored one.
    pub(crate) held: Option<Arc<Bundle>>,
}

impl Enroller<'_> {
    /// Looks, without touching the network, whether enrolment can begin at all.
    pub(crate) fn precheck(&self) -> Result<(), EnrolError> {
        self.anchors()?;
        self.prover("this agent is not enrolled yet").map(drop)
    }

    /// Enrols: returns what the server certified, already stored.
    pub(crate) async fn enrol(
        &self,
        why: &'static str,
    ) -> Result<(OwnIdentity, Arc<Bundle>), EnrolError> {
        let mut prover = self.prover(why)?;
        let (channel, bundle) = self.recognise().await?;
        let (pkcs8, signer) = pending_key(self.folder, self.entropy)?;
        let csr = certification_request(&signer).map_err(|e| EnrolError::Key(e.to_string()))?;
        let attested = attest::attest(channel, prover.as_mut(), csr).await?;
        let own = OwnIdentity {
            svid: own_svid(
                &attested.svid.cert_chain,
                &signer,
                &bundle,
                self.clock.now(),
            )?,
            key: PrivateKeyDer::new(&pkcs8),
            reattestable: attested.reattestable,
        };
        TrustedBundle::store(self.folder, &bundle)?;
        adopt(&own, self.folder)?;
        Ok((own, bundle))
    }

    /// A connection to a server that has proved to be ours, and its bundle.
    async fn recognise(&self) -> Result<(Channel, Arc<Bundle>), EnrolError> {
        let mut failure = EnrolError::NoAnchor;
        for anchor in self.anchors()? {
            let outcome = match anchor {
                Anchor::Held(held) => self.recognise_again(held).await,
                Anchor::File(bundle) => self.recognise_by_bundle(bundle).await,
                Anchor::Pins => self.recognise_by_pin().await,
            };
            match outcome {
                Ok((channel, bundle)) => {
                    self.link.bundles().set(Arc::clone(&bundle));
                    return Ok((channel, bundle));
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn recognise_by_bundle(
        &self,
        bundle: Arc<Bundle>,
    ) -> Result<(Channel, Arc<Bundle>), EnrolError> {
        let channel = self.link.anonymous(bundle).await?;
        let bundle = Arc::new(self.get_bundle(&channel).await?);
        Ok((channel, bundle))
    }

    /// As [`Enroller::recognise_by_bundle`], by a bundle that came from the server before.
    /// What the server gives takes its place only if it is not older. The keys of access
    /// tokens are no part of it, and come with the next stream: until then those in hand
    /// go on.
    async fn recognise_again(
        &self,
        held: Arc<Bundle>,
    ) -> Result<(Channel, Arc<Bundle>), EnrolError> {
        let (channel, given) = self.recognise_by_bundle(Arc::clone(&held)).await?;
        if given.sequence < held.sequence {
            tracing::warn!(
                given = given.sequence,
                held = held.sequence,
                "the server gave an older trust bundle than the one in hand, which is kept"
            );
            return Ok((channel, held));
        }
        let mut given = Arc::unwrap_or_clone(given);
        given.access_keys.clone_from(&held.access_keys);
        Ok((channel, Arc::new(given)))
    }

    async fn recognise_by_pin(&self) -> Result<(Channel, Arc<Bundle>), EnrolError> {
        let (config, captured) =
            channel::capture_config().map_err(|error| LinkError::Tls(error.to_string()))?;
        let channel = self.link.connect_with(config).await?;
        let bundle = self.get_bundle(&channel).await?;
        let chain = captured.chain().unwrap_or_default();
        let (pins, id) = (&self.settings.pins, self.link.server_id());
        anchor::check_pins(pins, &bundle, chain, id, self.clock.now())?;
        // The same connection goes on: it is the one that was checked, and its
        // configuration serves no second handshake.
        Ok((channel, Arc::new(bundle)))
    }

    async fn get_bundle(&self, channel: &Channel) -> Result<Bundle, EnrolError> {
        let call = async {
            BundleClient::new(channel.clone())
                .max_decoding_message_size(limits::SERVER_MESSAGE)
                .get_bundle(GetBundleRequest::default())
                .await
        };
        let wire = tokio::time::timeout(limits::SERVER_CALL, call)
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer to GetBundle")))
            .map_err(EnrolError::Refused)?
            .into_inner();
        let bundle = bundle_from_wire(&wire).map_err(|e| EnrolError::Bundle(e.to_string()))?;
        if bundle.trust_domain != self.settings.trust_domain {
            let theirs = &bundle.trust_domain;
            let why = format!(
                "it is of trust domain {theirs}; this agent is configured for {}",
                self.settings.trust_domain
            );
            return Err(EnrolError::Bundle(why));
        }
        if bundle.x509_authorities.len() > limits::BUNDLE_AUTHORITIES {
            return Err(EnrolError::Bundle("it has too many authorities".to_owned()));
        }
        Ok(bundle)
    }
}

/// The key that the next SVID of this agent will be for. It is stored before it
/// is sent anywhere: an agent that dies after the server has certified it asks
/// again for the same key.
pub(crate) fn pending_key(
    folder: &Folder,
    entropy: &Entropy,
) -> Result<(Zeroizing<Vec<u8>>, MemorySigner), EnrolError> {
    let stored = folder.read(PENDING_KEY, limits::SMALL_FILE_BYTES)?;
    if let Some(pkcs8) = stored.map(Zeroizing::new)
        && let Ok(signer) = MemorySigner::from_pkcs8(&pkcs8)
    {
        return Ok((pkcs8, signer));
    }
    let key = |e: keys::KeyError| EnrolError::Key(e.to_string());
    let (pkcs8, _public) = keys::generate_pkcs8(KeyType::EcP256, entropy.rng()).map_err(key)?;
    let signer = MemorySigner::from_pkcs8(&pkcs8).map_err(key)?;
    folder.write(PENDING_KEY, &pkcs8)?;
    Ok((pkcs8, signer))
}

/// Stores the identity that the pending key now belongs to.
pub(crate) fn adopt(own: &OwnIdentity, folder: &Folder) -> Result<(), EnrolError> {
    own.store(folder)?;
    folder.remove(PENDING_KEY)?;
    Ok(())
}

/// Checks what a server certified for this agent: our key, our trust domain,
/// an agent's ID, and a chain that leads to the bundle.
pub(crate) fn own_svid(
    chain: &[Bytes],
    signer: &MemorySigner,
    bundle: &Bundle,
    now: Timestamp,
) -> Result<X509Svid, EnrolError> {
    let ders: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
    let verified = verify::verify_x509_svid(&ders, bundle, now).map_err(EnrolError::OwnChain)?;
    if !verified.spiffe_id.is_agent() {
        return Err(EnrolError::Answer("its SVID is not an agent's"));
    }
    let leaf = ders
        .first()
        .ok_or(EnrolError::Answer("it has no certificate"))?;
    if leaf_key(leaf).is_none_or(|key| key != signer.public_key().spki_der()) {
        return Err(EnrolError::Answer("its SVID is for another key"));
    }
    let said = verify::leaf_identity(leaf).map_err(EnrolError::OwnChain)?;
    Ok(X509Svid {
        spiffe_id: verified.spiffe_id,
        chain: ders.iter().map(|der| Arc::from(*der)).collect(),
        not_before: said.not_before,
        not_after: verified.not_after,
    })
}

/// The SubjectPublicKeyInfo of a certificate.
pub(crate) fn leaf_key(der: &[u8]) -> Option<&[u8]> {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    X509Certificate::from_der(der)
        .ok()
        .map(|(_, certificate)| certificate.tbs_certificate.subject_pki.raw)
}
