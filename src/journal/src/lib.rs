//! Append-only, group-committed, hash-chained log with receipts. Floor 0.
