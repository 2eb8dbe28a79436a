//! Records and journal segments: our own bytes, until somebody else wrote them.

use identity::TrustDomain;

use super::{Target, judged};

pub(crate) const RECORDS: Target = Target {
    name: "stored_records",
    reads: "records of the store and the journal",
    seeds: || {
        let entry = serde_json::json!({"schema": 1, "min_reader": 1, "id": "a", "spiffe_id": "spiffe://f.test/w"});
        vec![entry.to_string().into_bytes(), vec![0; 40]]
    },
    words: &[b"\"schema\":", b"\"v\":", b"{", b"[]", b"null"],
    generate: None,
    run: |bytes| {
        let trust_domain = TrustDomain::parse("f.test").unwrap();
        [
            judged(records::decode_entry(bytes, &trust_domain)),
            judged(records::decode_node(bytes)),
            judged(records::decode_token(bytes)),
            judged(records::decode_bundle(bytes)),
            judged(records::decode_authority(bytes)),
            judged(records::decode_activation(bytes)),
            judged(records::decode_token_limits(bytes)),
            judged(records::decode_break_glass(bytes)),
            judged(records::decode_revocation_sequence(bytes)),
            judged(records::AuditRecord::decode(bytes)),
        ]
        .join("; ")
    },
};

pub(crate) const JOURNAL: Target = Target {
    name: "journal_segment",
    reads: "a segment of the journal, in an archive that somebody brings",
    seeds: || {
        let mut segment = vec![0; 5_000];
        segment[..8].copy_from_slice(b"BULLAJN1");
        vec![segment]
    },
    words: &[
        b"BULLAJN1",
        b"\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\x00\x00\x00\x00",
    ],
    generate: None,
    run: |bytes| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("00000000000000000001.journal");
        std::fs::write(file, bytes).unwrap();
        let read = journal::read(folder.path(), 1).map(|records| records.take(1_000).count());
        let verified = judged(journal::verify(folder.path(), None));
        format!("{}; {verified}", judged(read))
    },
};
