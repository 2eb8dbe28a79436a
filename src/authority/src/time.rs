//! Certificate times (RFC 5280 section 4.1.2.5): UTCTime until 2049, then
//! GeneralizedTime, from and to whole Unix seconds.

use identity::{Timestamp, date_of};

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const DAY: i64 = 86_400;

/// The last second a certificate can name: 9999-12-31T23:59:59Z.
pub(crate) const LAST: Timestamp = Timestamp(253_402_300_799);

/// One encoded time: at most 17 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Encoded {
    bytes: [u8; 17],
    len: usize,
}

impl Encoded {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Encodes a time; `None` before 1970 or after [`LAST`].
pub(crate) fn encode(at: Timestamp) -> Option<Encoded> {
    if at.0 < 0 || at > LAST {
        return None;
    }
    let (year, month, day) = date_of(at.0.div_euclid(DAY));
    let second = at.0.rem_euclid(DAY);
    let short = year < 2050;
    let mut out = Encoded {
        bytes: [0; 17],
        len: 0,
    };
    out.push(if short { UTC_TIME } else { GENERALIZED_TIME });
    out.push(if short { 13 } else { 15 });
    if !short {
        out.two_digits(year / 100);
    }
    for field in [
        year % 100,
        month,
        day,
        second / 3600,
        second / 60 % 60,
        second % 60,
    ] {
        out.two_digits(field);
    }
    out.push(b'Z');
    Some(out)
}

impl Encoded {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn two_digits(&mut self, value: i64) {
        // Every caller passes 0 to 99.
        let value = u8::try_from(value).unwrap_or_default();
        self.push(b'0' + value / 10 % 10);
        self.push(b'0' + value % 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use x509_parser::prelude::FromDer as _;

    fn text(at: i64) -> String {
        String::from_utf8(encode(Timestamp(at)).unwrap().as_bytes()[2..].to_vec()).unwrap()
    }

    #[test]
    fn known_times() {
        assert_eq!(text(0), "700101000000Z");
        assert_eq!(text(1_795_507_200), "261124080000Z");
        assert_eq!(text(951_782_400), "000229000000Z");
        assert_eq!(text(2_524_607_999), "491231235959Z");
        assert_eq!(text(2_524_608_000), "20500101000000Z");
        assert_eq!(text(4_107_542_399), "21000228235959Z");
        assert_eq!(text(4_107_542_400), "21000301000000Z");
        assert_eq!(text(LAST.0), "99991231235959Z");
        assert!(encode(Timestamp(-1)).is_none());
        assert!(encode(LAST.plus(identity::Seconds(1))).is_none());
    }

    proptest! {
        #[test]
        fn another_parser_reads_back_the_same_second(at in 0..LAST.0) {
            let encoded = encode(Timestamp(at)).unwrap();
            let (_, read) = x509_parser::time::ASN1Time::from_der(encoded.as_bytes()).unwrap();
            prop_assert_eq!(read.timestamp(), at);
        }
    }
}
