//! Whether a point lies on its curve.
//!
//! ring checks this when it verifies, but a bundle's keys are also handed on to
//! workloads, whose libraries drop the whole set for one bad point. Everything
//! here is public, so timing does not matter.

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams};
use crypto_bigint::{U256, U384, U576, Uint};

/// The primes (SP 800-186 section 3.2.1).
mod field {
    use crypto_bigint::{U256, U384, U576};

    crypto_bigint::const_monty_params!(
        P256,
        U256,
        "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        "The prime of P-256."
    );
    crypto_bigint::const_monty_params!(
        P384,
        U384,
        "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffff",
        "The prime of P-384."
    );
    crypto_bigint::const_monty_params!(
        P521,
        U576,
        "00000000000001ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "The prime of P-521."
    );
}

const P256_B: U256 =
    U256::from_be_hex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b");
const P384_B: U384 = U384::from_be_hex(
    "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
);
const P521_B: U576 = U576::from_be_hex(
    "0000000000000051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
);

pub(crate) fn p256(x: &[u8], y: &[u8]) -> bool {
    let read = |digits| <&[u8; 32]>::try_from(digits).map(|d| U256::from_be_slice(d));
    matches!((read(x), read(y)), (Ok(x), Ok(y)) if satisfies::<field::P256, _>(&x, &y, &P256_B))
}

pub(crate) fn p384(x: &[u8], y: &[u8]) -> bool {
    let read = |digits| <&[u8; 48]>::try_from(digits).map(|d| U384::from_be_slice(d));
    matches!((read(x), read(y)), (Ok(x), Ok(y)) if satisfies::<field::P384, _>(&x, &y, &P384_B))
}

pub(crate) fn p521(x: &[u8], y: &[u8]) -> bool {
    let read = |digits| {
        // 521 bits need 66 bytes; the number's words need 72.
        <&[u8; 66]>::try_from(digits)
            .map(|digits| U576::from_be_slice(&[&[0; 6][..], digits].concat()))
    };
    matches!((read(x), read(y)), (Ok(x), Ok(y)) if satisfies::<field::P521, _>(&x, &y, &P521_B))
}

/// y² = x³ - 3x + b over the field, with both coordinates reduced.
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
    y.square() == x.square().mul(&x).sub(&three_x).add(&b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |c: &u8| u8::try_from(char::from(*c).to_digit(16).unwrap()).unwrap();
        hex.as_bytes()
            .chunks(2)
            .map(|pair| (digit(&pair[0]) << 4) | digit(&pair[1]))
            .collect()
    }

    /// The base points of SP 800-186, and their neighbours.
    #[test]
    fn base_points_are_on_their_curves_and_their_neighbours_are_not() {
        type Check = fn(&[u8], &[u8]) -> bool;
        let points: [(Check, &str, &str); 3] = [
            (
                p256,
                "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296",
                "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
            ),
            (
                p384,
                "aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7",
                "3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
            ),
            (
                p521,
                "00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66",
                "011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
            ),
        ];
        for (check, x, y) in points {
            let (mut x, y) = (bytes(x), bytes(y));
            assert!(check(&x, &y));
            assert!(!check(&x, &y[1..]));
            assert!(!check(&vec![0xff; x.len()], &y));
            assert!(!check(&vec![0; x.len()], &vec![0; y.len()]));
            let last = x.len() - 1;
            x[last] ^= 1;
            assert!(!check(&x, &y));
        }
    }
}
