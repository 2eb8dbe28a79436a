//! Typed, versioned encodings of what store and journal hold. Floor 2.
