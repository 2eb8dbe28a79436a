//! StreamSecrets and FetchSecrets: each response has all that was asked for.

use std::collections::{BTreeMap, BTreeSet};

use api::discovery::{DiscoveryRequest, DiscoveryResponse};
use bytes::Bytes;
use tonic::Status;

use super::Config;
use super::names::{Catalogue, Found, check_bounds};
use super::node::{self, Form};
use super::secrets::Secrets;
use super::source::Source;
use super::stream::Protocol;
use crate::limits;
use crate::workload_api::frame;

/// The state of one stream.
#[derive(Default)]
pub(super) struct StateOfTheWorld {
    asked: Option<Asked>,
    sent: Option<Sent>,
    /// The names changed, so that an answer is due though nothing else changed.
    is_due: bool,
}

struct Asked {
    names: BTreeSet<String>,
    form: Form,
    type_url: String,
}

struct Sent {
    version: u64,
    nonce: String,
    /// The version of each secret, by name.
    secrets: BTreeMap<String, String>,
}

impl Sent {
    /// Whether a secret that is still asked for is another.
    fn differs_from(&self, versions: &BTreeMap<String, String>) -> bool {
        let held = |name: &String| self.secrets.get(name);
        let mut both = versions.iter().filter_map(|(n, v)| Some((held(n)?, v)));
        both.any(|(held, now)| held != now)
    }
}

impl Asked {
    fn new(request: DiscoveryRequest, config: &Config) -> Result<Self, Status> {
        let disabled = config.disable_spiffe_cert_validation;
        Ok(Self {
            form: node::form(request.node.as_ref(), disabled),
            type_url: request.type_url,
            names: names(request.resource_names)?,
        })
    }

    fn find<'a>(&'a self, secrets: &'a Secrets, config: &'a Config) -> Result<Found<'a>, Status> {
        let catalogue = Catalogue {
            config,
            form: self.form,
            secrets,
        };
        catalogue.find(&self.names)
    }
}

fn names(asked: Vec<String>) -> Result<BTreeSet<String>, Status> {
    let names = asked.into_iter().filter(|name| !name.is_empty()).collect();
    check_bounds(&names)?;
    Ok(names)
}

impl Protocol for StateOfTheWorld {
    type Request = DiscoveryRequest;

    fn take(&mut self, request: DiscoveryRequest, config: &Config) -> Result<(), Status> {
        if let Some(sent) = &self.sent {
            if request.response_nonce != sent.nonce {
                return Ok(()); // It answers a response that a later one replaced.
            }
            if let Some(error) = &request.error_detail {
                let (names, reason) = (&request.resource_names, error.message.as_str());
                tracing::warn!(?names, reason, "an Envoy rejected its secrets");
            }
        }
        match &mut self.asked {
            None => {
                self.asked = Some(Asked::new(request, config)?);
                self.is_due = true;
            }
            Some(asked) => {
                if request.node.is_some() {
                    let disabled = config.disable_spiffe_cert_validation;
                    asked.form = node::form(request.node.as_ref(), disabled);
                }
                let names = names(request.resource_names)?;
                self.is_due |= names != asked.names;
                asked.names = names;
            }
        }
        Ok(())
    }

    fn has_asked(&self) -> bool {
        self.asked.is_some()
    }

    fn respond(
        &mut self,
        secrets: &Secrets,
        config: &Config,
        nonce: String,
    ) -> Result<Option<Bytes>, Status> {
        let Some(asked) = &self.asked else {
            return Ok(None);
        };
        let found = asked.find(secrets, config)?;
        let versions: BTreeMap<String, String> = found
            .bodies
            .iter()
            .map(|(name, body)| ((*name).to_owned(), body.version.clone()))
            .collect();
        let (has_news, before) = match &self.sent {
            None => (true, 0),
            // Other names for the same content are no new version of it.
            Some(sent) if self.is_due => (sent.differs_from(&versions), sent.version),
            Some(sent) => (sent.secrets != versions, sent.version),
        };
        if !has_news && !self.is_due {
            return Ok(None);
        }
        if !found.missing.is_empty() {
            tracing::debug!(names = ?found.missing, "an Envoy asks for secrets that are not its own");
        }
        let version = if has_news { before + 1 } else { before };
        let message = frame(&DiscoveryResponse {
            version_info: version.to_string(),
            resources: resources(&found),
            type_url: asked.type_url.clone(),
            nonce: nonce.clone(),
        });
        self.sent = Some(Sent {
            version,
            nonce,
            secrets: versions,
        });
        self.is_due = false;
        Ok(Some(message))
    }
}

fn resources(found: &Found<'_>) -> Vec<prost_types::Any> {
    let bodies = found.bodies.iter();
    bodies.map(|(name, body)| body.named(name)).collect()
}

/// Answers a request that is no stream: without version and nonce.
pub(super) async fn fetch(mut source: Source, request: &DiscoveryRequest) -> Result<Bytes, Status> {
    let waiting = async {
        loop {
            if let Some(secrets) = source.secrets()? {
                return Ok(secrets);
            }
            source.changed().await?;
        }
    };
    let secrets = tokio::time::timeout(limits::FIRST_ANSWER, waiting).await;
    let secrets = secrets.unwrap_or_else(|_| Err(source.late()))?;
    let asked = Asked::new(request.clone(), source.config())?;
    let message = frame(&DiscoveryResponse {
        resources: resources(&asked.find(&secrets, source.config())?),
        type_url: asked.type_url.clone(),
        ..DiscoveryResponse::default()
    });
    source.deliver()?;
    Ok(message)
}
