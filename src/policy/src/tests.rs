//! Requests, ends of tokens and records, on a catalogue of one service.

use identity::{EntryId, Seconds, Selectors, SpiffeId, Timestamp};

use crate::*;

const NOW: Timestamp = Timestamp(1_795_512_600);

fn catalogue() -> Catalogue {
    let text = "
audience: shop
owner: team-shop
max_ttl: 30m
all_if_none_asked: true
permissions:
  - {name: 'shop:read', risk: low}
  - {name: 'shop:drop', risk: high}
  - {name: 'shop:pay', details_required: true, details: {'urn:x:pay': {type: object}}}
";
    let file = SourceFile {
        name: "catalogue/shop.yaml".into(),
        text: text.into(),
    };
    Catalogue::read(&[file]).unwrap()
}

fn principal() -> Principal {
    Principal {
        spiffe_id: SpiffeId::parse("spiffe://example.org/web").unwrap(),
        entry_id: EntryId::parse("e1").unwrap(),
        limits: EntryLimits::default(),
        selectors: Selectors::default(),
        attested_at: NOW,
        node: NodeFacts {
            spiffe_id: SpiffeId::parse("spiffe://example.org/spire/agent/n").unwrap(),
            attestor: "join_token".into(),
            selectors: Selectors::default(),
            attested_at: NOW,
        },
    }
}

fn context() -> RequestContext {
    RequestContext {
        now: NOW,
        source_ip: None,
        binding: Some(Binding::Key([1; 32])),
        mints_5m: 0,
        break_glass: None,
    }
}

fn asking(permissions: &[&str]) -> TokenRequest {
    TokenRequest {
        audience: "shop".into(),
        permissions: permissions.iter().map(ToString::to_string).collect(),
        ..TokenRequest::default()
    }
}

fn admitted(request: &TokenRequest) -> Result<Wanted, Refusal> {
    admit(request, &catalogue(), &principal(), &context())
}

#[test]
fn what_is_unknown_is_refused_and_the_rest_is_decided() {
    let wanted = admitted(&asking(&["shop:read", "shop:raed", "shop:read"])).unwrap();
    let names: Vec<&str> = wanted.permissions.iter().map(|w| w.name.as_str()).collect();
    assert_eq!(names, ["shop:read"]);
    assert_eq!(wanted.unknown[0].code, RefusalCode::InvalidScope);
    let all = TokenRequest {
        all_or_nothing: true,
        ..asking(&["shop:read", "shop:raed"])
    };
    assert_eq!(admitted(&all).unwrap_err().code, RefusalCode::InvalidScope);
}

#[test]
fn details_that_a_permission_needs_must_be_there() {
    let none = admitted(&asking(&["shop:pay"])).unwrap_err();
    assert_eq!(none.code, RefusalCode::InvalidAuthorizationDetails);
    assert_eq!(
        none.reason,
        "shop:pay needs authorization_details of type urn:x:pay"
    );
    let details = vec![serde_json::json!({"type": "urn:x:pay"})];
    let with = TokenRequest {
        authorization_details: details.clone(),
        ..asking(&["shop:pay"])
    };
    assert_eq!(admitted(&with).unwrap().permissions[0].details, details);
    let strange = TokenRequest {
        authorization_details: details,
        ..asking(&["shop:read"])
    };
    let strange = admitted(&strange).unwrap_err();
    assert!(strange.reason.contains("belong to shop:pay"), "{strange}");
}

#[test]
fn the_default_life_is_one_that_high_risk_and_break_glass_allow() {
    assert_eq!(admitted(&asking(&["shop:read"])).unwrap().ttl, Seconds(300));
    assert_eq!(admitted(&asking(&["shop:drop"])).unwrap().ttl, Seconds(300));
    let long = TokenRequest {
        ttl: Some(1_801),
        ..asking(&["shop:read"])
    };
    assert_eq!(
        admitted(&long).unwrap_err().code,
        RefusalCode::InvalidRequest
    );
}

#[test]
fn too_much_is_refused_before_anything_is_looked_up() {
    let many = asking(&["shop:read"; limits::ASKED_MAX + 1]);
    assert_eq!(
        admitted(&many).unwrap_err().code,
        RefusalCode::InvalidRequest
    );
    let big = TokenRequest {
        authorization_details: vec![serde_json::json!("x".repeat(limits::DETAILS_BYTES_MAX))],
        ..asking(&["shop:read"])
    };
    assert_eq!(
        admitted(&big).unwrap_err().code,
        RefusalCode::InvalidRequest
    );
}

