//! By whose right requests are made: fixed credentials, a shared file, or those that a
//! container or an instance is given for a while.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::exchange::Connections;
use crate::fault::Fault;
use crate::{limits, utc};

/// A secret text. It has no `Debug` and is wiped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret into keeping.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// Where credentials come from.
pub enum CredentialsFrom {
    /// These.
    Fixed {
        /// The access key's id.
        access_key: String,
        /// The secret access key.
        secret: Secret,
        /// The session token, if they are temporary.
        token: Option<Secret>,
    },
    /// A profile of a shared credentials file, read again when it is refused.
    File {
        /// The file.
        path: PathBuf,
        /// The profile's name, such as `default`.
        profile: String,
    },
    /// The container's credentials endpoint (ECS, EKS Pod Identity).
    Container {
        /// Its host: an address that the platform named.
        host: String,
        /// Its port.
        port: u16,
        /// Path and query.
        path: String,
        /// File with what goes into the `authorization` header, read each time.
        token_file: Option<PathBuf>,
    },
    /// The instance's metadata service, version 2 (EC2).
    Instance {
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
    },
}

/// Credentials to sign with.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) access_key: String,
    pub(crate) secret: Secret,
    pub(crate) token: Option<Secret>,
    /// Unix seconds.
    pub(crate) expires_at: Option<i64>,
}

/// Credentials, kept while they are good.
pub(crate) struct Keeper {
    from: CredentialsFrom,
    platform: Option<Connections>,
    held: Mutex<Option<Arc<Credentials>>>,
}

impl Keeper {
    pub(crate) fn new(from: CredentialsFrom) -> Self {
        let platform = match &from {
            CredentialsFrom::Container { host, port, .. }
            | CredentialsFrom::Instance { host, port } => {
                Some(Connections::new(Endpoint::plain(host, *port), None))
            }
            _ => None,
        };
        Self {
            from,
            platform,
            held: Mutex::default(),
        }
    }

    /// Credentials that are good for a while, fetched if need be.
    pub(crate) async fn get(&self, now: i64) -> Result<Arc<Credentials>, Fault> {
        let held = self.lock().clone();
        let fresh = |c: &Credentials| {
            c.expires_at
                .is_none_or(|end| end > now.saturating_add(limits::RENEW_CREDENTIALS_BEFORE))
        };
        if let Some(held) = &held
            && fresh(held)
        {
            return Ok(Arc::clone(held));
        }
        match self.fetch().await {
            Ok(fetched) => {
                let fetched = Arc::new(fetched);
                *self.lock() = Some(Arc::clone(&fetched));
                Ok(fetched)
            }
            // The old ones may do a little longer.
            Err(why) => held
                .filter(|held| held.expires_at.is_none_or(|end| end > now))
                .ok_or_else(|| Fault::Credentials(format!("no credentials: {why}"))),
        }
    }

    /// Forgets what was refused.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Credentials>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Credentials, String> {
        match &self.from {
            CredentialsFrom::Fixed {
                access_key,
                secret,
                token,
            } => Ok(Credentials {
                access_key: access_key.clone(),
                secret: secret.clone(),
                token: token.clone(),
                expires_at: None,
            }),
            CredentialsFrom::File { path, profile } => {
                let text = read(path)?;
                of_profile(&text, profile)
                    .ok_or_else(|| format!("{} has no profile {profile:?}", path.display()))
            }
            CredentialsFrom::Container {
                path, token_file, ..
            } => {
                let token = token_file.as_ref().map(read).transpose()?;
                let header = token.as_ref().map(|token| ("authorization", token.trim()));
                of_json(&self.ask(Method::GET, path, header).await?)
            }
            CredentialsFrom::Instance { .. } => self.of_instance().await,
        }
    }

    /// A session first, then the one role's name, then its credentials.
    async fn of_instance(&self) -> Result<Credentials, String> {
        const SESSION: &str = "x-aws-ec2-metadata-token";
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        let asked = ("x-aws-ec2-metadata-token-ttl-seconds", "300");
        let session = self
            .ask(Method::PUT, "/latest/api/token", Some(asked))
            .await?;
        let session = text(&session)?;
        let role = self
            .ask(Method::GET, ROLES, Some((SESSION, session)))
            .await?;
        let role = text(&role)?.lines().next().unwrap_or_default().trim();
        let path = format!("{ROLES}{role}");
        of_json(
            &self
                .ask(Method::GET, &path, Some((SESSION, session)))
                .await?,
        )
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        header: Option<(&'static str, &str)>,
    ) -> Result<Bytes, String> {
        let Some(platform) = &self.platform else {
            return Err("this source has no endpoint".into());
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", platform.endpoint.authority());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Full::default()).map_err(|e| e.to_string())?;
        let (status, body) = platform.exchange(request).await?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(format!("{} answered {status}", platform.endpoint))
        }
    }
}

fn text(bytes: &Bytes) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

fn read(path: &PathBuf) -> Result<Zeroizing<String>, String> {
    let told = |error: std::io::Error| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(told)?.len();
    if size > limits::MAX_FILE_BYTES {
        return Err(format!("{} has {size} bytes", path.display()));
    }
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(told)
}

/// One profile of a shared credentials file.
fn of_profile(text: &str, profile: &str) -> Option<Credentials> {
    let (mut inside, mut access_key, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if let (true, Some((key, value))) = (inside, line.split_once('=')) {
            let value = value.trim().to_owned();
            match key.trim() {
                "aws_access_key_id" => access_key = Some(value),
                "aws_secret_access_key" => secret = Some(Secret::new(value)),
                "aws_session_token" => token = Some(Secret::new(value)),
                _ => {}
            }
        }
    }
    Some(Credentials {
        access_key: access_key?,
        secret: secret?,
        token,
        expires_at: None,
    })
}

/// What containers and instances are given.
fn of_json(bytes: &Bytes) -> Result<Credentials, String> {
    // The parser's words could repeat a secret.
    let unread = || "credentials cannot be read".to_owned();
    let answer: Value = serde_json::from_slice(bytes).map_err(|_error| unread())?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(Credentials {
        access_key: field("AccessKeyId").ok_or_else(unread)?,
        secret: Secret::new(field("SecretAccessKey").ok_or_else(unread)?),
        token: field("Token").map(Secret::new),
        expires_at: field("Expiration").and_then(|text| utc::parse(&text)),
    })
}
