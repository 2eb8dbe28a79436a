//! A service's catalogue file as people write it: YAML, read strictly. The
//! JSON Schema for editors (`docs/catalogue.schema.json`) is made from this.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::{Spanned, budget, options};

use crate::limits::JSON_NESTING_MAX;

/// One service: whom tokens are for, and what they may allow.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceFile {
    /// The audience of its tokens: one service, one audience, one owner.
    #[cfg_attr(test, schemars(with = "String"))]
    pub(super) audience: Spanned<String>,
    /// The team that answers for it.
    pub(super) owner: String,
    /// What the service does.
    #[serde(default)]
    pub(super) description: String,
    /// The token profiles it accepts, its first choice first: jwt-svid, at+jwt. The default is at+jwt.
    #[serde(default)]
    pub(super) profiles: Vec<String>,
    /// Whether tokens must be bound to the caller's certificate or key; excludes jwt-svid.
    #[serde(default)]
    pub(super) require_pop: bool,
    /// The longest life of a token, such as 15m.
    #[serde(default)]
    pub(super) max_ttl: Option<String>,
    /// The life of a token that asks for none, such as 5m.
    #[serde(default)]
    pub(super) default_ttl: Option<String>,
    /// Whether a request that names no permission asks for all of them.
    #[serde(default)]
    pub(super) all_if_none_asked: bool,
    /// Free labels, which policies read as tags: resource.getTag("env").
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// What a token can allow.
    #[cfg_attr(test, schemars(with = "Vec<PermissionFile>"))]
    pub(super) permissions: Vec<Spanned<PermissionFile>>,
}

/// One permission.
#[derive(Deserialize, Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PermissionFile {
    /// Its name, unlike any other in the whole catalogue: payments:refund.create.
    pub(super) name: String,
    /// What it allows, in words.
    #[serde(default)]
    pub(super) description: String,
    /// low, medium or high; a high one needs proof of possession and lives at most 5m.
    #[serde(default)]
    pub(super) risk: RiskFile,
    /// What a high-risk permission need not have, and why.
    #[serde(default)]
    pub(super) relax: RelaxFile,
    /// The longest life of a token that carries it, such as 2m.
    #[serde(default)]
    pub(super) max_ttl: Option<String>,
    /// Since when it exists: 2026-01-10.
    #[serde(default)]
    pub(super) since: Option<String>,
    /// From when on its use is warned about.
    #[serde(default)]
    pub(super) deprecated: Option<String>,
    /// From when on it is denied.
    #[serde(default)]
    pub(super) sunset: Option<String>,
    /// The permission to ask for instead.
    #[serde(default)]
    pub(super) replaced_by: Option<String>,
    /// JSON Schemas of its authorization_details, by type, a URI.
    #[serde(default)]
    pub(super) details: BTreeMap<String, serde_json::Value>,
    /// Whether a request for it must bring authorization_details.
    #[serde(default)]
    pub(super) details_required: bool,
    /// The endpoints it opens.
    #[serde(default)]
    pub(super) endpoints: EndpointsFile,
}

/// How much harm a permission can do.
#[derive(Deserialize, Debug, Default, Clone, Copy)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(super) enum RiskFile {
    /// Little.
    Low,
    /// Some.
    #[default]
    Medium,
    /// Much.
    High,
}

/// What a high-risk permission need not have; each with the reason why.
#[derive(Deserialize, Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RelaxFile {
    /// Proof of possession.
    #[serde(default)]
    pub(super) possession: Option<String>,
    /// The short life.
    #[serde(default)]
    pub(super) lifetime: Option<String>,
}

/// Endpoints of a service. One that no permission lists is denied.
#[derive(Deserialize, Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointsFile {
    /// HTTP: a method (or * for any) and a path template, such as POST /refunds/{id}. A last segment ** stands for everything below.
    #[serde(default)]
    pub(super) http: Vec<String>,
    /// gRPC methods, such as payments.v1.Payments/Refund.
    #[serde(default)]
    pub(super) grpc: Vec<String>,
}

/// Reads one file.
///
/// # Errors
/// Line, if known, and what is wrong.
pub(super) fn read(text: &str) -> Result<ServiceFile, (Option<u64>, String)> {
    let options = options! {
        budget: budget! { max_nodes: 200_000, max_events: 400_000, max_depth: JSON_NESTING_MAX + 12 },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map(|at| at.line());
        let text = error.without_snippet().to_string();
        (
            line,
            text.lines()
                .next()
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's switch, not configuration of the product"
    )]
    fn the_schema_for_editors_is_that_of_the_types() {
        let schema = schemars::schema_for!(ServiceFile);
        let mut text = serde_json::to_string_pretty(&schema).unwrap();
        text.push('\n');
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/catalogue.schema.json"
        );
        if std::env::var_os("BULLA_REGENERATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap();
        // Compared as values: whether serde_json keeps the order of members depends
        // on what else is built.
        let written: serde_json::Value = serde_json::from_str(&written).unwrap();
        let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, expected, "run with BULLA_REGENERATE=1");
    }
}
