//! Page-aligned memory for direct I/O, outside of the JavaScript heap.

use std::io;

pub struct Arena {
    address: *mut u8,
    size: usize,
}

impl Arena {
    /// Zeroed memory that starts on a page boundary. Not inherited by child processes, which could otherwise
    /// see pages copied while the kernel writes from them.
    pub fn new(size: usize) -> io::Result<Self> {
        // SAFETY: a new private mapping; nothing else refers to it.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the mapping above. Advice only: a failure changes nothing.
        unsafe { libc::madvise(address, size, libc::MADV_DONTFORK) };
        Ok(Arena { address: address.cast(), size })
    }

    pub fn address(&self) -> *mut u8 {
        self.address
    }

    pub fn size(&self) -> usize {
        self.size
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is ours and `size` long. Whoever lets others write to it does not call this.
        unsafe { std::slice::from_raw_parts(self.address, self.size) }
    }

    #[cfg(test)]
    pub fn fill(&self, byte: u8) {
        // SAFETY: the mapping is ours and `size` long.
        unsafe { std::ptr::write_bytes(self.address, byte, self.size) };
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: made by `new`, unmapped once.
        unsafe { libc::munmap(self.address.cast(), self.size) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_page_aligned_and_zero() {
        let arena = Arena::new(12288).unwrap();
        assert_eq!(arena.address() as usize % 4096, 0);
        let bytes = unsafe { std::slice::from_raw_parts(arena.address(), arena.size()) };
        assert!(bytes.iter().all(|&byte| byte == 0));
    }
}
