//! What both back ends carry out and report.

use std::io;
use std::os::fd::RawFd;

/// One durable write. The bytes belong to the caller until it is completed.
#[derive(Clone, Copy)]
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

/// Carries it out on this thread, which waits for the disk. The number of bytes written, or a negative errno.
///
/// # Safety
/// The bytes of `request` are alive.
pub unsafe fn write_durably(request: &Request) -> i32 {
    let vector =
        libc::iovec { iov_base: request.bytes as *mut libc::c_void, iov_len: request.length as usize };
    loop {
        // SAFETY: the caller promises that the bytes are alive.
        let written = unsafe {
            libc::pwritev2(request.file, &vector, 1, request.position as libc::off_t, libc::RWF_DSYNC)
        };
        if written >= 0 {
            return written as i32;
        }
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        if error != libc::EINTR {
            return -error;
        }
    }
}
