//! Files that people upload or hand over: policies, catalogues, entries,
//! configuration, descriptions of services, bundles, revocation lists.

use identity::{Bundle, TrustDomain};
use pdp::Engine;
use policy::{Catalogue, SourceFile, Sources};
use verify::{Revocations, bundle_format};

use super::{Target, judged};
use crate::corpus;

const EXAMPLE: &str = "deploy/policy-example";

pub(crate) const POLICIES: Target = Target {
    name: "policies",
    reads: "Cedar policies and guardrails of an uploaded policy set",
    seeds: || {
        let policy = r#"@id("a") @owner("o") @rationale("r")
permit (principal is Workload, action == Action::"payments:refund.create", resource == Service::"https://payments.example.org")
when { ((true)) && [1, [2]].contains(1) && !(-1 > 2) && {a: {b: 1}} has a && if true then true else false }
unless { principal has x && ip("10.0.0.0/8").isLoopback() || datetime("2026-01-01") < datetime("2027-01-01") };"#;
        vec![
            corpus::of_repository(&format!("{EXAMPLE}/policies/payments.cedar")),
            corpus::of_repository(&format!("{EXAMPLE}/guardrails/security.cedar")),
            policy.as_bytes().to_vec(),
        ]
    },
    words: &[
        b"permit (principal, action, resource)",
        b"when {",
        b"unless {",
        b"if true then ",
        b" else ",
        b" like \"*\"",
        b" has ",
        b".contains(",
        b"principal.",
        b"context.",
        b"@max_ttl(\"5m\")",
        b" is ",
        b" in [",
        b"decimal(\"1.0\")",
        b"// ",
        b"\"",
        b"&& ",
        b"|| ",
        b"::",
    ],
    generate: None,
    run: |bytes| {
        let set = Sources {
            catalogue: catalogue(),
            policies: vec![file("policies/a.cedar", bytes)],
            guardrails: vec![file("guardrails/a.cedar", bytes)],
            tests: Vec::new(),
        };
        loaded(&set)
    },
};

pub(crate) const POLICY_TESTS: Target = Target {
    name: "policy_tests",
    reads: "tests of an uploaded policy set, in JSON, and what their requests evaluate to",
    seeds: || {
        vec![corpus::of_repository(&format!(
            "{EXAMPLE}/tests/payments.json"
        ))]
    },
    words: &[
        b"\"request\":{",
        b"\"context\":{",
        b"\"entities\":[",
        b"\"__entity\":",
        b"\"__extn\":",
        b"null",
        b"{\"a\":[",
        b"\"decision\":\"allow\"",
    ],
    generate: None,
    run: |bytes| {
        let policies = of_example("policies", &["ledger.cedar", "payments.cedar"]);
        let set = Sources {
            catalogue: catalogue(),
            policies,
            guardrails: Vec::new(),
            tests: vec![file("tests/a.json", bytes)],
        };
        match Engine::load(&set) {
            Ok(engine) => format!("{:?}", engine.run_tests().passed()),
            Err(faults) => first(&faults),
        }
    },
};

pub(crate) const CATALOGUE: Target = Target {
    name: "catalogue",
    reads: "catalogue files of an uploaded policy set, JSON Schemas inside them included",
    seeds: || {
        let payments = format!("{EXAMPLE}/catalogue/payments.yaml");
        vec![corpus::of_repository(&payments)]
    },
    words: &[
        b"permissions:\n",
        b"endpoints:\n",
        b"schema:\n",
        b"$ref: \"#\"",
        b"&a ",
        b"*a",
        b"<<: ",
        b"? ",
        b"!!binary ",
        b"- - - -",
        b"allOf: [",
        b"pattern: \"(a+)+$\"",
        b"|\n",
    ],
    generate: None,
    run: |bytes| {
        let read = Catalogue::read(&[file("catalogue/a.yaml", bytes)]);
        read.map_or_else(|faults| first(&faults), |_| "accepted".to_owned())
    },
};

pub(crate) const ENTRIES: Target = Target {
    name: "entries",
    reads: "files of registration entries",
    seeds: || {
        let text = "trust_domain: example.org\nentries:\n- spiffe_id: /web\n  parent_id: /node\n  selectors: [unix:uid:1000]\n  x509_ttl: 3600\n";
        vec![text.as_bytes().to_vec()]
    },
    words: &[
        b"&a ",
        b"*a",
        b"<<: ",
        b"entries:\n",
        b"- ",
        b"!!str ",
        b"? ",
        b"selectors: [",
        b"{",
    ],
    generate: None,
    run: |bytes| judged(cli::foreign::entries(&String::from_utf8_lossy(bytes))),
};

