//! Durable writes through one io_uring. Knows nothing of Node: unit tests drive it directly.

use crate::request::{Completion, Request};
use io_uring::{opcode, types, EnterFlags, IoUring, Probe};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The write reaches stable storage before it completes (`pwritev2` with `RWF_DSYNC`): data and sync in one
/// request cost half the CPU of a linked write and fdatasync.
const DURABLE: i32 = libc::RWF_DSYNC;

/// How often the kernel is asked again when it has no memory for a request right now.
const SUBMIT_ATTEMPTS: usize = 16;

pub struct Ring {
    ring: IoUring,
    in_flight: usize,
    /// The kernel refused an entry that is still in the queue: nothing may be submitted any more, since its
    /// bytes are not kept alive.
    broken: bool,
}

impl Ring {
    /// Fails where the kernel or a container's seccomp profile forbids io_uring.
    pub fn new(entries: u32) -> io::Result<Self> {
        // Flags 0 on purpose: with DEFER_TASKRUN the ring's descriptor never becomes readable, and then the
        // event loop would wait for ever.
        let ring = IoUring::builder().dontfork().build(entries)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Write::CODE) {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        Ok(Ring { ring, in_flight: 0, broken: false })
    }

    /// Becomes readable when a write has completed.
    pub fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Hands one write to the kernel.
    ///
    /// # Safety
    /// The bytes of `request` must stay where they are until its completion was drained.
    pub unsafe fn submit(&mut self, request: &Request) -> io::Result<()> {
        let entry = opcode::Write::new(types::Fd(request.file), request.bytes, request.length)
            .offset(request.position)
            .rw_flags(DURABLE)
            .build()
            .user_data(u64::from(request.ticket));
        if self.broken {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        // SAFETY: the caller keeps the bytes alive; the queue holds a copy of the entry.
        unsafe { self.ring.submission().push(&entry) }
            .map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        if let Err(error) = self.hand_over() {
            self.broken = true;
            return Err(error);
        }
        self.in_flight += 1;
        Ok(())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        for attempt in 1.. {
            match self.ring.submit() {
                Ok(_) => break,
                Err(error) if attempt < SUBMIT_ATTEMPTS && is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Calls `completed` for each write that is done. Never blocks.
    pub fn drain(&mut self, mut completed: impl FnMut(Completion)) {
        for entry in self.ring.completion() {
            self.in_flight -= 1;
            completed(Completion { ticket: entry.user_data() as u32, result: entry.result() });
        }
    }

    /// Blocks until the kernel owns no buffer of ours any more.
    pub fn wait_all(&mut self) {
        while self.in_flight > 0 {
            // SAFETY: no argument is passed. Submits nothing: what a broken ring has left must stay there.
            let waited = unsafe {
                self.ring.submitter().enter::<libc::sigset_t>(0, 1, EnterFlags::GETEVENTS.bits(), None)
            };
            if waited.is_err_and(|error| !is_passing(&error)) {
                // The ring itself is broken; closing it cancels what is left.
                return;
            }
            self.drain(|_| {});
        }
    }
}

/// Says nothing about the request: to be tried again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.wait_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::testing::{direct_file, write_request};

    #[test]
    fn a_write_is_on_disk_when_it_completes() {
        let Ok(mut ring) = Ring::new(8) else { return };
        let (path, file) = direct_file("ring");
        let arena = Arena::new(8192).unwrap();
        arena.fill(7);
        unsafe { ring.submit(&write_request(&file, &arena, 4096, 1)).unwrap() };
        let mut seen = Vec::new();
        while seen.is_empty() {
            ring.ring.submit_and_wait(1).unwrap();
            ring.drain(|completion| seen.push((completion.ticket, completion.result)));
        }
        assert_eq!(seen, [(1, 8192)]);
        let content = std::fs::read(&path).unwrap();
        assert_eq!(content.len(), 4096 + 8192);
        assert!(content[4096..].iter().all(|&byte| byte == 7));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_error_is_a_completion_with_a_negative_result() {
        let Ok(mut ring) = Ring::new(8) else { return };
        let arena = Arena::new(4096).unwrap();
        let request = Request { ticket: 9, file: -1, bytes: arena.address(), length: 4096, position: 0 };
        unsafe { ring.submit(&request).unwrap() };
        let mut results = Vec::new();
        while results.is_empty() {
            ring.ring.submit_and_wait(1).unwrap();
            ring.drain(|completion| results.push(completion.result));
        }
        assert_eq!(results, [-libc::EBADF]);
    }

    #[test]
    fn dropping_the_ring_waits_for_writes_in_flight() {
        let Ok(mut ring) = Ring::new(64) else { return };
        let (path, file) = direct_file("drop");
        let arena = Arena::new(4096).unwrap();
        for ticket in 0..32 {
            unsafe { ring.submit(&write_request(&file, &arena, u64::from(ticket) * 4096, ticket)).unwrap() };
        }
        drop(ring);
        drop(arena);
        std::fs::remove_file(path).unwrap();
    }
}
