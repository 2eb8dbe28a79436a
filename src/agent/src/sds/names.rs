//! Names of secrets: what an Envoy asks for, and what it gets.

use std::collections::{BTreeMap, BTreeSet};

use tonic::Status;

use super::Config;
use super::node::Form;
use super::secrets::{Body, Secrets};

/// How many names one stream may ask for.
const MOST_NAMES: usize = 1000;
/// Bytes in one name: that of the longest SPIFFE ID.
const MOST_BYTES: usize = 2048;

/// What is available of the names that were asked for.
pub(super) struct Found<'a> {
    pub(super) bodies: BTreeMap<&'a str, &'a Body>,
    /// Names that name nothing of the caller's.
    pub(super) missing: Vec<&'a str>,
}

/// Looks up names.
pub(super) struct Catalogue<'a> {
    pub(super) config: &'a Config,
    pub(super) form: Form,
    pub(super) secrets: &'a Secrets,
}

/// Refuses more or longer names than a stream may ask for.
pub(super) fn check_bounds(names: &BTreeSet<String>) -> Result<(), Status> {
    if names.len() > MOST_NAMES {
        return Err(Status::invalid_argument(format!(
            "{} secrets are asked for; at most {MOST_NAMES} may be on one stream",
            names.len()
        )));
    }
    if names.iter().any(|name| name.len() > MOST_BYTES) {
        return Err(Status::invalid_argument(format!(
            "the name of a secret has more than {MOST_BYTES} bytes"
        )));
    }
    Ok(())
}

impl<'a> Catalogue<'a> {
    /// Looks up the names; an empty set asks for everything.
    ///
    /// # Errors
    /// Nothing of what was asked for is the caller's.
    pub(super) fn find<'b>(&self, names: &'b BTreeSet<String>) -> Result<Found<'b>, Status>
    where
        'a: 'b,
    {
        if names.is_empty() {
            return Ok(self.everything());
        }
        let mut bodies = BTreeMap::new();
        let mut missing = Vec::new();
        for name in names {
            match self.body(name) {
                Some(body) => drop(bodies.insert(name.as_str(), body)),
                None => missing.push(name.as_str()),
            }
        }
        // One name that means something else to somebody (a mesh has its own)
        // does not cost the others.
        if bodies.is_empty() {
            return Err(self.not_authorized(&missing));
        }
        Ok(Found { bodies, missing })
    }

    /// Every secret under its SPIFFE ID.
    pub(super) fn everything(&self) -> Found<'a> {
        let authorities = self.secrets.authorities.iter();
        let bundles = authorities.map(|a| (a.id.as_str(), a.body(self.form)));
        let identities = self.secrets.identities.iter().rev();
        // Of two identities of one SPIFFE ID the first in order counts.
        let svids = identities.map(|(id, body)| (id.as_str(), body));
        Found {
            bodies: bundles.chain(svids).collect(),
            missing: Vec::new(),
        }
    }

    fn body(&self, name: &str) -> Option<&'a Body> {
        let Secrets {
            identities,
            authorities,
            all,
        } = self.secrets;
        if name == self.config.default_svid_name {
            return identities.first().map(|(_, body)| body);
        }
        if name == self.config.default_bundle_name {
            return authorities.first().map(|own| own.body(self.form));
        }
        if name == self.config.default_all_bundles_name {
            // A plain list would let one trust domain speak for another.
            return (self.form == Form::Validator).then_some(all);
        }
        let identity = identities.iter().find(|(id, _)| id == name);
        identity.map(|(_, body)| body).or_else(|| {
            let bundle = authorities.iter().find(|a| a.id == name);
            bundle.map(|bundle| bundle.body(self.form))
        })
    }

    fn not_authorized(&self, missing: &[&str]) -> Status {
        let all = self.config.default_all_bundles_name.as_str();
        let why = if self.form == Form::TrustedCa && missing.contains(&all) {
            "; bundles of several trust domains are given to Envoy's SPIFFE validator alone, \
             which this node has not (1.18) or has disabled"
        } else {
            ""
        };
        Status::invalid_argument(format!(
            "workload is not authorized for the requested identities {missing:?}{why}"
        ))
    }
}
