//! DeltaSecrets: each response has what changed, and the names that are gone.

use std::collections::{BTreeMap, BTreeSet};

use api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use bytes::Bytes;
use tonic::Status;

use super::Config;
use super::names::{Catalogue, check_bounds};
use super::node::{self, Form};
use super::secrets::Secrets;
use super::stream::Protocol;
use crate::workload_api::frame;

const EVERYTHING: &str = "*";

/// The state of one stream.
#[derive(Default)]
pub(super) struct Delta {
    asked: Option<Asked>,
    names: BTreeSet<String>,
    wants_everything: bool,
    /// What the caller holds: the version of each secret, by name.
    held: BTreeMap<String, String>,
    /// Names the caller was told are not there.
    absent: BTreeSet<String>,
    sent: u64,
}

struct Asked {
    form: Form,
    type_url: String,
}

impl Delta {
    fn subscribe(&mut self, names: Vec<String>) -> Result<(), Status> {
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            // To subscribe again is to ask to be sent again.
            self.held.remove(&name);
            self.absent.remove(&name);
            if name == EVERYTHING {
                self.wants_everything = true;
            } else {
                self.names.insert(name);
            }
        }
        check_bounds(&self.names)
    }

    fn unsubscribe(&mut self, names: &[String]) {
        for name in names {
            if name == EVERYTHING {
                self.wants_everything = false;
            }
            self.names.remove(name);
            self.held.remove(name);
            self.absent.remove(name);
        }
    }

    /// Everything the caller wants that is there, by name, with its version.
    fn response(&mut self, catalogue: &Catalogue<'_>) -> Result<DeltaDiscoveryResponse, Status> {
        let mut wanted = if self.wants_everything {
            catalogue.everything().bodies
        } else {
            BTreeMap::new()
        };
        let mut missing = Vec::new();
        if !self.names.is_empty() {
            match catalogue.find(&self.names) {
                Ok(found) => {
                    wanted.extend(found.bodies);
                    missing = found.missing;
                }
                Err(_) if self.wants_everything => {
                    missing = self.names.iter().map(String::as_str).collect();
                }
                Err(status) => return Err(status),
            }
        }
        let is_gone = |name: &&String| !wanted.contains_key(name.as_str());
        let mut removed: Vec<String> = self.held.keys().filter(is_gone).cloned().collect();
        for name in missing {
            if !self.held.contains_key(name) && !self.absent.contains(name) {
                removed.push(name.to_owned());
            }
        }
        let resources: Vec<Resource> = wanted
            .iter()
            .filter(|(name, body)| self.held.get(**name) != Some(&body.version))
            .map(|(name, body)| Resource {
                version: body.version.clone(),
                resource: Some(body.named(name)),
                name: (*name).to_owned(),
            })
            .collect();
        for name in &removed {
            self.held.remove(name);
            if self.names.contains(name) {
                self.absent.insert(name.clone());
            }
        }
        for resource in &resources {
            self.absent.remove(&resource.name);
            self.held
                .insert(resource.name.clone(), resource.version.clone());
        }
        Ok(DeltaDiscoveryResponse {
            resources,
            removed_resources: removed,
            ..DeltaDiscoveryResponse::default()
        })
    }
}

impl Protocol for Delta {
    type Request = DeltaDiscoveryRequest;

    fn take(&mut self, request: DeltaDiscoveryRequest, config: &Config) -> Result<(), Status> {
        if let Some(error) = &request.error_detail {
            let reason = error.message.as_str();
            tracing::warn!(reason, "an Envoy rejected its secrets");
        }
        let is_first = self.asked.is_none();
        let disabled = config.disable_spiffe_cert_validation;
        match &mut self.asked {
            Some(asked) if request.node.is_some() => {
                asked.form = node::form(request.node.as_ref(), disabled);
            }
            Some(_) => {}
            none => {
                *none = Some(Asked {
                    form: node::form(request.node.as_ref(), disabled),
                    type_url: request.type_url,
                });
            }
        }
        if is_first {
            self.wants_everything = request.resource_names_subscribe.is_empty();
        }
        self.subscribe(request.resource_names_subscribe)?;
        self.unsubscribe(&request.resource_names_unsubscribe);
        if is_first {
            let known = request.initial_resource_versions;
            check_bounds(&known.keys().cloned().collect())?;
            self.held.extend(known);
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
        let (form, type_url) = (asked.form, asked.type_url.clone());
        let catalogue = Catalogue {
            config,
            form,
            secrets,
        };
        let response = self.response(&catalogue)?;
        if response.resources.is_empty() && response.removed_resources.is_empty() {
            return Ok(None);
        }
        self.sent += 1;
        Ok(Some(frame(&DeltaDiscoveryResponse {
            system_version_info: self.sent.to_string(),
            type_url,
            nonce,
            ..response
        })))
    }
}
