//! `[keys.aws_kms]`: which account's KMS, and where its credentials come from.
//! Credentials themselves are never in the configuration.

use std::path::PathBuf;

use aws_kms::Endpoint;
use serde::Deserialize;

use super::ConfigError;
use super::value::{absolute, refuse};

/// `[keys.aws_kms]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwsKmsSection {
    /// The region.
    pub region: String,
    /// Where KMS is, when not at the region's usual place.
    pub endpoint: Option<String>,
    /// Certificates of the authorities that vouch for it, PEM.
    pub ca_bundle_file: Option<PathBuf>,
    /// Where credentials come from.
    #[serde(default = "environment")]
    pub credentials: String,
    /// The shared credentials file.
    pub credentials_file: Option<PathBuf>,
    /// The profile in it.
    pub profile: Option<String>,
}

fn environment() -> String {
    "environment".into()
}

/// Where credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KmsCredentials {
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Environment,
    /// A profile of a shared credentials file.
    File {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: String,
    },
    /// The container's endpoint, named in the environment.
    Container,
    /// The instance's metadata service.
    Instance,
}

/// `[keys.aws_kms]`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsSettings {
    /// The region.
    pub region: String,
    /// Where KMS is.
    pub endpoint: Endpoint,
    /// Certificates of its authorities; `None` takes the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Where credentials come from.
    pub credentials: KmsCredentials,
}

pub(super) fn check(section: Option<&AwsKmsSection>) -> Result<KmsSettings, ConfigError> {
    let Some(section) = section else {
        return Err(refuse(
            "keys.storage",
            "aws_kms",
            "section [keys.aws_kms] is missing; it says which region",
        ));
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let region = &section.region;
    if region.is_empty() || region.len() > 32 || !region.bytes().all(plain) {
        let problem = "it is no region; write one such as eu-central-1";
        return Err(refuse("keys.aws_kms.region", region, problem));
    }
    let endpoint = match &section.endpoint {
        None => Endpoint::of_region(region),
        Some(text) => text.parse().map_err(|error: aws_kms::EndpointError| {
            refuse("keys.aws_kms.endpoint", text, error.to_string())
        })?,
    };
    let ca_bundle = section.ca_bundle_file.as_deref();
    let ca_bundle = ca_bundle.map(|path| absolute("keys.aws_kms.ca_bundle_file", path));
    Ok(KmsSettings {
        region: region.clone(),
        endpoint,
        ca_bundle: ca_bundle.transpose()?,
        credentials: credentials(section)?,
    })
}

fn credentials(section: &AwsKmsSection) -> Result<KmsCredentials, ConfigError> {
    let key = "keys.aws_kms.credentials";
    let from = section.credentials.as_str();
    let named = match from {
        "environment" => KmsCredentials::Environment,
        "container" => KmsCredentials::Container,
        "instance" => KmsCredentials::Instance,
        "file" => {
            let Some(path) = &section.credentials_file else {
                let problem = "keys.aws_kms.credentials_file is missing; it says which file";
                return Err(refuse(key, from, problem));
            };
            let profile = section.profile.as_deref().unwrap_or("default");
            return Ok(KmsCredentials::File {
                path: absolute("keys.aws_kms.credentials_file", path)?,
                profile: profile.to_owned(),
            });
        }
        _ => {
            let problem = "write environment, file, container or instance";
            return Err(refuse(key, from, problem));
        }
    };
    if section.credentials_file.is_some() || section.profile.is_some() {
        let problem = "credentials_file and profile are for credentials = \"file\" only";
        return Err(refuse(key, from, problem));
    }
    Ok(named)
}
