//! Tokens that say what they may do: the same scope claims in a JWT-SVID and in an
//! access token (RFC 9068). Header and key tell the two apart, so that neither
//! passes for the other (RFC 8725 section 3.11).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Seconds, SpiffeId, Timestamp};

use super::claims::{Jti, put_number, put_string};
use super::{Issuer, JwtAuthority, JwtRefused, MAX_AUDIENCE_BYTES, PreparedJwt};

/// `nbf` lies this much before `iat`, for clocks that differ.
pub const NOT_BEFORE_SKEW: Seconds = Seconds(10);

/// The claim that names the decision a token was minted by.
pub const DECISION_CLAIM: &str = "urn:bulla:decision";

/// The most bytes that all claims of a scoped token may take.
pub const MAX_SCOPED_BYTES: usize = 16 << 10;

/// What a scoped token says, beside who holds it and when.
#[derive(Clone, Copy, Debug)]
pub struct Scoped<'a> {
    /// The one service it is for.
    pub audience: &'a str,
    /// Granted permissions, with spaces between them (RFC 8693 section 4.2).
    pub scope: &'a str,
    /// Granted RFC 9396 objects; none leaves the claim out.
    pub authorization_details: &'a [serde_json::Value],
    /// What it is bound to.
    pub confirmation: Option<Confirmation>,
    /// Its decision.
    pub decision: DecisionMark<'a>,
}

/// What a token is bound to (`cnf`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// SHA-256 of the holder's certificate: `x5t#S256`, RFC 8705 section 3.1.
    Certificate([u8; 32]),
    /// Thumbprint of the holder's key: `jkt`, RFC 9449 section 6.1.
    Key([u8; 32]),
}

/// The decision, short enough for every token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionMark<'a> {
    /// The decision record's id.
    pub id: &'a str,
    /// The first digits of the policy set's digest.
    pub policy_set: &'a str,
    /// The SPIFFE ID of the authority that decided.
    pub authority: &'a str,
}

/// Whose token, from when to when.
pub(super) struct Life<'a> {
    pub(super) spiffe_id: &'a SpiffeId,
    pub(super) now: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) jti: Jti,
}

impl JwtAuthority {
    /// Prepares a JWT-SVID that carries scope claims: still valid for every SPIFFE
    /// library, which looks at `sub`, `aud` and `exp`. It ends at `expires_at` or
    /// with the key, whichever is first.
    ///
    /// # Errors
    /// When the profile forbids it; nothing was recorded or signed.
    pub fn prepare_scoped(
        &self,
        spiffe_id: &SpiffeId,
        scoped: &Scoped<'_>,
        (now, expires_at): (Timestamp, Timestamp),
        jti: Jti,
    ) -> Result<PreparedJwt, JwtRefused> {
        let life = Life {
            spiffe_id,
            now,
            expires_at,
            jti,
        };
        // A JWT-SVID's audience is a list here as it is everywhere else (JWT-SVID 3.2).
        prepare(&self.issuer, scoped, life, true)
    }
}

pub(super) fn prepare(
    issuer: &Arc<Issuer>,
    scoped: &Scoped<'_>,
    mut life: Life<'_>,
    list: bool,
) -> Result<PreparedJwt, JwtRefused> {
    if !life.spiffe_id.has_path() {
        return Err(JwtRefused::NoPath(life.spiffe_id.clone()));
    }
    if !(1..=MAX_AUDIENCE_BYTES).contains(&scoped.audience.len()) {
        return Err(JwtRefused::AudienceLength(scoped.audience.len()));
    }
    if life.now.0 < 0 {
        return Err(JwtRefused::Clock);
    }
    if life.now >= issuer.not_after {
        return Err(JwtRefused::KeyExpired(issuer.not_after));
    }
    if life.expires_at <= life.now {
        return Err(JwtRefused::NoLifetime);
    }
    life.expires_at = life.expires_at.min(issuer.not_after);
    let claims = write(issuer, scoped, &life, list);
    if claims.len() > MAX_SCOPED_BYTES {
        return Err(JwtRefused::ClaimsLength(claims.len()));
    }
    Ok(PreparedJwt {
        issuer: Arc::clone(issuer),
        spiffe_id: life.spiffe_id.clone(),
        issued_at: life.now,
        expires_at: life.expires_at,
        jti: life.jti,
        text: issuer.text_of(&claims),
    })
}

fn write(issuer: &Issuer, scoped: &Scoped<'_>, life: &Life<'_>, list: bool) -> Vec<u8> {
    let id = life.spiffe_id.as_str();
    let mut out = Vec::with_capacity(512 + 2 * id.len() + scoped.scope.len());
    out.extend_from_slice(br#"{"sub":""#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(if list {
        br#"","aud":["#
    } else {
        br#"","aud":"#
    });
    put_string(&mut out, scoped.audience);
    out.extend_from_slice(if list { br#"],"exp":"# } else { br#","exp":"# });
    put_number(&mut out, life.expires_at.0);
    out.extend_from_slice(br#","iat":"#);
    put_number(&mut out, life.now.0);
    out.extend_from_slice(br#","nbf":"#);
    put_number(&mut out, life.now.minus(NOT_BEFORE_SKEW).0.max(0));
    out.extend_from_slice(br#","jti":""#);
    out.extend_from_slice(&life.jti.hex());
    out.push(b'"');
    out.extend_from_slice(issuer.issuer.as_bytes());
    out.extend_from_slice(br#","client_id":""#);
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(br#"","scope":"#);
    put_string(&mut out, scoped.scope);
    if !scoped.authorization_details.is_empty() {
        let separators = std::iter::once(&b"["[..]).chain(std::iter::repeat(&b","[..]));
        out.extend_from_slice(br#","authorization_details":"#);
        for (detail, separator) in scoped.authorization_details.iter().zip(separators) {
            out.extend_from_slice(separator);
            out.extend_from_slice(detail.to_string().as_bytes());
        }
        out.push(b']');
    }
    let (method, thumbprint) = match scoped.confirmation {
        Some(Confirmation::Certificate(sha256)) => ("x5t#S256", Some(sha256)),
        Some(Confirmation::Key(sha256)) => ("jkt", Some(sha256)),
        None => ("", None),
    };
    if let Some(thumbprint) = thumbprint {
        let text = URL_SAFE_NO_PAD.encode(thumbprint);
        for part in [r#","cnf":{""#, method, r#"":""#, &text, r#""}"#] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    for part in [r#",""#, DECISION_CLAIM, r#"":{"id":"#] {
        out.extend_from_slice(part.as_bytes());
    }
    put_string(&mut out, scoped.decision.id);
    out.extend_from_slice(br#","ps":"#);
    put_string(&mut out, scoped.decision.policy_set);
    out.extend_from_slice(br#","auth":"#);
    put_string(&mut out, scoped.decision.authority);
    out.extend_from_slice(b"}}");
    out
}
