//! PEM (RFC 7468), the form in which other software takes certificates and keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

const LINE: usize = 64;

/// One block for each of `all`.
pub(crate) fn encode<'a>(label: &str, all: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut text = String::new();
    for der in all {
        let body = STANDARD.encode(der);
        let mut rest = body.as_str();
        text.extend(["-----BEGIN ", label, "-----\n"]);
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(LINE));
            text.extend([line, "\n"]);
            rest = after;
        }
        text.extend(["-----END ", label, "-----\n"]);
    }
    text
}

/// The certificates in a text: PEM, or one certificate as base64 DER. Nothing when
/// it is neither.
pub(super) fn certificates(text: &str) -> Option<Vec<Vec<u8>>> {
    if text.contains("-----BEGIN") {
        let all = CertificateDer::pem_slice_iter(text.as_bytes());
        let all: Result<Vec<_>, _> = all.map(|one| one.map(|der| der.to_vec())).collect();
        return all.ok().filter(|all| !all.is_empty());
    }
    let der = STANDARD.decode(text.trim()).ok()?;
    (!der.is_empty()).then(|| vec![der])
}

#[cfg(test)]
mod tests {
    use super::{certificates, encode};

    #[test]
    fn what_is_written_is_read_back() {
        for length in [1, 47, 48, 49, 500] {
            let (a, b) = (vec![7; length], vec![9; length]);
            let text = encode("CERTIFICATE", [&a[..], &b[..]]);
            assert!(text.lines().all(|line| line.len() <= 64));
            assert_eq!(certificates(&text), Some(vec![a, b]));
        }
        assert_eq!(certificates(" AQID\n"), Some(vec![vec![1, 2, 3]]));
        for neither in [
            "",
            "?",
            "-----BEGIN CERTIFICATE-----",
            "-----BEGIN X-----\n",
        ] {
            assert_eq!(certificates(neither), None, "{neither}");
        }
    }
}
