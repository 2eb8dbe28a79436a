//! Workload selectors of a Unix process. Floor 2.
