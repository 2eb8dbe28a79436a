//! bulla-agent
fn main() {}
