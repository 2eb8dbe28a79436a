//! Audit records for machines (JSON) and for people (one line).

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{Audit, AuditOutcome};

impl Audit<'_> {
    /// The record as a JSON object; absent fields are left out, serials are hex.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("at_ms".into(), self.at_ms.into());
        object.insert("kind".into(), self.kind.as_str().into());
        object.insert("result".into(), self.outcome.as_str().into());
        object.insert("who".into(), self.caller.to_string().into());
        let serial = hex::encode(self.serial);
        let texts = [
            ("for", self.for_whom),
            ("entry_id", self.entry_id),
            ("serial", &serial),
            ("jti", self.jti),
            ("authority_id", self.authority_id),
            ("reason", self.reason),
            ("detail", self.detail),
        ];
        for (name, text) in texts {
            if !text.is_empty() {
                object.insert(name.into(), text.into());
            }
        }
        if self.not_after != 0 {
            object.insert("not_after".into(), self.not_after.into());
        }
        Value::Object(object)
    }

    /// One line for people, without the time.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = format!("{} {}", self.kind, self.outcome.as_str());
        let mut say = |what: &str, text: &str| {
            if !text.is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(line, " {what} {text}");
            }
        };
        say("for", self.for_whom);
        say("to", &self.caller.to_string());
        say("by entry", self.entry_id);
        say("serial", &hex::encode(self.serial));
        say("jti", self.jti);
        if self.outcome == AuditOutcome::Refused || !self.reason.is_empty() {
            say("because", self.reason);
        }
        say("with", self.detail);
        line
    }
}