#[test]
fn a_token_ends_at_the_least_of_what_everybody_allows() {
    let caps = Caps {
        asked: Seconds(300),
        named: true,
        policy: Some(Seconds(200)),
        audience: Seconds(900),
        entry: None,
        svid: Some(NOW.plus(Seconds(250))),
        window: None,
        break_glass: None,
    };
    assert_eq!(caps.expiry(NOW), (NOW.plus(Seconds(200)), Limit::Policy));
    let window = Caps {
        window: Some(NOW.plus(Seconds(5))),
        ..caps
    };
    assert_eq!(window.expiry(NOW), (NOW.plus(Seconds(5)), Limit::Window));
    let svid = Caps {
        svid: Some(NOW),
        ..window
    };
    assert_eq!(svid.expiry(NOW), (NOW, Limit::Svid));
    let entry = Caps {
        entry: Some(Seconds(1)),
        ..caps
    };
    assert_eq!(entry.expiry(NOW).1, Limit::Entry);
    let emergency = Caps {
        break_glass: Some(NOW.plus(Seconds(3))),
        ..caps
    };
    let ends = (NOW.plus(Seconds(3)), Limit::BreakGlass);
    assert_eq!(emergency.expiry(NOW), ends);
}

#[test]
fn u12_asked_is_told_of_what_was_asked_for_alone() {
    let caps = Caps {
        asked: Seconds(300),
        named: false,
        policy: None,
        audience: Seconds(900),
        entry: None,
        svid: None,
        window: None,
        break_glass: None,
    };
    assert_eq!(caps.expiry(NOW), (NOW.plus(Seconds(300)), Limit::Default));
    let named = Caps {
        named: true,
        ..caps
    };
    assert_eq!(named.expiry(NOW).1, Limit::Asked);
    // What says the same as the default is the better reason.
    let entry = Caps {
        entry: Some(Seconds(300)),
        ..caps
    };
    assert_eq!(entry.expiry(NOW).1, Limit::Entry);
    let text = serde_json::to_string(&[Limit::Default, Limit::BreakGlass]);
    assert_eq!(text.unwrap(), "[\"default\",\"break_glass\"]");
}

#[test]
fn the_stricter_rate_lets_fewer_through() {
    let strict = |one: &str, two: &str| {
        let rate = |text| Rate::parse(text).unwrap();
        String::from(rate(one).stricter(rate(two)))
    };
    assert_eq!(strict("60/1m", "10/1m"), "10/1m");
    assert_eq!(strict("60/1m", "60/1h"), "60/1h");
    assert_eq!(strict("60/1m", "3600/1h"), "60/1m");
    for text in [
        "",
        "1",
        "/1m",
        "1/",
        "0/1s",
        "1/0s",
        "-1/1s",
        "1/1w",
        "99999999999/1s",
    ] {
        assert!(Rate::parse(text).is_none(), "{text}");
    }
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let request = asking(&["shop:read", "shop:raed"]);
    let wanted = admitted(&request).unwrap();
    let decision = Decision {
        granted: vec![Granted {
            permission: wanted.permissions[0].name.clone(),
            policies: vec![PolicyRef {
                id: "p".into(),
                owner: "t".into(),
                rationale: "r".into(),
                ticket: Some("SEC-1".into()),
            }],
            details: vec![],
        }],
        refused: wanted.unknown.clone(),
        obligations: Obligations {
            max_ttl: Some(Seconds(60)),
            rate: Rate::parse("60/1m"),
        },
        under_break_glass: false,
        window_end: Some(NOW),
        warnings: vec![],
        policy_set: Digest::of(b"set"),
        catalogue: catalogue().digest(),
    };
    let record = DecisionRecord::decided(
        "dec_1".into(),
        "spiffe://example.org/spire/server",
        &request,
        &principal(),
        &context(),
        &wanted,
        &decision,
    )
    .minting("jti".into(), NOW.plus(Seconds(60)), Limit::Policy);
    let text = record.to_json();
    assert_eq!(DecisionRecord::from_json(text.as_bytes()).unwrap(), record);
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["decision"], "partial");
    assert_eq!(value["time"], "2026-11-24T09:30:00Z");
    assert_eq!(value["obligations"]["rate"], "60/1m");
    assert_eq!(record.life(), Some(Seconds(60)));
    let failed = record.failed(Refusal::new(RefusalCode::SlowDown, "too often"));
    assert_eq!(failed.decision, Outcome::Refused);
}

#[test]
fn files_belong_to_a_part_of_the_folder() {
    let file = |name: &str| SourceFile {
        name: name.into(),
        text: String::new(),
    };
    let names = [
        "policies/b/z.cedar",
        "policies/a.cedar",
        "catalogue/x.yml",
        "tests/t.json",
        "policies/README.md",
    ];
    let sources = Sources::from_files(names.map(file)).unwrap();
    assert_eq!(sources.files().count(), 4);
    assert_eq!(sources.policies[0].name, "policies/a.cedar");
    for bad in [
        "policies/a.yaml",
        "other/a.cedar",
        "a.cedar",
        "guardrails/a.json",
    ] {
        assert!(Sources::from_files([file(bad)]).is_err(), "{bad}");
    }
    assert!(Sources::from_files([file("policies/a.cedar"), file("policies/a.cedar")]).is_err());
}
