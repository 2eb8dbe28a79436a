//! Signing keys behind one trait; knows nothing of certificates. Floor 0.
