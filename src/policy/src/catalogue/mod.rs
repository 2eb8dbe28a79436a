//! The permission catalogue: what each service lets a token allow, who answers
//! for it, and which endpoints each permission opens.

mod check;
mod document;
mod endpoint;
mod schema;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use identity::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{SERVICES_MAX, TTL_DEFAULT};
use crate::{Audience, Digest, Fault, PermissionName, SourceFile, on_large_stack};

pub use endpoint::{Endpoint, EndpointError};
pub use schema::Details;

/// The services that tokens can be for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogue(Arc<Services>);

#[derive(Debug)]
struct Services {
    by_audience: BTreeMap<Audience, Service>,
    /// Whose a permission is.
    audiences: HashMap<PermissionName, Audience>,
    digest: Digest,
}

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The audience of its tokens.
    pub audience: Audience,
    /// The team that answers for it.
    pub owner: String,
    /// What it does.
    pub description: String,
    /// The profiles it accepts, first choice first; never empty.
    pub profiles: Vec<Profile>,
    /// Whether tokens must be bound to the caller.
    pub require_pop: bool,
    /// The longest life of a token.
    pub max_ttl: Seconds,
    /// The life of a token that asks for none.
    pub default_ttl: Seconds,
    /// Whether naming no permission asks for all.
    pub all_if_none_asked: bool,
    /// Free labels, tags of the resource in policies.
    pub labels: BTreeMap<String, String>,
    /// What a token can allow, by name.
    pub permissions: BTreeMap<PermissionName, Permission>,
    /// The file that says so.
    pub source: SourceFile,
    endpoints: endpoint::Table,
    /// Which permission a type of `authorization_details` belongs to.
    types: HashMap<String, PermissionName>,
}

/// One permission of a service.
#[derive(Clone, Debug)]
pub struct Permission {
    /// Its name, unique in the whole catalogue.
    pub name: PermissionName,
    /// What it allows, in words.
    pub description: String,
    /// How much harm it can do.
    pub risk: Risk,
    /// What a high-risk one need not have.
    pub relaxed: Relaxed,
    /// The longest life of a token that carries it.
    pub max_ttl: Option<Seconds>,
    /// Since when it exists.
    pub since: Option<Timestamp>,
    /// From when on its use is warned about.
    pub deprecated: Option<Timestamp>,
    /// From when on it is denied.
    pub sunset: Option<Timestamp>,
    /// What to ask for instead.
    pub replaced_by: Option<PermissionName>,
    /// Its types of `authorization_details`.
    pub details: BTreeMap<String, Details>,
    /// Whether a request for it must bring some.
    pub details_required: bool,
    /// The endpoints it opens.
    pub endpoints: Vec<Endpoint>,
}

/// What a high-risk permission need not have; each with the reason its owner gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relaxed {
    /// Proof of possession.
    pub possession: Option<String>,
    /// A life of at most [`crate::limits::HIGH_RISK_TTL_MAX`].
    pub lifetime: Option<String>,
}

/// How much harm a permission can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much: by default only in tokens that prove possession and live briefly.
    High,
}

impl Risk {
    /// `low`, `medium` or `high`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// The form a token takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Profile {
    /// A SPIFFE JWT-SVID that also carries the scope claims: a bearer token.
    #[serde(rename = "jwt-svid")]
    JwtSvid,
    /// An access token of RFC 9068, always bound by `cnf`.
    #[serde(rename = "at+jwt")]
    AccessToken,
}

