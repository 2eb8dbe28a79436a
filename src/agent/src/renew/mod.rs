//! Keeping credentials young: the agent's own SVID and its workloads'.

mod own;
mod workloads;

pub(crate) use own::keep_own_young;
pub(crate) use workloads::keep_workloads_young;
