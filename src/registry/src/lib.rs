//! Entries, nodes and bundles in memory; who is authorised for what. Pure. Floor 1.