impl Profile {
    /// `jwt-svid` or `at+jwt`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JwtSvid => "jwt-svid",
            Self::AccessToken => "at+jwt",
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "jwt-svid" => Ok(Self::JwtSvid),
            "at+jwt" => Ok(Self::AccessToken),
            _ => Err(format!(
                "{:?} is no token profile; use jwt-svid or at+jwt",
                text.chars().take(40).collect::<String>()
            )),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Catalogue {
    /// Reads a catalogue, one service per file.
    ///
    /// # Errors
    /// Everything that is wrong, with file and line: unknown keys, bad names, two
    /// files for one audience, a permission declared twice, overlapping
    /// endpoints, a replacement that does not exist, a schema that is none.
    pub fn read(files: &[SourceFile]) -> Result<Self, Vec<Fault>> {
        on_large_stack(|| Self::read_all(files)).map_err(|error| {
            let what = format!("it cannot be read now: {error}");
            vec![Fault::error("catalogue", None, what)]
        })?
    }

    fn read_all(files: &[SourceFile]) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if files.len() > SERVICES_MAX {
            let what = format!("{} services; at most {SERVICES_MAX}", files.len());
            return Err(vec![Fault::error("catalogue", None, what)]);
        }
        let mut services = Vec::new();
        for file in files {
            services.extend(check::service(file, &mut faults));
        }
        let by_audience = check::together(services, &mut faults);
        if !faults.is_empty() {
            faults.sort();
            return Err(faults);
        }
        let names = |s: &Service| -> Vec<_> {
            let names = s.permissions.keys();
            names
                .map(|name| (name.clone(), s.audience.clone()))
                .collect()
        };
        let parts = by_audience
            .iter()
            .flat_map(|(audience, s)| [audience.as_str().as_bytes(), s.source.text.as_bytes()]);
        Ok(Self(Arc::new(Services {
            audiences: by_audience.values().flat_map(names).collect(),
            digest: Digest::of_parts(parts),
            by_audience,
        })))
    }

    /// Names this catalogue: over audiences and the files' texts.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The service with this audience.
    #[must_use]
    pub fn service(&self, audience: &str) -> Option<&Service> {
        self.0.by_audience.get(audience)
    }

    /// All services, in order of audiences.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.0.by_audience.values()
    }

    /// A permission and the service that declares it.
    #[must_use]
    pub fn permission(&self, name: &str) -> Option<(&Service, &Permission)> {
        let service = self.service(self.0.audiences.get(name)?.as_str())?;
        Some((service, service.permissions.get(name)?))
    }

    /// The permission that a call to a service's endpoint needs; `None` is to be
    /// denied. A gRPC method is the path `/package.Service/Method` with POST.
    #[must_use]
    pub fn endpoint(&self, audience: &str, method: &str, path: &str) -> Option<&PermissionName> {
        self.service(audience)?.endpoint(method, path)
    }
}

impl Service {
    /// The permission that a call needs; `None` is to be denied.
    #[must_use]
    pub fn endpoint(&self, method: &str, path: &str) -> Option<&PermissionName> {
        self.endpoints.find(method, path)
    }

    /// The permission a type of `authorization_details` belongs to, and its schema.
    #[must_use]
    pub fn details(&self, kind: &str) -> Option<(&PermissionName, &Details)> {
        let permission = self.permissions.get(self.types.get(kind)?)?;
        Some((&permission.name, permission.details.get(kind)?))
    }
}

impl Permission {
    /// Whether its use is warned about now.
    #[must_use]
    pub fn is_deprecated(&self, now: Timestamp) -> bool {
        self.deprecated.is_some_and(|from| from <= now)
    }

    /// Whether it is denied now.
    #[must_use]
    pub fn is_past_sunset(&self, now: Timestamp) -> bool {
        self.sunset.is_some_and(|from| from <= now)
    }

    /// Whether a token with it must prove possession.
    #[must_use]
    pub const fn needs_possession(&self) -> bool {
        matches!(self.risk, Risk::High) && self.relaxed.possession.is_none()
    }

    /// Whether a token with it must live briefly.
    #[must_use]
    pub const fn needs_short_life(&self) -> bool {
        matches!(self.risk, Risk::High) && self.relaxed.lifetime.is_none()
    }
}

/// The life of a token when nobody says.
const DEFAULT_TTL: Seconds = Seconds(TTL_DEFAULT);
