//! What a catalogue accepts, and what it says about what it does not.

use super::*;

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.into(),
        text: text.into(),
    }
}

fn read(text: &str) -> Result<Catalogue, Vec<Fault>> {
    Catalogue::read(&[file("catalogue/payments.yaml", text)])
}

const PAYMENTS: &str = "\
audience: payments
owner: team-payments
profiles: [at+jwt, jwt-svid]
max_ttl: 15m
labels: {env: prod}
permissions:
  - name: payments:charge.read
    risk: low
    endpoints:
      http:
        - GET /charges/{id}
        - GET /reports/**
      grpc:
        - payments.v1.Payments/GetCharge
  - name: payments:refund.create
    description: Give money back.
    risk: high
    since: 2026-01-10
    details:
      urn:example:refund:
        type: object
        required: [type, amount_max]
        properties:
          type: {const: 'urn:example:refund'}
          amount_max: {type: integer, maximum: 500}
    endpoints:
      http: [POST /refunds]
  - name: payments:refund
    deprecated: 2026-10-01
    sunset: 2027-01-15
    replaced_by: payments:refund.create
";

fn complaint(text: &str) -> String {
    let faults = read(text).expect_err("it should be refused");
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_service_says_what_its_tokens_can_allow() {
    let catalogue = read(PAYMENTS).unwrap();
    let service = catalogue.service("payments").unwrap();
    assert_eq!(service.profiles, [Profile::AccessToken, Profile::JwtSvid]);
    assert_eq!(service.max_ttl, Seconds(900));
    assert_eq!(service.default_ttl, Seconds(300));
    let (_, refund) = catalogue.permission("payments:refund.create").unwrap();
    assert!(refund.needs_possession() && refund.needs_short_life());
    let (_, old) = catalogue.permission("payments:refund").unwrap();
    let before = crate::day("2027-01-14").unwrap();
    assert!(old.is_deprecated(before) && !old.is_past_sunset(before));
    assert!(old.is_past_sunset(crate::day("2027-01-15").unwrap()));
    assert!(catalogue.service("other").is_none());
}

#[test]
fn a_call_needs_the_permission_that_lists_its_endpoint() {
    let catalogue = read(PAYMENTS).unwrap();
    let find = |method: &str, path: &str| {
        catalogue
            .endpoint("payments", method, path)
            .map(|name| name.as_str().to_owned())
    };
    let read = Some("payments:charge.read".to_owned());
    assert_eq!(find("GET", "/charges/17"), read);
    assert_eq!(find("GET", "/charges/a%20b?x=/../"), read);
    assert_eq!(find("GET", "/reports"), read);
    assert_eq!(find("GET", "/reports/2026/11"), read);
    assert_eq!(find("POST", "/payments.v1.Payments/GetCharge"), read);
    assert_eq!(
        find("POST", "/refunds").as_deref(),
        Some("payments:refund.create")
    );
}

#[test]
fn an_unmapped_endpoint_is_nobodys() {
    let catalogue = read(PAYMENTS).unwrap();
    for (method, path) in [
        ("POST", "/charges/17"),
        ("get", "/charges/17"),
        ("GET", "/charges"),
        ("GET", "/charges/"),
        ("GET", "/charges/17/"),
        ("GET", "//charges/17"),
        ("GET", "/charges/.."),
        ("GET", "/charges/%2e%2e"),
        ("GET", "/charges/a%2Fb"),
        ("GET", "/charges/a%5cb"),
        ("GET", "/charges/%"),
        ("GET", "/charges/%+1"),
        ("GET", "/charges/%252e"),
        ("GET", "/charges/a;b"),
        ("GET", "/charges/%00"),
        ("GET", "/reports/../charges"),
        ("GET", "charges/17"),
        ("GET", ""),
        ("GET", "/Charges/17"),
        ("GET", "/payments.v1.Payments/GetCharge"),
    ] {
        assert_eq!(
            catalogue.endpoint("payments", method, path),
            None,
            "{method} {path}"
        );
    }
    assert_eq!(catalogue.endpoint("other", "GET", "/charges/17"), None);
}

#[test]
fn overlapping_endpoints_are_an_error() {
    let with = |endpoint: &str| format!("{PAYMENTS}    endpoints: {{http: ['{endpoint}']}}\n");
    for endpoint in [
        "GET /charges/latest",
        "GET /{anything}/17",
        "* /refunds",
        "GET /**",
        "POST /{service}/{method}",
        "GET /reports/{year}",
    ] {
        let said = complaint(&with(endpoint));
        assert!(said.contains("overlaps"), "{endpoint}: {said}");
    }
    for endpoint in ["GET /charges", "PUT /refunds", "POST /refunds/{id}/cancel"] {
        assert!(read(&with(endpoint)).is_ok(), "{endpoint}");
    }
}

#[test]
fn two_owners_of_one_audience_are_an_error() {
    let other = PAYMENTS
        .replace("team-payments", "team-shop")
        .replace("payments:", "shop:");
    let files = [
        file("catalogue/a.yaml", PAYMENTS),
        file("catalogue/b.yaml", &other),
    ];
    let said = Catalogue::read(&files).expect_err("refused")[0].to_string();
    assert_eq!(
        said,
        "catalogue/b.yaml: the audience payments is team-shop's here and team-payments's in catalogue/a.yaml; one service, one audience, one owner: merge the files, or rename one audience"
    );
}

/// What is replaced by what, and what is said about it.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("owner: team-payments\n", "owner: ''\n", "no owner"),
    (
        "audience: payments\n",
        "audience: 'pay ments'\n",
        "is no audience",
    ),
    (
        "owner: team-payments\n",
        "owner: a\ncolour: red\n",
        "colour",
    ),
    ("at+jwt, jwt-svid", "at+jwt, paseto", "is no token profile"),
    (
        "labels: ",
        "require_pop: true\nlabels: ",
        "prove no possession",
    ),
    ("max_ttl: 15m", "max_ttl: 25h", "is no lifetime"),
    ("max_ttl: 15m", "max_ttl: 15", "is no lifetime"),
    ("risk: high", "risk: huge", "huge"),
    ("since: 2026-01-10", "since: 2026-02-30", "is no date"),
    (
        "deprecated: 2026-10-01",
        "deprecated: 2027-10-01",
        "not in this order",
    ),
    (
        "replaced_by: payments:refund.create",
        "replaced_by: payments:reimburse",
        "no other permission",
    ),
    (
        "name: payments:refund\n",
        "name: payments:charge.read\n",
        "declared twice",
    ),
    (
        "name: payments:refund\n",
        "name: Payments refund\n",
        "is no permission name",
    ),
    (
        "GET /charges/{id}",
        "GET /charges/../{id}",
        "is no path template",
    ),
    ("GET /charges/{id}", "GET charges", "is no path template"),
    (
        "payments.v1.Payments/GetCharge",
        "GetCharge",
        "is no gRPC method",
    ),
    (
        "type: object",
        "type: objekt",
        "schema of urn:example:refund is none",
    ),
    (
        "type: object",
        "$ref: 'https://example.org/refund.json'",
        "outside the schema",
    ),
    (
        "type: object",
        "$ref: 'file:///etc/passwd'",
        "outside the schema",
    ),
    (
        "urn:example:refund:\n",
        "refund:\n",
        "is no authorization_details type",
    ),
    (
        "risk: low",
        "risk: low\n    relax: {possession: because it is only a test}",
        "risk is not high",
    ),
    (
        "risk: high",
        "risk: high\n    relax: {possession: ''}",
        "without a reason",
    ),
    (
        "risk: low",
        "risk: low\n    details_required: true",
        "details_required without details",
    ),
];

#[test]
fn every_mistake_is_told_with_its_line() {
    for (from, to, expected) in MISTAKES {
        let text = PAYMENTS.replacen(from, to, 1);
        assert_ne!(text, PAYMENTS, "{from}");
        let said = complaint(&text);
        assert!(said.contains(expected), "{to}: {said}");
        let placed = said.starts_with("catalogue/payments.yaml:");
        assert!(placed, "{said}");
    }
}

#[test]
fn all_at_once_is_for_services_whose_permissions_fit_one_request() {
    let service = |count: usize| {
        let names = (0..count).map(|n| format!("  - name: payments:p{n}\n"));
        let names: String = names.collect();
        format!("audience: payments\nowner: team\nall_if_none_asked: true\npermissions:\n{names}")
    };
    let most = crate::limits::ASKED_MAX;
    assert!(read(&service(most)).is_ok());
    assert!(complaint(&service(most + 1)).contains("all_if_none_asked"));
}

#[test]
fn authorization_details_are_checked_against_the_schema() {
    let catalogue = read(PAYMENTS).unwrap();
    let service = catalogue.service("payments").unwrap();
    let (permission, schema) = service.details("urn:example:refund").unwrap();
    assert_eq!(permission.as_str(), "payments:refund.create");
    let good = serde_json::json!({"type": "urn:example:refund", "amount_max": 500});
    assert_eq!(schema.check(&good), Ok(()));
    let much = serde_json::json!({"type": "urn:example:refund", "amount_max": 501});
    let said = schema.check(&much).expect_err("refused");
    assert!(said.contains("/amount_max"), "{said}");
    assert!(service.details("urn:example:other").is_none());
}

#[test]
fn the_digest_follows_the_text_and_not_the_order_of_files() {
    let shop = PAYMENTS.replace("payments", "shop");
    let files = [
        file("catalogue/a.yaml", PAYMENTS),
        file("catalogue/b.yaml", &shop),
    ];
    let turned = [files[1].clone(), files[0].clone()];
    let digest = Catalogue::read(&files).unwrap().digest();
    assert_eq!(digest, Catalogue::read(&turned).unwrap().digest());
    assert_ne!(digest, read(PAYMENTS).unwrap().digest());
}
