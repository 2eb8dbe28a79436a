//! The limits of a journal, in one visible place.

/// How to open a journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// What record 1 is chained to: a hash that names whose journal this is. Checked
    /// when an existing journal is opened.
    pub origin: [u8; 32],
    /// A segment is closed once it holds this many bytes.
    pub segment_bytes: u64,
    /// Bytes of one payload.
    pub max_payload_bytes: usize,
    /// How many of the newest segments are verified at open; [`crate::verify`] does all.
    pub verify_segments: usize,
    /// Records waiting to be written.
    pub max_queue_records: usize,
    /// Bytes of payload waiting to be written.
    pub max_queue_bytes: usize,
    /// How this journal breaks its promise, for the checkers' own test.
    #[cfg(feature = "planted-faults")]
    pub fault: crate::PlantedFault,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            origin: [0; 32],
            segment_bytes: 32 << 20,
            max_payload_bytes: 64 << 10,
            verify_segments: 2,
            max_queue_records: 65_536,
            max_queue_bytes: 32 << 20,
            #[cfg(feature = "planted-faults")]
            fault: crate::PlantedFault::None,
        }
    }
}
