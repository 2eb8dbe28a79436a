//! The envelope's rules: newer writers, unknown fields, nonsense.

use prost::Message;

use crate::RecordError;
use crate::envelope::{ENTRY, SCHEMA, open, seal, seal_as};

#[derive(Clone, PartialEq, Message)]
struct Today {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Tomorrow {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    more: u32,
}

fn tomorrow() -> Tomorrow {
    Tomorrow {
        name: "x".into(),
        more: 7,
    }
}

#[test]
fn a_record_that_only_newer_programs_may_write_is_refused_in_plain_words() {
    let bytes = seal_as(ENTRY, SCHEMA + 1, SCHEMA + 1, &tomorrow()).unwrap();
    let error = open::<Today>(ENTRY, &bytes).unwrap_err();
    let expected = RecordError::FutureSchema {
        kind: "entry",
        min_writer: SCHEMA + 1,
    };
    assert_eq!(error, expected);
    assert_eq!(
        error.to_string(),
        "entry record needs schema 3 or newer, this program knows 2; it was written by a newer version: upgrade this server, nothing was changed"
    );
}

#[test]
fn a_newer_record_whose_writer_allows_us_is_read_without_what_we_do_not_know() {
    let bytes = seal_as(ENTRY, SCHEMA + 1, SCHEMA, &tomorrow()).unwrap();
    assert_eq!(open::<Today>(ENTRY, &bytes).unwrap().name, "x");
}

#[test]
fn unknown_fields_in_a_record_of_our_own_schema_are_damage() {
    let bytes = seal(ENTRY, &tomorrow()).unwrap();
    let error = open::<Today>(ENTRY, &bytes).unwrap_err();
    assert!(matches!(error, RecordError::Damaged { .. }), "{error}");
}

#[test]
fn nonsense_is_damage() {
    for (schema, min_writer) in [(0, 0), (SCHEMA, 0), (0, SCHEMA)] {
        let today = Today { name: "x".into() };
        let bytes = seal_as(ENTRY, schema, min_writer, &today).unwrap();
        let error = open::<Today>(ENTRY, &bytes).unwrap_err();
        assert!(matches!(error, RecordError::Damaged { .. }), "{error}");
    }
    let error = open::<Today>(ENTRY, b"").unwrap_err();
    assert!(
        matches!(error, RecordError::WrongKind { found: 0, .. }),
        "{error}"
    );
}
