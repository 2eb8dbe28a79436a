//! Serials, times, bundles, secrets.

use std::sync::Arc;

use crate::{
    Bundle, CertificateSerial, JwtSvid, PrivateKeyDer, Seconds, SpiffeId, Timestamp, TrustDomain,
    X509AuthorityCertificate,
};

#[test]
fn a_serial_is_its_magnitude() {
    assert_eq!(
        CertificateSerial::new(&[0, 0, 1]),
        CertificateSerial::new(&[1])
    );
    assert_eq!(CertificateSerial::new(&[0, 0xab, 1]).to_string(), "ab01");
    assert_eq!(CertificateSerial::new(&[0]).as_bytes(), b"");
}

#[test]
fn times_saturate() {
    assert_eq!(Timestamp::MAX.plus(Seconds(1)), Timestamp::MAX);
    assert_eq!(Timestamp(i64::MIN).minus(Seconds(1)), Timestamp(i64::MIN));
    assert_eq!(Timestamp(10).since(Timestamp(4)), Seconds(6));
    assert_eq!(Timestamp(4).since(Timestamp(10)), Seconds(0));
    assert_eq!(Timestamp::MAX.since(Timestamp(0)), Seconds(u32::MAX));
}

#[test]
fn bundles_concatenate_their_authorities_in_order() {
    let mut bundle = Bundle::empty(TrustDomain::parse("example.org").unwrap());
    assert!(bundle.x509_concatenated().is_empty());
    for byte in [1, 2] {
        let der: Arc<[u8]> = [byte; 2].into();
        bundle.x509_authorities.push(X509AuthorityCertificate {
            der,
            tainted: false,
        });
    }
    assert_eq!(bundle.x509_concatenated(), [1, 1, 2, 2]);
}

#[test]
fn secrets_do_not_show_in_debug() {
    let key = PrivateKeyDer::new(b"very secret");
    assert_eq!(format!("{key:?}"), "PrivateKeyDer(..)");
    let svid = JwtSvid {
        spiffe_id: SpiffeId::parse("spiffe://example.org/x").unwrap(),
        token: "head.body.very-secret".into(),
        issued_at: Timestamp(0),
        expires_at: Timestamp(1),
        key_id: "k".into(),
    };
    assert!(!format!("{svid:?}").contains("secret"));
}
