//! Serial numbers (RFC 5280 section 4.1.2.2): unique without asking anyone.
//!
//! 17 random bytes make a collision within one server as unlikely as breaking a
//! key; the prefix keeps servers apart even if two shared a broken generator.

use std::fmt;

use identity::CertificateSerial;

/// The byte a server's serials begin with, 1 to 127, so that a serial is positive
/// and has the same length always. Each server of a trust domain has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SerialPrefix(u8);

impl SerialPrefix {
    /// `None` for 0 and for 128 and above.
    #[must_use]
    pub const fn new(byte: u8) -> Option<Self> {
        match byte {
            1..=127 => Some(Self(byte)),
            _ => None,
        }
    }

    /// The byte.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// The serial number of one certificate: prefix, then 17 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial([u8; 18]);

impl Serial {
    /// Puts a serial together. `random` must be fresh for each certificate.
    #[must_use]
    pub fn new(prefix: SerialPrefix, random: [u8; 17]) -> Self {
        let mut bytes = [0; 18];
        let [first, rest @ ..] = &mut bytes;
        *first = prefix.0;
        *rest = random;
        Self(bytes)
    }

    /// The big-endian magnitude, never beginning with a zero byte.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 18] {
        &self.0
    }

    /// The value as records and nodes keep it.
    #[must_use]
    pub fn to_certificate_serial(&self) -> CertificateSerial {
        CertificateSerial::new(&self.0)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_are_positive_and_of_one_length() {
        assert!(SerialPrefix::new(0).is_none() && SerialPrefix::new(128).is_none());
        for prefix in [1, 42, 127] {
            let prefix = SerialPrefix::new(prefix).unwrap();
            let serial = Serial::new(prefix, [0; 17]);
            assert_eq!(serial.as_bytes()[0], prefix.get());
            assert_eq!(serial.to_certificate_serial().as_bytes(), serial.as_bytes());
            assert_eq!(serial.to_string().len(), 36);
        }
    }
}
