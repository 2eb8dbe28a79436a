//! What an engine says of a container (`GET /containers/{id}/json`), as far as
//! selectors are made of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::ContainerId;

/// The most labels that are stated; more do not fit into one caller's selectors.
const MAX_LABELS: usize = 128;
const MAX_ENV: usize = 4096;

/// One container.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The image as it was named when the container was made; may be empty.
    pub image: String,
    /// The image by its digest, `sha256:<hex>`.
    pub image_digest: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The environment that the container was made with. Often secret.
    pub env: BTreeMap<String, String>,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Container")
            .field("image_digest", &self.image_digest)
            .finish_non_exhaustive()
    }
}

/// An engine's answer that is not as engines answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's answer is not understood: {0}")]
pub struct Malformed(&'static str);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    id: String,
    image: String,
    config: WireConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireConfig {
    #[serde(default)]
    image: String,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

impl Container {
    /// Reads the engine's answer to the question for `id`.
    ///
    /// # Errors
    /// It is no such document, or is about another container.
    pub fn from_json(json: &[u8], id: &ContainerId) -> Result<Self, Malformed> {
        // What serde says may quote the document, which may hold secrets.
        let wire: Wire = serde_json::from_slice(json)
            .or(Err(Malformed("it is not a description of a container")))?;
        if wire.id != id.as_str() {
            return Err(Malformed("it is about another container"));
        }
        if !is_digest(&wire.image) {
            return Err(Malformed("the image is not given by a SHA-256"));
        }
        let labels = wire.config.labels.unwrap_or_default();
        let env = wire.config.env.unwrap_or_default();
        if labels.len() > MAX_LABELS || env.len() > MAX_ENV {
            return Err(Malformed("it has too many labels or variables"));
        }
        Ok(Self {
            image: wire.config.image,
            image_digest: with_algorithm(wire.image),
            labels,
            env: env.into_iter().filter_map(variable).collect(),
        })
    }
}

// Podman leaves the algorithm out.
fn with_algorithm(digest: String) -> String {
    if digest.starts_with("sha256:") {
        digest
    } else {
        format!("sha256:{digest}")
    }
}

fn is_digest(text: &str) -> bool {
    ContainerId::parse(text.strip_prefix("sha256:").unwrap_or(text)).is_some()
}

fn variable(text: String) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}
