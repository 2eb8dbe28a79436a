//! Every bound of catalogue, request and decision, in one place.

/// The most services in one catalogue.
pub const SERVICES_MAX: usize = 10_000;
/// The most permissions one service declares.
pub const PERMISSIONS_MAX: usize = 1_000;
/// The most endpoints one service maps.
pub const ENDPOINTS_MAX: usize = 10_000;
/// The largest file of a policy folder, bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// The most files of a policy folder.
pub const FILES_MAX: usize = 20_000;
/// All files of a policy folder together, bytes.
pub const SOURCES_BYTES_MAX: usize = 64 << 20;
/// The longest audience, bytes.
pub const AUDIENCE_BYTES_MAX: usize = 255;
/// The longest permission name, bytes.
pub const PERMISSION_BYTES_MAX: usize = 128;
/// The longest free text (description, rationale, reason), bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// The most permissions one request may name.
pub const ASKED_MAX: usize = 64;
/// The most `authorization_details` one request may carry.
pub const DETAILS_MAX: usize = 16;
/// All `authorization_details` of a request together, bytes of JSON.
pub const DETAILS_BYTES_MAX: usize = 8 << 10;
/// The largest JSON Schema of `authorization_details`, bytes of JSON.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// The longest path a request to an endpoint may have, bytes.
pub const PATH_BYTES_MAX: usize = 4 << 10;
/// The longest life any token may have, seconds.
pub const TTL_MAX: u32 = 24 * 3600;
/// The life of a token when neither the request nor the service says, seconds.
pub const TTL_DEFAULT: u32 = 300;
/// The longest life of a token with a high-risk permission, unless its service
/// relaxes that explicitly, seconds.
pub const HIGH_RISK_TTL_MAX: u32 = 300;
/// The longest life of a token that break-glass made possible, seconds.
pub const BREAK_GLASS_TTL_MAX: u32 = 900;
/// The most near misses told for one refused permission.
pub const NEAREST_MAX: usize = 3;
/// The longest condition told in a near miss, bytes.
pub const CONDITION_BYTES_MAX: usize = 512;
/// The most policies of one policy set, guardrails included.
pub const POLICIES_MAX: usize = 20_000;
/// The most brackets and `if`s around one place of a policy.
pub const POLICY_NESTING_MAX: usize = 32;
/// The most levels of a policy's tree: operators, attribute accesses, calls and
/// brackets that contain one another.
pub const POLICY_DEPTH_MAX: usize = 384;
/// The most objects and arrays inside one another in JSON and YAML: tests,
/// `authorization_details` and their schemas.
pub const JSON_NESTING_MAX: usize = 32;
/// The most keywords in one JSON Schema that apply a further schema to the same value
/// (`$ref`, `allOf`, `if`, …).
pub const SCHEMA_REFERENCES_MAX: usize = 256;
/// The stack on which policy sets are read, validated and tested, bytes. What the
/// limits above let through needs less than a sixteenth of it: see
/// docs/adr/0110-depth-of-policies.md.
pub const STACK_BYTES: usize = 64 << 20;
