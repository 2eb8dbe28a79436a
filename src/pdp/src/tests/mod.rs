//! What the engine promises, on the example folder that ships (deploy/policy-example)
//! and on small policy sets of their own.

mod decisions;
mod depth;
mod example;
mod loading;
mod reached;
mod reference;
mod sliced;
mod surveys;
mod validated;

use std::path::Path;

use identity::{EntryId, Selector, Selectors, SpiffeId, Timestamp};
use policy::{
    Binding, Decision, EntryLimits, NodeFacts, Principal, RequestContext, SourceFile, Sources,
    TokenRequest, admit,
};

use crate::Engine;

/// 2026-11-24, a Tuesday, 09:30 UTC.
pub(crate) const TUESDAY: Timestamp = Timestamp(1_795_478_400 + 9 * 3600 + 1800);

pub(crate) fn principal(id: &str, now: Timestamp) -> Principal {
    let selectors = |text: &str| Selectors::new(vec![Selector::parse(text).unwrap()]).unwrap();
    Principal {
        spiffe_id: SpiffeId::parse(id).unwrap(),
        entry_id: EntryId::parse("entry-1").unwrap(),
        limits: EntryLimits::default(),
        selectors: selectors("unix:uid:1000"),
        attested_at: now,
        node: NodeFacts {
            spiffe_id: SpiffeId::parse("spiffe://example.org/spire/agent/n1").unwrap(),
            attestor: "x509pop".into(),
            selectors: selectors("x509pop:subject:cn:n1"),
            attested_at: now,
        },
    }
}

pub(crate) fn context(now: Timestamp) -> RequestContext {
    RequestContext {
        now,
        source_ip: Some([10, 0, 0, 7].into()),
        binding: Some(Binding::Certificate([7; 32])),
        mints_5m: 0,
        break_glass: None,
    }
}

pub(crate) fn asking(audience: &str, permissions: &[&str]) -> TokenRequest {
    TokenRequest {
        audience: audience.into(),
        permissions: permissions.iter().map(ToString::to_string).collect(),
        ..TokenRequest::default()
    }
}

/// Admits and decides, as the server does.
pub(crate) fn decide(
    engine: &Engine,
    who: &Principal,
    context: &RequestContext,
    request: &TokenRequest,
) -> Decision {
    let wanted = admit(request, engine.catalogue(), who, context).expect("admitted");
    engine.decide(who, context, &wanted)
}

fn files(folder: &Path, root: &Path, into: &mut Vec<SourceFile>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, root, into);
        } else {
            into.push(SourceFile {
                name: path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                text: std::fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

pub(crate) fn example() -> Sources {
    let root = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/policy-example"
    ));
    let mut found = Vec::new();
    files(root, root, &mut found);
    Sources::from_files(found).unwrap()
}

/// A policy set with one service and these team policies and guardrails.
pub(crate) fn small(policies: &str, guardrails: &str) -> Sources {
    let file = |name: &str, text: &str| SourceFile {
        name: name.into(),
        text: text.into(),
    };
    Sources {
        catalogue: vec![file(
            "catalogue/shop.yaml",
            "audience: shop
owner: team-shop
profiles: [at+jwt, jwt-svid]
max_ttl: 1h
permissions:
  - {name: 'shop:read', risk: low}
  - {name: 'shop:write', risk: medium}
  - {name: 'shop:drop', risk: high}
",
        )],
        policies: vec![file("policies/shop.cedar", policies)],
        guardrails: vec![file("guardrails/security.cedar", guardrails)],
        tests: Vec::new(),
    }
}
