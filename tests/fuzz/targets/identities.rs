//! Names: SPIFFE IDs, trust domains, selectors, entry IDs, as every API takes them.

use identity::{EntryId, Selector, SpiffeId, TrustDomain};

use super::{Target, judged};

pub(crate) const NAMES: Target = Target {
    name: "names",
    reads: "SPIFFE IDs, trust domains, selectors and entry IDs of every API and file",
    seeds: || {
        let texts: [&[u8]; 5] = [
            b"spiffe://example.org/ns/web/sa/default",
            b"example.org",
            b"unix:uid:1000",
            b"k8s:ns:default",
            b"f7a3c2d1-0000-4000-8000-000000000001",
        ];
        texts.map(<[u8]>::to_vec).to_vec()
    },
    words: &[
        b"spiffe://",
        b"/",
        b"..",
        b"%2e",
        b":",
        b"\0",
        "é".as_bytes(),
        b"A",
    ],
    generate: None,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(id) = SpiffeId::parse(&text) {
            // What was accepted is exactly what was given, and stays so.
            assert_eq!(id.as_str(), text);
            assert_eq!(SpiffeId::parse(id.as_str()), Ok(id));
        }
        if let Ok(selector) = Selector::parse(&text) {
            assert_eq!(selector.as_str(), text);
        }
        [
            judged(SpiffeId::parse(&text)),
            judged(TrustDomain::parse(&text)),
            judged(TrustDomain::from_human(&text)),
            judged(Selector::parse(&text)),
            judged(EntryId::parse(&text)),
        ]
        .join("; ")
    },
};
