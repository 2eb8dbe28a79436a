//! The binaries: bulla and bulla-agent. Floor 4.
