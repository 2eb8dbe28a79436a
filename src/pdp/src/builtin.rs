//! The guardrails that are always there: sunset, what high risk demands, what a
//! service that requires proof of possession demands, and how long an emergency
//! may last. No folder can remove them; a catalogue relaxes those of high risk
//! explicitly, permission by permission, with a reason.

use policy::SourceFile;

/// What ids of built-in guardrails begin with; nobody else's may.
pub(crate) const PREFIX: &str = "builtin:";

/// The file name in faults and differences.
pub(crate) const FILE: &str = "built in";

/// The guardrails' text. The numbers are those of [`policy::limits`]; a test holds
/// them together.
const TEXT: &str = r#"
@id("builtin:sunset")
@owner("bulla")
@rationale("the permission is past its sunset; ask for the one that replaces it")
forbid (principal, action, resource) when { context.pastSunset };

@id("builtin:service-possession")
@owner("bulla")
@rationale("the service takes only tokens bound to the caller; ask for the profile at+jwt")
forbid (principal, action, resource) when { resource.requirePop && !context.pop };

@id("builtin:high-risk-possession")
@owner("bulla")
@rationale("a high-risk permission needs a token bound to the caller; ask for the profile at+jwt")
forbid (principal, action, resource) when { context.needsPossession && !context.pop };

@id("builtin:high-risk-life")
@owner("bulla")
@rationale("a token with a high-risk permission lives at most 300 s; ask for a shorter life, or for the permission alone")
forbid (principal, action, resource) when { context.needsShortLife && context.ttl > 300 };

@id("builtin:break-glass-life")
@owner("bulla")
@rationale("a token issued in an emergency lives at most 900 s; ask for a shorter life")
forbid (principal, action, resource) when { context has breakGlass && context.ttl > 900 };
"#;

/// The guardrails as a file.
pub(crate) fn file() -> SourceFile {
    SourceFile {
        name: FILE.into(),
        text: TEXT.into(),
    }
}

#[cfg(test)]
mod tests {
    use policy::limits::{BREAK_GLASS_TTL_MAX, HIGH_RISK_TTL_MAX};

    #[test]
    fn the_numbers_are_those_of_the_limits() {
        assert!(super::TEXT.contains(&format!("context.ttl > {HIGH_RISK_TTL_MAX} ")));
        assert!(super::TEXT.contains(&format!("context.ttl > {BREAK_GLASS_TTL_MAX} ")));
    }
}
