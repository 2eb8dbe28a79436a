//! RSA keys of a broken generator (CVE-2017-15361, "ROCA"): their private half can be
//! computed from the public one.
//!
//! Its primes were made of powers of 65537 modulo a product of small primes, and so
//! is the modulus. Modulo each small prime, then, it is a power of 65537; of other
//! moduli less than one in a hundred million is so for all of them.

const GENERATOR: u32 = 65_537;

/// The primes that a 512-bit or larger key of that generator is marked by.
const PRIMES: [u32; 39] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether the modulus, in big-endian digits, bears the mark.
pub(crate) fn is_marked(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|prime| {
        let residue = modulus.iter().fold(0, |residue, digit| {
            (residue * 256 + u32::from(*digit)) % prime
        });
        is_power(residue, *prime)
    })
}

fn is_power(residue: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * (GENERATOR % prime) % prime;
    }
    false
}
