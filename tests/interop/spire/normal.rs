//! What a command answered, without what two servers cannot agree on: times,
//! keys, serials, tokens, and the wording of errors.

use bulla_tests::Ran;

/// An answer that can be compared with another server's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The exit code.
    pub(super) code: i32,
    /// Lines of the standard output.
    pub(super) out: Vec<String>,
    /// Lines of the standard error.
    pub(super) err: Vec<String>,
}

impl Answer {
    /// Every line.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.out.iter().chain(&self.err).map(String::as_str)
    }
}

/// Makes an answer comparable.
pub(super) fn normal(ran: &Ran) -> Answer {
    Answer {
        code: ran.code,
        out: lines(&ran.out),
        err: lines(&ran.err),
    }
}

fn lines(text: &str) -> Vec<String> {
    if let Ok(mut json) = serde_json::from_str(text) {
        blank(&mut json);
        let pretty = serde_json::to_string_pretty(&json).unwrap();
        return pretty.lines().map(str::to_owned).collect();
    }
    let mut lines = Vec::new();
    let mut in_pem = false;
    for line in text.lines() {
        if line.starts_with("-----BEGIN") {
            in_pem = true;
        }
        let ends = line.starts_with("-----END");
        if !in_pem || line.starts_with("-----") {
            lines.push(line_without_noise(line));
        }
        in_pem &= !ends;
    }
    lines
}

/// Members of JSON answers that no two servers share.
const NOISE: &[&str] = &[
    "asn1",
    "authority_id",
    "created_at",
    "expires_at",
    "id",
    "key_id",
    "kid",
    "message",
    "path",
    "private_key",
    "public_key",
    "refresh_hint",
    "root_cas",
    "sequence_number",
    "spiffe_sequence",
    "token",
    "value",
    "x",
    "x509_svid",
    "x509svid_expires_at",
    "x509svid_serial_number",
    "x5c",
    "y",
];

fn blank(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Array(items) => items.iter_mut().for_each(blank),
        serde_json::Value::Object(members) => {
            // Ours says how often to look again, SPIRE's own bundle does not.
            members.remove("spiffe_refresh_hint");
            for (name, value) in members.iter_mut() {
                if NOISE.contains(&name.as_str()) && is_noise(name, value) {
                    *value = "…".into();
                } else {
                    blank(value);
                }
            }
        }
        _ => {}
    }
}

/// A long string, a number (64 bits are written as strings), or a list of strings.
fn is_noise(name: &str, value: &serde_json::Value) -> bool {
    let uuid = |text: &str| text.len() == 36 && text.matches('-').count() == 4;
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match value {
        serde_json::Value::String(text) => {
            // SPIRE forgets the serial of an agent that it bans; ours keeps it for the record.
            let kept = name == "x509svid_serial_number";
            let long = text.len() > 20 && name != "id";
            long || uuid(text) || number(text) || name == "message" || kept
        }
        serde_json::Value::Number(_) => true,
        serde_json::Value::Array(items) => !items.is_empty() && items.iter().all(|i| i.is_string()),
        _ => false,
    }
}

/// Cuts what follows these: the words of an error are each server's own, and a
/// token is a secret of its moment.
const CUT_AFTER: &[&str] = &[
    "desc = ",
    "msg: \"",
    "Token: ",
    "join_token/",
    "Authority ID: ",
    "Serial number     : ",
    "Expiration time   : ",
    "Expires at: ",
    "expires at: ",
];

fn line_without_noise(line: &str) -> String {
    // "Error: what failed: why".
    if let Some((failed, _why)) = line
        .strip_prefix("Error: ")
        .and_then(|e| e.split_once(": "))
    {
        return format!("Error: {failed}: …");
    }
    let cut = CUT_AFTER.iter().find_map(|mark| {
        let at = line.find(mark)? + mark.len();
        line.get(..at)
    });
    let line = cut.map_or_else(|| line.to_owned(), |start| format!("{start}…"));
    line.split(' ')
        .map(word_without_noise)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A long word with digits in it is an id, a key, a token or a time.
fn word_without_noise(word: &str) -> &str {
    let digits = word.chars().filter(char::is_ascii_digit).count();
    if digits >= 6 && word.len() >= 9 && !word.starts_with("spiffe://") {
        "…"
    } else {
        word
    }
}
