//! RSA keys for the tests.

use rcgen::KeyPair;
use rsa::pkcs8::EncodePrivateKey as _;

/// A key of 2048 bits.
pub(crate) fn rsa() -> KeyPair {
    let mut rng = rsa::rand_core::UnwrapErr(Source);
    let key = rsa::PrivateKey::new(&mut rng, 2048).unwrap();
    let der = key.to_pkcs8_der().unwrap();
    KeyPair::try_from(der.as_bytes()).unwrap()
}

struct Source;

impl rsa::rand_core::TryRng for Source {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    #[expect(clippy::disallowed_methods, reason = "keys of a test")]
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        use ring::rand::{SecureRandom as _, SystemRandom};
        SystemRandom::new().fill(out).unwrap();
        Ok(())
    }
}

impl rsa::rand_core::TryCryptoRng for Source {}

/// The SubjectPublicKeyInfo of an RSA key that nobody has: a modulus of so many bits,
/// all set.
pub(crate) fn rsa_spki(bits: usize, exponent: &str) -> Vec<u8> {
    let tlv = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    };
    let modulus = [&[0], vec![0xff; bits / 8].as_slice()].concat();
    let numbers = [
        tlv(0x02, &modulus),
        tlv(0x02, &hex::decode(exponent).unwrap()),
    ];
    let key = [&[0], tlv(0x30, &numbers.concat()).as_slice()].concat();
    let algorithm = hex::decode("300d06092a864886f70d0101010500").unwrap();
    tlv(0x30, &[algorithm, tlv(0x03, &key)].concat())
}
