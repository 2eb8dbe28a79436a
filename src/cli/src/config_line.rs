//! Where in a configuration file a key stands, so that a refusal of its value names the
//! line.

/// The number of the line that sets `key`, such as `ca.ttl`, or else of its section;
/// `None` when neither is there.
pub(crate) fn of(text: &str, key: &str) -> Option<usize> {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut current = "";
    let mut found = None;
    for (at, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            current = header.split(']').next().unwrap_or_default().trim();
            if current == key || (found.is_none() && current == section) {
                found = Some(at);
            }
            continue;
        }
        let Some((left, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let left = left.trim();
        // A key may be written with its section before it.
        let dotted = current.is_empty() && left == key;
        if (current == section && left == name) || dotted {
            return Some(at);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn u8_a_key_is_found_in_its_section() {
        let text = "trust_domain = \"a\"\nops.listen = \"b\"\n\n[ca]\n# ttl = \"1h\"\nttl = \"2h\"\n\
                    [keys]\n[keys.pkcs11]\nmodule = \"m\"\n[svid]\nttl = \"3h\"\n";
        for (key, line) in [
            ("trust_domain", Some(1)),
            ("ops.listen", Some(2)),
            ("ca.ttl", Some(6)),
            ("keys.pkcs11.module", Some(9)),
            ("keys.pkcs11", Some(8)),
            ("svid.ttl", Some(11)),
            ("svid.other", Some(10)),
            ("public.key", None),
            ("listen", None),
        ] {
            assert_eq!(of(text, key), line, "{key}");
        }
    }
}
