//! The Workload API's JWT profile, as a process with one identity sees it.

use std::collections::BTreeSet;

use tonic::Code;

use crate::foreign::from_b64;
use crate::rows::rows;
use crate::world::{World, code};

pub(crate) fn rows_with_one_identity(world: &World) {
    rows!(world;
        wapi_14_missing_fields_are_invalid,
        wapi_31_tokens_are_for_the_audiences_that_were_asked,
        wapi_41_jwt_bundles_have_jwt_keys_alone,
    );
}

fn audience(token: &str) -> BTreeSet<String> {
    let payload = token.split('.').nth(1).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&from_b64(payload)).unwrap();
    let list = claims["aud"].as_array().unwrap().iter();
    list.map(|a| a.as_str().unwrap().to_owned()).collect()
}

fn wapi_14_missing_fields_are_invalid(world: &World) {
    assert_eq!(code(world.jwt(&[], "")), Code::InvalidArgument);
    assert_eq!(code(world.jwt(&[""], "")), Code::InvalidArgument);
    let token = world.jwt(&["a"], "").unwrap().remove(0);
    assert_eq!(code(world.validate(&token.svid, "")), Code::InvalidArgument);
    assert_eq!(code(world.validate("", "a")), Code::InvalidArgument);
}

fn wapi_31_tokens_are_for_the_audiences_that_were_asked(world: &World) {
    // Twice each: new, and as it was kept.
    for asked in [
        &["a", "b"][..],
        &["b", "a"],
        &["a"],
        &["a", "b"],
        &["b"],
        &["a"],
    ] {
        let token = world.jwt(asked, "").unwrap().remove(0);
        let expected: BTreeSet<String> = asked.iter().map(|a| (*a).to_owned()).collect();
        assert_eq!(audience(&token.svid), expected);
    }
}

fn wapi_41_jwt_bundles_have_jwt_keys_alone(world: &World) {
    let bundles = world.jwt_bundles().unwrap().bundles;
    let keys: serde_json::Value = serde_json::from_slice(&bundles["spiffe://example.org"]).unwrap();
    let document = world.bundle_document();
    let kids = |keys: &serde_json::Value, only: bool| -> BTreeSet<String> {
        let keys = keys["keys"].as_array().unwrap().iter();
        let keys = keys.filter(|key| !only || key["use"] == "jwt-svid");
        keys.map(|key| {
            assert!(key.get("x5c").is_none());
            key["kid"].as_str().unwrap().to_owned()
        })
        .collect()
    };
    assert_eq!(kids(&keys, false), kids(&document, true));
}
