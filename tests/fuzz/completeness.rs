//! The list of parsers, held complete: each source file that calls a parser of
//! some library, or one of ours, is named here with the fuzz target that reaches
//! it, or with the reason why its bytes are not foreign.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::targets;

/// Calls that turn bytes into values.
const CALLS: &[&str] = &[
    "serde_json::from_slice",
    "serde_json::from_str",
    "serde_json::from_reader",
    "serde_saphyr::from",
    "toml::from_str",
    "::from_der(",
    "parse_x509_certificate",
    "pem_slice_iter",
    "strict_json::object",
    "_NO_PAD.decode",
    "STANDARD.decode",
    "der::take",
    "M::decode(",
    "Set::decode(",
    "Stored::decode(",
    "Head::decode(",
    "Envelope::decode(",
    "PolicySet::from_str",
    "Schema::from_str",
    "hex::decode",
];

/// What stands for a file.
enum Bytes {
    /// Anybody may send them: this fuzz target does.
    Target(&'static str),
    /// They are no stranger's, for this reason.
    Own(&'static str),
}

use Bytes::{Own, Target};

/// Every file with one of [`CALLS`] outside its tests.
const FILES: &[(&str, Bytes)] = &[
    (
        "attestors/docker/src/container.rs",
        Target("container_answer"),
    ),
    (
        "attestors/x509_pop/src/chain.rs",
        Target("x509pop_evidence"),
    ),
    (
        "attestors/x509_pop/src/prove.rs",
        Own("the node's own certificate files"),
    ),
    (
        "attestors/x509_pop/src/roots.rs",
        Own("the server's own file of roots"),
    ),
    (
        "attestors/x509_pop/src/verify.rs",
        Target("x509pop_evidence"),
    ),
    ("attestors/x509_pop/src/wire.rs", Target("x509pop_evidence")),
    (
        "src/agent/src/admin/debug.rs",
        Own("certificates that the agent has verified"),
    ),
    (
        "src/agent/src/config/attestors.rs",
        Own("the operator's own configuration"),
    ),
    (
        "src/agent/src/config/check.rs",
        Own("the operator's own configuration"),
    ),
    ("src/agent/src/config/mod.rs", Target("configuration")),
    ("src/agent/src/disk/held.rs", Own("the agent's own folder")),
    ("src/agent/src/disk/own.rs", Own("the agent's own folder")),
    (
        "src/agent/src/disk/revoked.rs",
        Own("the agent's own folder"),
    ),
    (
        "src/agent/src/disk/trusted.rs",
        Own("the agent's own folder"),
    ),
    (
        "src/agent/src/enrol/anchor.rs",
        Own("the operator's own bundle file"),
    ),
    (
        "src/agent/src/enrol/mod.rs",
        Own("the server's answer, over verified TLS"),
    ),
    (
        "src/agent/src/hub/revoked.rs",
        Own("a list that was verified"),
    ),
    (
        "src/agent/src/hub/suspects.rs",
        Own("certificates that the agent has verified"),
    ),
    (
        "src/agent/src/json_api/bundles.rs",
        Own("a document that the agent wrote"),
    ),
    ("src/agent/src/json_api/check.rs", Target("json_api")),
    ("src/agent/src/json_api/pem.rs", Target("json_api")),
    ("src/agent/src/json_api/token.rs", Target("json_api")),
    (
        "src/agent/src/scoped/held.rs",
        Own("tokens that the server issued"),
    ),
    ("src/agent/src/sds/requests.rs", Target("workload_api")),
    (
        "src/agent/src/workload_api/connection.rs",
        Target("workload_api"),
    ),
    (
        "src/agent/src/workload_api/jwt.rs",
        Own("a token that the server issued"),
    ),
    (
        "src/agent/src/workload_api/reflection.rs",
        Own("descriptors that are built in"),
    ),
    (
        "src/agent/src/workload_api/scoped.rs",
        Target("workload_api"),
    ),
    ("src/authority/src/certificate.rs", Target("upstream_ca")),
    ("src/authority/src/csr.rs", Target("certificate_request")),
    (
        "src/authority/src/lint.rs",
        Own("certificates that the authority made"),
    ),
    (
        "src/authority/src/signature.rs",
        Own("signatures of the own signer"),
    ),
    ("src/authority/src/upstream/path.rs", Target("upstream_ca")),
    (
        "src/aws_kms/src/call.rs",
        Own("answers of AWS over verified TLS"),
    ),
    ("src/aws_kms/src/credentials.rs", Own("answers of AWS")),
    (
        "src/aws_kms/src/exchange.rs",
        Own("the operator's own file"),
    ),
    (
        "src/aws_kms/src/signer.rs",
        Own("answers of AWS over verified TLS"),
    ),
    (
        "src/aws_kms/src/storage.rs",
        Own("answers of AWS over verified TLS"),
    ),
    ("src/channel/src/web.rs", Own("the operator's own file")),
    (
        "src/cli/src/audit.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/bundle.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/dev/guarded.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/dev/renewals.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/dev/steps.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/dev/tour.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    ("src/cli/src/entry/document.rs", Target("entries")),
    (
        "src/cli/src/explain/decision.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/fetch/keep.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/fetch/mod.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/fetch/token.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/local_http.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/network.rs",
        Own("answers of our own programs, or the user's own files"),
    ),
    (
        "src/cli/src/policy/import/descriptors.rs",
        Target("descriptors"),
    ),
    ("src/cli/src/policy/import/openapi.rs", Target("openapi")),
    ("src/keys/src/spki.rs", Target("public_key")),
    ("src/pdp/src/rules.rs", Target("policies")),
    ("src/pdp/src/trial.rs", Target("policy_tests")),
    (
        "src/pdp/src/validate.rs",
        Own("the schema that is made from the catalogue"),
    ),
    ("src/pkcs11/src/find.rs", Own("the operator's own token")),
    ("src/policy/src/catalogue/document.rs", Target("catalogue")),
    (
        "src/policy/src/digest.rs",
        Own("digests that the server made"),
    ),
    ("src/policy/src/record.rs", Own("the server's own records")),
    ("src/records/src/envelope.rs", Target("stored_records")),
    (
        "src/server/src/authorities/mod.rs",
        Own("certificates that the server has verified"),
    ),
    (
        "src/server/src/authorities/upstream_roots.rs",
        Own("certificates that were checked before"),
    ),
    (
        "src/server/src/authz/coverage.rs",
        Own("descriptors that are built in"),
    ),
    ("src/server/src/config/mod.rs", Target("configuration")),
    ("src/server/src/grpc/bundle/check.rs", Target("server_api")),
    ("src/server/src/grpc/svid/csr.rs", Target("server_api")),
    ("src/server/src/grpc/tokens.rs", Target("server_api")),
    (
        "src/server/src/state/stored.rs",
        Own("keys of the server's own store"),
    ),
    (
        "src/server/src/upstream/disk.rs",
        Own("the operator's own file"),
    ),
    (
        "src/server/src/upstream/files.rs",
        Own("the operator's own file"),
    ),
    (
        "src/server/src/upstream/session.rs",
        Own("the upstream server's answer; checked by the upstream_ca target's code"),
    ),
    (
        "src/store/src/sled_engine/recover.rs",
        Own("the server's own store"),
    ),
    ("src/verify/src/bundle_format.rs", Target("bundle_document")),
    (
        "src/verify/src/constrained_path.rs",
        Target("certificate_chain"),
    ),
    ("src/verify/src/jwk.rs", Target("bundle_document")),
    ("src/verify/src/jwt.rs", Target("jwt_svid")),
    (
        "src/verify/src/lib.rs",
        Own("an example in its documentation"),
    ),
    (
        "src/verify/src/name_constraints.rs",
        Target("certificate_chain"),
    ),
    ("src/verify/src/path.rs", Target("certificate_chain")),
    ("src/verify/src/possession/mod.rs", Target("dpop")),
    (
        "src/verify/src/revocations/mod.rs",
        Target("revocation_list"),
    ),
    ("src/verify/src/x509.rs", Target("certificate_chain")),
    (
        "src/agent/src/enrol/anchors.rs",
        Own("the operator's own bundle file"),
    ),
    (
        "src/server/src/authorities/issued.rs",
        Own("the server's own records"),
    ),
    ("src/verify/src/possession/key.rs", Target("dpop")),
];

/// Fails when a file parses and has no row, when a row has no file any more, or
/// when it names a target that does not exist.
pub(crate) fn every_file_that_parses_has_a_target() {
    let rows: BTreeMap<&str, &Bytes> = FILES.iter().map(|(file, bytes)| (*file, bytes)).collect();
    let parsing = files_that_parse();
    let missing: Vec<&String> = parsing
        .iter()
        .filter(|file| !rows.contains_key(file.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "these files parse and have no row in tests/fuzz/completeness.rs: {missing:#?}"
    );
    for (file, bytes) in rows {
        assert!(
            parsing.contains(file),
            "{file} has a row in tests/fuzz/completeness.rs and does not parse"
        );
        match bytes {
            Target(name) => assert!(!targets::named(name).reads.is_empty()),
            Own(why) => assert!(!why.is_empty()),
        }
    }
}

fn files_that_parse() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders = vec![root.join("src"), root.join("attestors")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap();
                if is_ours(name) && calls_a_parser(&path) {
                    found.insert(name.to_str().unwrap().to_owned());
                }
            }
        }
    }
    found
}

/// Shipped source: no test, bench, example or generated code.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let folders: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let aside = ["gen", "tests", "benches", "examples"];
    name.ends_with(".rs")
        && !folders.iter().any(|part| aside.contains(part))
        && !name.ends_with("_tests.rs")
        && !name.starts_with("test_")
        && !["tests.rs", "rig.rs"].contains(&name)
}

fn calls_a_parser(path: &PathBuf) -> bool {
    let text = std::fs::read_to_string(path).unwrap();
    let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    CALLS.iter().any(|call| shipped.contains(call))
}
