//! Decides by Cedar policies what a token may do, and says why.
//!
//! Pure, floor 2: policies come as texts, facts as values, time as an argument.
//! What Cedar leaves open is closed here: an evaluation error denies, unknown
//! annotations are refused, obligations are read and the strictest win, policies
//! are sliced so that a decision looks only at those that can matter, and a
//! refusal names the condition that was missing.

mod builtin;
mod condition;
mod decide;
mod difference;
mod engine;
mod facts;
mod mistakes;
mod nearest;
mod reach;
mod review;
mod rule;
mod rules;
mod schema;
mod shape;
mod slices;
mod survey;
#[cfg(test)]
mod tests;
mod trial;
mod validate;
mod verdict;
mod window;

pub use difference::{Access, Change, Difference, difference};
pub use engine::Engine;
pub use reach::Way;
pub use rule::{Effect, Layer, Rule};
pub use survey::{Answer, Survey};
pub use trial::{Trial, TrialReport};
