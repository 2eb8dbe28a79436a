//! AWS Signature Version 4 for the one shape of request this crate sends: POST to `/`
//! without a query.

use ring::{digest, hmac};

use crate::credentials::Credentials;
use crate::utc;

/// What a signature covers.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    /// `host`, then the others; names in lower case, sorted by name.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// The query, encoded and sorted; empty when there is none.
    pub(crate) query: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

/// The `authorization` header. `None` when the time cannot be written.
pub(crate) fn authorization(
    request: &Request<'_>,
    credentials: &Credentials,
    at: i64,
) -> Option<String> {
    let time = utc::basic(at)?;
    let (date, _) = time.split_once('T')?;
    let names: Vec<&str> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let canonical = format!(
        "{}\n/\n{}\n{headers}\n{names}\n{}",
        request.method,
        request.query,
        sha256(request.body)
    );
    let scope = format!("{date}/{}/{}/aws4_request", request.region, request.service);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        sha256(canonical.as_bytes())
    );
    let key = signing_key(
        credentials.secret.expose(),
        date,
        request.region,
        request.service,
    );
    let signature = hex::encode(hmac::sign(&key, to_sign.as_bytes()));
    Some(format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key
    ))
}

/// A key for one day, region and service.
fn signing_key(secret: &str, date: &str, region: &str, service: &str) -> hmac::Key {
    let first = zeroize::Zeroizing::new(format!("AWS4{secret}"));
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
    for part in [date, region, service, "aws4_request"] {
        let tag = hmac::sign(&key, part.as_bytes());
        key = hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref());
    }
    key
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    /// The worked example of AWS's documentation.
    #[test]
    fn the_documented_example_is_signed_alike() {
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".into(),
            secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
            token: None,
            expires_at: None,
        };
        let request = Request {
            method: "GET",
            headers: &[
                (
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                ),
                ("host", "iam.amazonaws.com"),
                ("x-amz-date", "20150830T123600Z"),
            ],
            query: "Action=ListUsers&Version=2010-05-08",
            body: b"",
            region: "us-east-1",
            service: "iam",
        };
        let signed = authorization(&request, &credentials, 1_440_938_160).unwrap();
        assert_eq!(
            signed,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
