//! What an Envoy says of itself decides the form in which it gets bundles.

use api::envoy_core::Node;
use prost_types::value::Kind;

/// The first Envoy with the SPIFFE validator.
const VALIDATOR_SINCE: (u32, u32) = (1, 18);
const DISABLE: &str = "disable_spiffe_cert_validation";

/// How a bundle is put into a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// For Envoy's SPIFFE validator: authorities by trust domain.
    Validator,
    /// As `trusted_ca`: the authorities of one trust domain.
    TrustedCa,
}

/// The form for a node, where the configuration says `disabled` for all.
pub(super) fn form(node: Option<&Node>, disabled: bool) -> Form {
    let is_old = node.and_then(version).is_some_and(|v| v < VALIDATOR_SINCE);
    let disabled = node.and_then(asks).unwrap_or(disabled);
    if is_old || disabled {
        Form::TrustedCa
    } else {
        Form::Validator
    }
}

fn version(node: &Node) -> Option<(u32, u32)> {
    let version = node.user_agent_build_version.as_ref()?.version.as_ref()?;
    Some((version.major_number, version.minor_number))
}

/// What the node's metadata ask for: a boolean, or a text that Go's ParseBool
/// reads. Anything else counts as not said.
fn asks(node: &Node) -> Option<bool> {
    match node.metadata.as_ref()?.fields.get(DISABLE)?.kind.as_ref()? {
        Kind::BoolValue(value) => Some(*value),
        Kind::StringValue(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use api::envoy_core::{BuildVersion, SemanticVersion};
    use prost_types::{Struct, Value};

    use super::*;

    fn with_metadata(kind: Kind) -> Node {
        let value = Value { kind: Some(kind) };
        Node {
            metadata: Some(Struct {
                fields: [(DISABLE.to_owned(), value)].into(),
            }),
            ..Node::default()
        }
    }

    #[test]
    fn metadata_override_the_configuration_either_way() {
        assert_eq!(form(None, false), Form::Validator);
        assert_eq!(form(None, true), Form::TrustedCa);
        for (kind, disabled) in [
            (Kind::BoolValue(true), Some(true)),
            (Kind::BoolValue(false), Some(false)),
            (Kind::StringValue("T".into()), Some(true)),
            (Kind::StringValue("False".into()), Some(false)),
            (Kind::StringValue("yes".into()), None),
            (Kind::NumberValue(1.0), None),
        ] {
            let node = with_metadata(kind.clone());
            for configured in [true, false] {
                let expected = if disabled.unwrap_or(configured) {
                    Form::TrustedCa
                } else {
                    Form::Validator
                };
                assert_eq!(form(Some(&node), configured), expected, "{kind:?}");
            }
        }
    }

    #[test]
    fn an_envoy_older_than_the_validator_gets_plain_authorities() {
        let node = |major_number, minor_number| Node {
            user_agent_build_version: Some(BuildVersion {
                version: Some(SemanticVersion {
                    major_number,
                    minor_number,
                    patch: 9,
                }),
            }),
            ..Node::default()
        };
        assert_eq!(form(Some(&node(1, 17)), false), Form::TrustedCa);
        assert_eq!(form(Some(&node(1, 18)), false), Form::Validator);
        assert_eq!(form(Some(&node(2, 0)), false), Form::Validator);
    }
}
