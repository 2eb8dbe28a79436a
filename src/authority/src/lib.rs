//! Mints X.509-SVIDs and JWT-SVIDs: prepare, record, sign. Floor 1.
