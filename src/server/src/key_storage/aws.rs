//! Opening AWS KMS: what the environment says about credentials is read here, and
//! nowhere else.

use std::path::PathBuf;
use std::time::Duration;

use aws_kms::{CredentialsFrom, Endpoint, KmsKeys, KmsOptions, Secret};

use super::KeysFailure;
use crate::clock::Clock;
use crate::config::{KmsCredentials, KmsSettings, Settings};
use crate::limits;
use crate::secrets::SecretFailure;

/// Where ECS serves credentials, by its documentation.
const ECS_HOST: &str = "169.254.170.2";
/// Where EC2 serves them.
const EC2_HOST: &str = "169.254.169.254";
/// Where else a container may be told to ask in plain HTTP: EKS Pod Identity's agent.
const EKS_HOSTS: [&str; 2] = ["169.254.170.23", "fd00:ec2::23"];

pub(super) fn open(
    settings: &Settings,
    kms: &KmsSettings,
    clock: &Clock,
) -> Result<KmsKeys, KeysFailure> {
    let authorities = match &kms.ca_bundle {
        None => None,
        Some(path) => {
            let unread = |error: std::io::Error| SecretFailure {
                key: "keys.aws_kms.ca_bundle_file",
                place: path.display().to_string(),
                problem: error.to_string(),
            };
            Some(std::fs::read(path).map_err(unread)?)
        }
    };
    let clock = clock.clone();
    Ok(KmsKeys::open(KmsOptions {
        region: kms.region.clone(),
        endpoint: kms.endpoint.clone(),
        authorities,
        credentials: credentials(&kms.credentials)?,
        // No alias has dots, and no trust domain a slash.
        alias_prefix: format!("bulla/{}", settings.trust_domain.as_str().replace('.', "/")),
        // Its own words come before those of whoever waits for it.
        budget: settings
            .signing_timeout
            .saturating_sub(Duration::from_millis(limits::SIGNER_LEAD_MS)),
        now: Box::new(move || clock.now().0),
    })?)
}

fn credentials(from: &KmsCredentials) -> Result<CredentialsFrom, SecretFailure> {
    Ok(match from {
        KmsCredentials::Environment => CredentialsFrom::Fixed {
            access_key: wanted("AWS_ACCESS_KEY_ID")?,
            secret: Secret::new(wanted("AWS_SECRET_ACCESS_KEY")?),
            token: variable("AWS_SESSION_TOKEN").map(Secret::new),
        },
        KmsCredentials::File { path, profile } => CredentialsFrom::File {
            path: path.clone(),
            profile: profile.clone(),
        },
        KmsCredentials::Container => container()?,
        KmsCredentials::Instance => CredentialsFrom::Instance {
            host: EC2_HOST.to_owned(),
            port: 80,
        },
    })
}

/// The platform names either a path at ECS's host, or a whole address at EKS's or on
/// loopback; anything else would send a token to whoever was named.
fn container() -> Result<CredentialsFrom, SecretFailure> {
    if let Some(path) = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
        return Ok(CredentialsFrom::Container {
            host: ECS_HOST.to_owned(),
            port: 80,
            path,
            token_file: None,
        });
    }
    let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let full = wanted(name)?;
    let refused = || {
        unset(
            name,
            "it names neither this machine nor EKS's agent in plain HTTP",
        )
    };
    let rest = full.strip_prefix("http://").ok_or_else(refused)?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let host = authority.trim_start_matches('[').split(']').next();
    let eks = host.filter(|host| EKS_HOSTS.contains(host));
    let (host, port) = match eks {
        Some(host) => (host.to_owned(), 80),
        None => {
            let endpoint = format!("http://{authority}").parse::<Endpoint>();
            endpoint.map_err(|_other| refused())?.into_parts()
        }
    };
    Ok(CredentialsFrom::Container {
        host,
        port,
        path: if path.is_empty() { "/" } else { path }.to_owned(),
        token_file: variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(PathBuf::from),
    })
}

fn wanted(name: &'static str) -> Result<String, SecretFailure> {
    variable(name).ok_or_else(|| unset(name, "it is not set in the server's environment"))
}

fn unset(name: &'static str, problem: &str) -> SecretFailure {
    SecretFailure {
        key: "keys.aws_kms.credentials",
        place: name.to_owned(),
        problem: problem.to_owned(),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "AWS hands credentials over in the environment, by names of its own"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
