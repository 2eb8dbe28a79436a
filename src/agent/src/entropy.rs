//! The agent's one source of randomness.
//!
//! What decides takes random numbers as arguments; this file is where they come
//! from.

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system's generator. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Entropy(SystemRandom);

impl Entropy {
    /// The operating system's generator.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the agent takes randomness from the system"
    )]
    pub(crate) fn system() -> Self {
        Self(SystemRandom::new())
    }

    /// For what keeps a source of its own.
    pub(crate) fn source(&self) -> SystemRandom {
        self.0.clone()
    }

    /// For functions that make keys.
    pub(crate) fn rng(&self) -> &dyn SecureRandom {
        &self.0
    }

    /// A number to spread work over time, of all values evenly. When the system
    /// has no randomness to give, the middle: spreading is no secret.
    pub(crate) fn number(&self) -> u32 {
        let mut bytes = [0; 4];
        match self.0.fill(&mut bytes) {
            Ok(()) => u32::from_be_bytes(bytes),
            Err(_) => u32::MAX / 2,
        }
    }

    /// The same as a number in `0.0..1.0`.
    pub(crate) fn fraction(&self) -> f64 {
        f64::from(self.number()) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Entropy;

    #[test]
    fn fractions_stay_in_range_and_differ() {
        let entropy = Entropy::system();
        let drawn: Vec<f64> = (0..64).map(|_| entropy.fraction()).collect();
        assert!(drawn.iter().all(|f| (0.0..1.0).contains(f)));
        assert!(drawn.iter().any(|f| (f - drawn[0]).abs() > f64::EPSILON));
    }
}
