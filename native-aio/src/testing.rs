//! Shared by the unit tests.

use crate::arena::Arena;
use crate::request::Request;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A new file for direct I/O. On file systems without it the flag is accepted or the test uses plain I/O.
pub fn direct_file(name: &str) -> (PathBuf, File) {
    let path = std::env::temp_dir().join(format!("native-aio-{}-{name}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let file = options.clone().custom_flags(libc::O_DIRECT).open(&path);
    let file = file.unwrap_or_else(|_| options.open(&path).unwrap());
    (path, file)
}

/// Writes the whole arena at `position`.
pub fn write_request(file: &File, arena: &Arena, position: u64, ticket: u32) -> Request {
    Request {
        ticket,
        file: file.as_raw_fd(),
        bytes: arena.address(),
        length: arena.size() as u32,
        position,
        separate_sync: false,
    }
}
