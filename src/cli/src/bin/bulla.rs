//! bulla
fn main() {}
