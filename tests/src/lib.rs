//! End-to-end, interop, attack and tidiness tests. Floor 5.
