//! A workload's wish, checked before anything is attested or asked for.

use std::sync::Arc;

use identity::{Entry, SpiffeId};
use policy::TokenRequest;
use policy::limits::{ASKED_MAX, DETAILS_BYTES_MAX, DETAILS_MAX};

/// A wish within its limits.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(super) request: TokenRequest,
    spiffe_id: Option<SpiffeId>,
    /// Binds to a key of the caller's own in place of the certificate.
    pub(super) key_thumbprint: Option<[u8; 32]>,
    wish: Arc<str>,
}

impl Wanted {
    /// Holds a wish to its limits; what the names mean the server decides.
    ///
    /// # Errors
    /// What is wrong and what to do.
    pub(crate) fn new(
        mut request: TokenRequest,
        spiffe_id: &str,
        key_thumbprint: Option<[u8; 32]>,
    ) -> Result<Self, String> {
        if request.audience.is_empty() {
            return Err("audience is missing; name the service the token is for".into());
        }
        if request.permissions.len() > ASKED_MAX {
            return Err(format!("more than {ASKED_MAX} permissions; ask in parts"));
        }
        if request.authorization_details.len() > DETAILS_MAX {
            return Err(format!("more than {DETAILS_MAX} authorization_details"));
        }
        // The order of names and repeated ones change nothing in what is asked.
        request.permissions.sort();
        request.permissions.dedup();
        let details = serde_json::to_string(&request.authorization_details);
        if details.is_ok_and(|text| text.len() > DETAILS_BYTES_MAX) {
            return Err(format!(
                "authorization_details over {DETAILS_BYTES_MAX} bytes"
            ));
        }
        let spiffe_id = match spiffe_id {
            "" => None,
            text => Some(SpiffeId::parse(text).map_err(|e| format!("spiffe_id: {e}"))?),
        };
        let wish = serde_json::to_string(&(&request, key_thumbprint.map(hex::encode)));
        Ok(Self {
            wish: wish.map_err(|e| e.to_string())?.into(),
            request,
            spiffe_id,
            key_thumbprint,
        })
    }

    /// Whether an entry's identity is the one that is meant.
    pub(super) fn means(&self, entry: &Entry) -> bool {
        self.spiffe_id
            .as_ref()
            .is_none_or(|id| *id == entry.spiffe_id)
    }

    /// The wish as a text: equal for equal wishes.
    pub(super) fn wish(&self) -> Arc<str> {
        Arc::clone(&self.wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(permissions: &[&str]) -> TokenRequest {
        TokenRequest {
            audience: "db".into(),
            permissions: permissions.iter().map(|&p| p.into()).collect(),
            ..TokenRequest::default()
        }
    }

    #[test]
    fn the_same_wish_in_another_order_is_the_same() {
        let wish = |names: &[&str]| Wanted::new(asks(names), "", None).unwrap().wish();
        assert_eq!(wish(&["a", "b"]), wish(&["b", "a", "a"]));
        assert_ne!(wish(&["a"]), wish(&["a", "b"]));
        let bound = Wanted::new(asks(&["a"]), "", Some([1; 32])).unwrap();
        assert_ne!(bound.wish(), wish(&["a"]));
    }

    #[test]
    fn a_wish_beyond_its_limits_is_refused_before_anybody_is_asked() {
        let many: Vec<String> = (0..=ASKED_MAX).map(|n| format!("p{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(Wanted::new(asks(&many), "", None).is_err());
        assert!(Wanted::new(TokenRequest::default(), "", None).is_err());
        assert!(Wanted::new(asks(&[]), "spiffe://", None).is_err());
        let mut huge = asks(&[]);
        huge.authorization_details = vec!["x".repeat(DETAILS_BYTES_MAX).into()];
        assert!(Wanted::new(huge, "", None).is_err());
    }
}
