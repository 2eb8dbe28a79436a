//! SPIFFE IDs and strings that are none.

use serde_json::json;

const GOOD: [(&str, &str); 18] = [
    ("spiffe://example.org/web", "the usual form"),
    ("spiffe://example.org", "a trust domain's own ID"),
    ("spiffe://example.org/a/b/c", "several segments"),
    ("spiffe://example.org/A/a", "paths may have upper case"),
    ("spiffe://example.org/...", "three dots are a segment"),
    ("spiffe://example.org/.a", "a dot before"),
    ("spiffe://example.org/a.", "a dot after"),
    ("spiffe://example.org/-_.0", "every mark that is allowed"),
    ("spiffe://my_td/x", "an underscore in a trust domain"),
    ("spiffe://a-b/x", "a hyphen in a trust domain"),
    ("spiffe://-/x", "a hyphen alone"),
    ("spiffe://10.0.0.1/x", "looks like an address, is a name"),
    ("spiffe://a..b/x", "names need not be DNS names"),
    ("spiffe://../x", "dots alone"),
    ("spiffe://.a/x", "a dot first"),
    ("spiffe://a./x", "a dot last"),
    ("spiffe://1/x", "a digit"),
    (
        "spiffe://example.org/spire/agent",
        "a reserved path is still an ID",
    ),
];

const BAD: [(&str, &str); 44] = [
    ("", "empty"),
    ("example.org/web", "no scheme"),
    ("http://example.org/web", "another scheme"),
    ("SPIFFE://example.org/web", "scheme in upper case"),
    ("Spiffe://example.org/web", "scheme in upper case"),
    ("spiffe:/example.org/web", "one slash"),
    ("spiffe:example.org/web", "no slash"),
    ("spiffe//example.org/web", "no colon"),
    ("spiffe://", "no trust domain"),
    ("spiffe:///web", "no trust domain"),
    ("spiffe://Example.org/web", "trust domain in upper case"),
    ("spiffe://example.org/", "trailing slash"),
    ("spiffe://example.org/web/", "trailing slash"),
    ("spiffe://example.org//web", "empty segment"),
    ("spiffe://example.org/a//b", "empty segment"),
    ("spiffe://example.org/.", "dot segment"),
    ("spiffe://example.org/./a", "dot segment"),
    ("spiffe://example.org/a/..", "dot segment"),
    ("spiffe://example.org/../a", "dot segment"),
    ("spiffe://user@example.org/web", "userinfo"),
    ("spiffe://user:pw@example.org/web", "userinfo"),
    ("spiffe://@example.org/web", "empty userinfo"),
    ("spiffe://example.org:443/web", "port"),
    ("spiffe://example.org:/web", "empty port"),
    ("spiffe://example.org/web?a=b", "query"),
    ("spiffe://example.org/web?", "empty query"),
    ("spiffe://example.org?a=b", "query"),
    ("spiffe://example.org/web#f", "fragment"),
    ("spiffe://example.org/web#", "empty fragment"),
    (
        "spiffe://ex%61mple.org/web",
        "percent encoding in the trust domain",
    ),
    ("spiffe://example.org/%61", "percent encoding in the path"),
    ("spiffe://example.org/a%2Fb", "percent encoding in the path"),
    ("spiffe://[::1]/web", "an IPv6 address"),
    ("spiffe://ex ample.org/web", "space"),
    ("spiffe://example.org/a b", "space"),
    (" spiffe://example.org/web", "space before"),
    ("spiffe://example.org/web\n", "line end after"),
    ("spiffe://example.org/\u{0}", "NUL"),
    ("spiffe://exämple.org/web", "not ASCII"),
    ("spiffe://example.org/wéb", "not ASCII"),
    ("spiffe://example.org/a~b", "a tilde"),
    ("spiffe://example.org/a:b", "a colon"),
    ("spiffe://example.org/a+b", "a plus"),
    ("spiffe://example.org\\web", "a backslash"),
];

pub(crate) fn write_all() {
    let case = |id: &str, accept: bool, why: &str| json!({"id": id, "accept": accept, "why": why});
    let mut cases: Vec<_> = GOOD.iter().map(|(id, why)| case(id, true, why)).collect();
    cases.extend(BAD.iter().map(|(id, why)| case(id, false, why)));
    let label = |n: usize| "a".repeat(n);
    let path = |n: usize| format!("spiffe://example.org/{}", "a".repeat(n - 21));
    for (id, accept, why) in [
        (
            format!("spiffe://{}/x", label(255)),
            true,
            "a trust domain of 255 bytes",
        ),
        (
            format!("spiffe://{}/x", label(256)),
            false,
            "a trust domain of 256 bytes",
        ),
        (path(2048), true, "2048 bytes"),
        (path(2049), false, "2049 bytes"),
    ] {
        cases.push(case(&id, accept, why));
    }
    crate::write_index("ids.json", &cases);
}
