//! What a caller may be sent, encoded as Envoy takes it: certificates with keys,
//! and the authorities to verify peers with.
//!
//! A secret is encoded once without its name, for all streams of a view and all
//! names it goes by; protobuf lets the name be put before it.

use std::sync::Arc;

use api::envoy_core::data_source::Specifier;
use api::envoy_core::{DataSource, TypedExtensionConfig};
use api::envoy_tls::secret::Type;
use api::envoy_tls::spiffe_cert_validator_config::TrustDomain;
use api::envoy_tls::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
};
use bytes::Bytes;
use identity::Bundle;
use prost::Message as _;
use prost_types::Any;
use ring::digest::{SHA256, digest};
use workload::{Identity, X509View};

use super::SECRET_TYPE;
use super::node::Form;
use crate::json_api::pem;

const VALIDATOR: &str = "envoy.tls.cert_validator.spiffe";
const VALIDATOR_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// One secret without its name.
pub(super) struct Body {
    encoded: Bytes,
    /// Tells versions of the secret apart. It comes from public parts alone.
    pub(super) version: String,
}

/// A bundle in both forms.
pub(super) struct Authorities {
    /// The trust domain's SPIFFE ID.
    pub(super) id: String,
    validator: Body,
    trusted_ca: Body,
}

/// All that one caller may be sent.
pub(super) struct Secrets {
    /// By SPIFFE ID, the default first.
    pub(super) identities: Vec<(String, Body)>,
    /// The own trust domain's authorities first, then the federated ones by name.
    pub(super) authorities: Vec<Authorities>,
    /// Those of all trust domains, each for itself.
    pub(super) all: Body,
}

impl Secrets {
    pub(super) fn of(view: &X509View) -> Self {
        let certificate = |identity: &Identity| {
            let id = identity.issued.svid.spiffe_id.to_string();
            (id, certificate(identity))
        };
        Self {
            identities: view.identities.iter().map(certificate).collect(),
            ..Self::bundles(&view.bundle, &view.federated)
        }
    }

    /// For a caller without identity.
    pub(super) fn own_bundle(own: &Bundle) -> Self {
        Self::bundles(own, &[])
    }

    fn bundles(own: &Bundle, federated: &[Arc<Bundle>]) -> Self {
        let bundles = || std::iter::once(own).chain(federated.iter().map(Arc::as_ref));
        let mut domains: Vec<TrustDomain> = bundles().map(trust_domain).collect();
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            identities: Vec::new(),
            authorities: bundles().map(Authorities::of).collect(),
            all: validator(domains),
        }
    }
}

impl Authorities {
    fn of(bundle: &Bundle) -> Self {
        let domain = trust_domain(bundle);
        let trusted_ca = CertificateValidationContext {
            trusted_ca: domain.trust_bundle.clone(),
            custom_validator_config: None,
        };
        Self {
            id: bundle.trust_domain.id().to_string(),
            validator: validator(vec![domain]),
            trusted_ca: Body::of_bundles(trusted_ca),
        }
    }

    pub(super) const fn body(&self, form: Form) -> &Body {
        match form {
            Form::Validator => &self.validator,
            Form::TrustedCa => &self.trusted_ca,
        }
    }
}

impl Body {
    fn of_bundles(context: CertificateValidationContext) -> Self {
        let encoded = encode(Type::ValidationContext(context));
        let version = version(&encoded);
        Self { encoded, version }
    }

    /// The secret under a name, packed as a resource.
    pub(super) fn named(&self, name: &str) -> Any {
        let named = Secret {
            name: name.to_owned(),
            r#type: None,
        };
        let mut value = named.encode_to_vec();
        value.extend_from_slice(&self.encoded);
        Any {
            type_url: SECRET_TYPE.to_owned(),
            value,
        }
    }
}

fn certificate(identity: &Identity) -> Body {
    let issued = &identity.issued;
    let chain = issued.svid.chain.iter().map(AsRef::as_ref);
    let chain = pem::encode("CERTIFICATE", chain);
    let version = version(chain.as_bytes());
    let key = pem::encode("PRIVATE KEY", [issued.key.secret_pkcs8()]);
    let encoded = encode(Type::TlsCertificate(TlsCertificate {
        certificate_chain: Some(inline(chain)),
        private_key: Some(inline(key)),
    }));
    Body { encoded, version }
}

fn trust_domain(bundle: &Bundle) -> TrustDomain {
    let authorities = bundle.x509_authorities.iter().map(|a| a.der.as_ref());
    TrustDomain {
        name: bundle.trust_domain.to_string(),
        trust_bundle: Some(inline(pem::encode("CERTIFICATE", authorities))),
    }
}

fn validator(trust_domains: Vec<TrustDomain>) -> Body {
    let config = SpiffeCertValidatorConfig { trust_domains };
    let typed_config = Any {
        type_url: VALIDATOR_TYPE.to_owned(),
        value: config.encode_to_vec(),
    };
    Body::of_bundles(CertificateValidationContext {
        trusted_ca: None,
        custom_validator_config: Some(TypedExtensionConfig {
            name: VALIDATOR.to_owned(),
            typed_config: Some(typed_config),
        }),
    })
}

fn inline(text: String) -> DataSource {
    DataSource {
        specifier: Some(Specifier::InlineBytes(text.into_bytes().into())),
    }
}

fn encode(r#type: Type) -> Bytes {
    let secret = Secret {
        name: String::new(),
        r#type: Some(r#type),
    };
    secret.encode_to_vec().into()
}

fn version(public: &[u8]) -> String {
    let digest = digest(&SHA256, public);
    hex::encode(digest.as_ref().get(..8).unwrap_or_default())
}
