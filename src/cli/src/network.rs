//! Reaching the server over the network, as an admin by SPIFFE ID: with the X.509-SVID
//! that `bulla fetch x509 --write` keeps in a folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use channel::{
    ChannelOptions, Clock, Expect, LiveBundles, LiveIdentity, client_config, tls_channel,
};
use identity::{Bundle, PrivateKeyDer, SpiffeId, X509AuthorityCertificate};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tonic::transport::Channel;

use crate::admin::root_cause;
use crate::failure::Failure;

/// Connects to the server API with the identity of a folder, and to no other server
/// than that of the identity's own trust domain.
///
/// # Errors
/// The folder holds no usable identity, or no such server answers.
pub(crate) async fn connect(
    address: &str,
    folder: &Path,
    options: &ChannelOptions,
) -> Result<Channel, Failure> {
    let chain = certificates(&folder.join("svid.pem"))?;
    let leaf = chain.first().map(AsRef::as_ref).unwrap_or_default();
    let own = verify::leaf_identity(leaf)
        .map(|leaf| leaf.spiffe_id)
        .map_err(|error| unusable(&folder.join("svid.pem"), &error.to_string()))?;
    let mut bundle = Bundle::empty(own.trust_domain());
    let authorities = certificates(&folder.join("bundle.pem"))?;
    bundle.x509_authorities = authorities
        .into_iter()
        .map(|der| X509AuthorityCertificate {
            der,
            tainted: false,
        })
        .collect();
    let server = SpiffeId::new(&bundle.trust_domain, "/spire/server")
        .map_err(|error| Failure::usage(error.to_string()))?;
    let identity = LiveIdentity::empty();
    let key = key(&folder.join("svid-key.pem"))?;
    identity
        .set(&chain, &key)
        .map_err(|error| unusable(folder, &error.to_string()))?;
    let bundles = LiveBundles::empty();
    bundles.set(Arc::new(bundle));
    let expect = Expect { server, bundles };
    let config = client_config(Some(identity), expect, Clock::new(crate::clock::now))
        .map_err(|error| Failure::usage(error.to_string()))?;
    tls_channel(address, config, options)
        .await
        .map_err(|error| {
            let cause = root_cause(&error);
            Failure::unreachable(format!("no server of ours answers at {address}: {cause}"))
                .next("check the address, and that the folder's X.509-SVID is fresh")
        })
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::usage(format!("{} cannot be used: {why}", path.display()))
        .next("keep the folder with `bulla fetch x509 --write FOLDER`")
}

fn certificates(path: &Path) -> Result<Vec<Arc<[u8]>>, Failure> {
    let text = fs::read(path).map_err(|error| unusable(path, &error.to_string()))?;
    let all = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| unusable(path, &error.to_string()))?;
    if all.is_empty() {
        return Err(unusable(path, "it holds no certificate"));
    }
    Ok(all.iter().map(|der| der.as_ref().into()).collect())
}

fn key(path: &Path) -> Result<PrivateKeyDer, Failure> {
    let text = fs::read(path).map_err(|error| unusable(path, &error.to_string()))?;
    let text = zeroize::Zeroizing::new(text);
    let der = PrivatePkcs8KeyDer::from_pem_slice(&text)
        .map_err(|error| unusable(path, &error.to_string()))?;
    Ok(PrivateKeyDer::new(der.secret_pkcs8_der()))
}
