//! Whether a point lies on its curve.
//!
//! A certificate over a point off the curve is worthless to an honest holder and
//! a lever for invalid-curve attacks on whoever uses it. ring checks this only
//! inside a verification or key agreement, both far dearer than the equation
//! itself. Everything here is public, so timing does not matter.

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U256, U384, Uint};

/// Generated types need a module of their own: their fields' docs are not ours.
mod field {
    use crypto_bigint::{U256, U384};

    crypto_bigint::const_monty_params!(
        P256,
        U256,
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "The prime of P-256 (SP 800-186 section 3.2.1.3)."
    );
    crypto_bigint::const_monty_params!(
        P384,
        U384,
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
        "The prime of P-384 (SP 800-186 section 3.2.1.4)."
    );
}

const P256_B: U256 =
    U256::from_be_hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
const P384_B: U384 = U384::from_be_hex(
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
);

/// Whether the affine point (big-endian coordinates) lies on P-256.
pub(crate) fn p256(x: &[u8; 32], y: &[u8; 32]) -> bool {
    satisfies::<field::P256, { U256::LIMBS }>(
        &U256::from_be_slice(x),
        &U256::from_be_slice(y),
        &P256_B,
    )
}

/// Whether the affine point (big-endian coordinates) lies on P-384.
pub(crate) fn p384(x: &[u8; 48], y: &[u8; 48]) -> bool {
    satisfies::<field::P384, { U384::LIMBS }>(
        &U384::from_be_slice(x),
        &U384::from_be_slice(y),
        &P384_B,
    )
}

/// y² = x³ - 3x + b over the field, with both coordinates reduced. The point at
/// infinity has no such form, and both curves have cofactor 1.
fn satisfies<P: ConstMontyParams<L>, const L: usize>(
    x: &Uint<L>,
    y: &Uint<L>,
    b: &Uint<L>,
) -> bool {
    let prime = P::PARAMS.modulus();
    if x >= prime.as_ref() || y >= prime.as_ref() {
        return false;
    }
    let (x, y, b) = (
        ConstMontyForm::<P, L>::new(x),
        ConstMontyForm::<P, L>::new(y),
        ConstMontyForm::<P, L>::new(b),
    );
    let three_x = x.double().add(&x);
    let right = x.square().mul(&x).sub(&three_x).add(&b);
    y.square() == right
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{self, EcdsaKeyPair, KeyPair as _};

    fn point(algorithm: &'static signature::EcdsaSigningAlgorithm) -> Vec<u8> {
        #[expect(clippy::disallowed_methods, reason = "tests make their own randomness")]
        let rng = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
        pair.public_key().as_ref()[1..].to_vec()
    }

    #[test]
    fn every_generated_point_is_on_its_curve_and_its_neighbours_are_not() {
        for _ in 0..50 {
            let small = point(&signature::ECDSA_P256_SHA256_ASN1_SIGNING);
            let (x, y) = small.split_at(32);
            let (x, mut y): ([u8; 32], [u8; 32]) = (x.try_into().unwrap(), y.try_into().unwrap());
            assert!(p256(&x, &y));
            y[31] ^= 1;
            assert!(!p256(&x, &y));
            let large = point(&signature::ECDSA_P384_SHA384_ASN1_SIGNING);
            let (x, y) = large.split_at(48);
            let (mut x, y): ([u8; 48], [u8; 48]) = (x.try_into().unwrap(), y.try_into().unwrap());
            assert!(p384(&x, &y));
            x[47] ^= 1;
            assert!(!p384(&x, &y));
        }
    }

    #[test]
    fn unreduced_coordinates_and_zero_are_refused() {
        assert!(!p256(&[0; 32], &[0; 32]));
        assert!(!p384(&[0; 48], &[0; 48]));
        assert!(!p256(&[0xff; 32], &[0xff; 32]));
        assert!(!p384(&[0xff; 48], &[0xff; 48]));
    }
}