pub(crate) const CONFIGURATION: Target = Target {
    name: "configuration",
    reads: "configuration files of server and agent",
    seeds: || {
        ["deploy/server.toml", "deploy/agent.toml"]
            .map(corpus::of_repository)
            .to_vec()
    },
    words: &[
        b"[",
        b"]]",
        b" = ",
        b"\"\"\"",
        b"{",
        b"9999999999d",
        b"\"-1s\"",
        b"0x",
    ],
    generate: None,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        [
            judged(server::Config::parse(&text)),
            judged(agent::Config::from_toml(&text)),
        ]
        .join("; ")
    },
};

pub(crate) const OPENAPI: Target = Target {
    name: "openapi",
    reads: "OpenAPI documents that a catalogue is begun from",
    seeds: || vec![corpus::of_repository("src/agent/src/json_api/openapi.json")],
    words: &[
        b"\"paths\":{",
        b"\"$ref\":\"#/\"",
        b"\"get\":{",
        b"\"servers\":[",
        b"&a ",
        b"*a",
    ],
    generate: None,
    run: |bytes| judged(cli::foreign::openapi(bytes)),
};

pub(crate) const DESCRIPTORS: Target = Target {
    name: "descriptors",
    reads: "protobuf descriptors that a catalogue is begun from",
    seeds: || vec![api::FILE_DESCRIPTOR_SET[..20_000.min(api::FILE_DESCRIPTOR_SET.len())].to_vec()],
    words: &[b"\x0a\xff\xff\xff\xff\x0f", b"\x32\x00", b"\x12\x04"],
    generate: None,
    run: |bytes| judged(cli::foreign::descriptors(bytes)),
};

pub(crate) const BUNDLE: Target = Target {
    name: "bundle_document",
    reads: "SPIFFE bundle documents, federated ones included",
    seeds: || {
        let index = corpus::file("bundles.json");
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        let cases = index["cases"].as_array().unwrap();
        let texts = cases.iter().filter_map(|case| match &case["document"] {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Null => None,
            other => Some(other.to_string()),
        });
        texts.map(String::into_bytes).collect()
    },
    words: &[
        b"\"keys\":[",
        b"\"x5c\":[",
        b"\"use\":\"jwt-svid\"",
        b"\"kid\":",
        b"\"spiffe_sequence\":",
        b"\"n\":\"",
        b"null",
    ],
    generate: None,
    run: |bytes| {
        let trust_domain = TrustDomain::parse("f.test").unwrap();
        judged(bundle_format::decode(&trust_domain, bytes))
    },
};

pub(crate) const REVOCATION_LIST: Target = Target {
    name: "revocation_list",
    reads: "signed lists of what is revoked",
    seeds: || {
        let list = r#"eyJhbGciOiJFUzI1NiJ9.eyJzZXF1ZW5jZSI6MX0.AAAA"#;
        vec![list.as_bytes().to_vec()]
    },
    words: &[b".", b"eyJ", b"e30"],
    generate: None,
    run: |bytes| {
        let trust_domain = TrustDomain::parse("f.test").unwrap();
        let text = String::from_utf8_lossy(bytes);
        let bundle = Bundle::empty(trust_domain.clone());
        [
            judged(Revocations::reread(&text, &trust_domain)),
            judged(Revocations::read(&text, &bundle, None)),
        ]
        .join("; ")
    },
};

fn file(name: &str, bytes: &[u8]) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn of_example(folder: &str, names: &[&str]) -> Vec<SourceFile> {
    let read = |name: &&str| {
        let name = format!("{folder}/{name}");
        file(&name, &corpus::of_repository(&format!("{EXAMPLE}/{name}")))
    };
    names.iter().map(read).collect()
}

fn catalogue() -> Vec<SourceFile> {
    of_example("catalogue", &["ledger.yaml", "payments.yaml"])
}

fn loaded(set: &Sources) -> String {
    Engine::load(set).map_or_else(|faults| first(&faults), |_| "accepted".to_owned())
}

fn first(faults: &[policy::Fault]) -> String {
    faults.first().map_or_else(String::new, ToString::to_string)
}
