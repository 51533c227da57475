//! What both back ends carry out and report.

use std::os::fd::RawFd;

/// One durable write. The bytes belong to the caller until it is completed.
pub struct Request {
    /// Comes back in the completion.
    pub ticket: u32,
    pub file: RawFd,
    pub bytes: *const u8,
    pub length: u32,
    pub position: u64,
    /// For the ring: the sync is a request of its own, linked behind the write. The thread has no use for it.
    pub separate_sync: bool,
}

// SAFETY: the bytes are only read, and whoever made the request keeps them alive until its completion.
unsafe impl Send for Request {}

/// `result` is the number of bytes written, or a negative errno.
pub struct Completion {
    pub ticket: u32,
    pub result: i32,
}
