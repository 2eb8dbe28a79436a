//! What a workload asks for.

use serde::{Deserialize, Serialize};

/// A request for a token, as `POST /v1/token` receives it. Everything in it is
/// the caller's word; who the caller is comes from attestation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The service the token is for.
    pub audience: String,
    /// The permissions wanted; empty asks for all the service has, if it allows that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<String>,
    /// RFC 9396 objects, each with a `type` that the service declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<serde_json::Value>,
    /// The lifetime wanted, seconds; the service's default otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// `jwt-svid` or `at+jwt`; the service's first choice otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// No token rather than one without something that was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_or_nothing: bool,
}
