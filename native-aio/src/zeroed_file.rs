//! Makes a file of zeros in one go, on whatever thread that may wait for the disk.

use crate::arena::Arena;
use std::fs::{remove_file, rename, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Written at once: small, since writes of the log wait behind it.
const CHUNK_BYTES: usize = 128 * 1024;

/// A file of `size` zeros, a multiple of the block of direct I/O.
pub struct ZeroedFile {
    pub directory: PathBuf,
    /// Its name until it is whole: a crash leaves no file of odd length under the other.
    pub temporary_name: String,
    pub name: String,
    pub size: u64,
}

impl ZeroedFile {
    /// Zeros and name are durable when this returns a descriptor for direct writes; a failure leaves nothing behind. Written
    /// past the page cache: a direct write to a page that is in there would have to wait for its removal.
    pub fn create(&self) -> io::Result<OwnedFd> {
        let (temporary, path) = (self.directory.join(&self.temporary_name), self.directory.join(&self.name));
        let made = self.write_zeros(&temporary).and_then(|file| rename(&temporary, &path).map(|()| file));
        let file = made.inspect_err(|_| drop(remove_file(&temporary)))?;
        File::open(&self.directory)?.sync_all()?;
        Ok(file.into())
    }

    fn write_zeros(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file =
            options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_DIRECT).open(path)?;
        let zeros = Arena::new(CHUNK_BYTES)?;
        let mut written = 0;
        while written < self.size {
            let length = (self.size - written).min(CHUNK_BYTES as u64) as usize;
            written += file.write_at(&zeros.bytes()[..length], written)? as u64;
        }
        file.sync_all()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zeroed(name: &str, directory: PathBuf) -> ZeroedFile {
        ZeroedFile { directory, temporary_name: format!("tmp-{name}"), name: name.into(), size: 2_560 * 1024 }
    }

    #[test]
    fn the_file_is_zero_and_has_its_name() {
        let directory = std::env::temp_dir();
        let wanted = zeroed(&format!("native-aio-{}-zeroed", std::process::id()), directory.clone());
        if wanted.create().is_err() {
            return;
        }
        let bytes = std::fs::read(directory.join(&wanted.name)).unwrap();
        assert_eq!(bytes.len() as u64, wanted.size);
        assert!(bytes.iter().all(|&byte| byte == 0));
        assert!(!directory.join(&wanted.temporary_name).exists());
        remove_file(directory.join(&wanted.name)).unwrap();
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let directory = std::env::temp_dir().join("native-aio-absent");
        assert_eq!(zeroed("file", directory).create().unwrap_err().raw_os_error(), Some(libc::ENOENT));
    }
}
