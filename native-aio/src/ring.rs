//! Durable writes through one io_uring. Knows nothing of Node: unit tests drive it directly.

use crate::request::{write_durably, Completion, Request};
use io_uring::{cqueue, opcode, squeue, types, EnterFlags, IoUring, Probe};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The write reaches stable storage before it completes (`pwritev2` with `RWF_DSYNC`).
const DURABLE: i32 = libc::RWF_DSYNC;

/// How often the kernel is asked again when it has no memory for a request right now.
const SUBMIT_ATTEMPTS: usize = 16;

/// Threads that the kernel may keep for the syncs of this ring's thread. The log has one sync under way: a second thread
/// would be made, on the thread that submits, whenever a sync arrives while the first is about to go to sleep.
const SYNC_THREADS: u32 = 1;

/// What a completion carries: a number that is never used again, whether it is of the sync, and the ticket.
const TICKET_BITS: u32 = 16;
const SYNC: u64 = 1 << TICKET_BITS;
const NUMBER_SHIFT: u32 = TICKET_BITS + 1;
/// Number 0 is given to no write.
const OF_NO_WRITE: u64 = 0;

pub struct Ring {
    ring: IoUring,
    /// The write in flight of each ticket. A completion that belongs to none of them is of no interest.
    writes: Vec<Option<InFlight>>,
    in_flight: usize,
    last_number: u64,
    /// A write of a link completes only when it fails.
    has_links: bool,
    /// How many writes were repeated because the kernel did not carry out their sync.
    repeated: u64,
    /// The kernel refused an entry that is still in the queue: nothing may be submitted any more, since its
    /// bytes are not kept alive.
    broken: bool,
}

#[derive(Clone, Copy)]
struct InFlight {
    number: u64,
    request: Request,
    /// Its sync is a request of its own.
    linked: bool,
}

impl Ring {
    /// For tickets below `tickets`. Fails where the kernel or a container's seccomp profile forbids io_uring.
    pub fn new(tickets: u32) -> io::Result<Self> {
        // Flags 0 on purpose. With DEFER_TASKRUN the ring's descriptor never becomes readable, and the event loop
        // would wait for ever; with COOP_TASKRUN a sync would wait behind its write until JavaScript is done.
        let ring = IoUring::builder().dontfork().build(2 * tickets)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe)?;
        if !probe.is_supported(opcode::Write::CODE) {
            return Err(io::Error::from_raw_os_error(libc::ENOSYS));
        }
        let has_links =
            ring.params().is_feature_skip_cqe_on_success() && probe.is_supported(opcode::Fsync::CODE);
        if has_links {
            // Kernels before 5.15 do not know this; they have no links for us either.
            ring.submitter().register_iowq_max_workers(&mut [SYNC_THREADS, 0])?;
        }
        let writes = vec![None; tickets as usize];
        Ok(Ring { ring, writes, in_flight: 0, last_number: 0, has_links, repeated: 0, broken: false })
    }

    /// Becomes readable when a write has completed.
    pub fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Hands one write to the kernel.
    ///
    /// # Safety
    /// The bytes of `request` must stay where they are until its completion was drained. No other write in flight
    /// has its ticket.
    pub unsafe fn submit(&mut self, request: &Request) -> io::Result<()> {
        let linked = request.separate_sync && self.has_links;
        // SAFETY: as the caller promises.
        unsafe { self.start(*request, linked)? };
        self.in_flight += 1;
        Ok(())
    }

    /// # Safety
    /// As for `submit`.
    unsafe fn start(&mut self, request: Request, linked: bool) -> io::Result<()> {
        self.last_number += 1;
        let data = self.last_number << NUMBER_SHIFT | u64::from(request.ticket);
        let file = types::Fd(request.file);
        let write = opcode::Write::new(file, request.bytes, request.length).offset(request.position);
        if linked {
            let link = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
            let write = write.build().user_data(data).flags(link);
            let sync = opcode::Fsync::new(file).flags(types::FsyncFlags::DATASYNC);
            // SAFETY: the caller keeps the bytes alive; the queue holds copies of the entries.
            unsafe { self.hand_over(&[write, sync.build().user_data(data | SYNC)])? };
        } else {
            // SAFETY: as above.
            unsafe { self.hand_over(&[write.rw_flags(DURABLE).build().user_data(data)])? };
        }
        self.writes[request.ticket as usize] = Some(InFlight { number: self.last_number, request, linked });
        Ok(())
    }

    /// All of them at once: a sync that came after its write was gone would not wait for it.
    ///
    /// # Safety
    /// What the entries refer to stays alive until they completed.
    unsafe fn hand_over(&mut self, entries: &[squeue::Entry]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        // SAFETY: as the caller promises.
        let pushed = unsafe { self.ring.submission().push_multiple(entries) };
        pushed.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        let handed_over = self.submit_all(entries.len());
        self.broken = handed_over.is_err();
        handed_over
    }

    fn submit_all(&mut self, queued: usize) -> io::Result<()> {
        for attempt in 1.. {
            match self.ring.submit() {
                Ok(taken) if taken == queued => break,
                Ok(_) => return Err(io::Error::from_raw_os_error(libc::EIO)),
                Err(error) if attempt < SUBMIT_ATTEMPTS && is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Asks the kernel to give back the syncs that it has not begun. Each of those writes is then repeated in a way that
    /// needs no thread of the kernel, and completes as always; a sync that runs is left alone.
    pub fn take_back_syncs(&mut self) -> io::Result<()> {
        for at in 0..self.writes.len() {
            let Some(write) = self.writes[at].filter(|write| write.linked) else { continue };
            let sync = write.number << NUMBER_SHIFT | SYNC | at as u64;
            let cancel = opcode::AsyncCancel::new(sync).build().user_data(OF_NO_WRITE);
            // SAFETY: refers to no memory.
            unsafe { self.hand_over(&[cancel])? };
        }
        Ok(())
    }

    /// Calls `completed` for each write that is done. Blocks for a write that the kernel cannot carry out otherwise.
    pub fn drain(&mut self, mut completed: impl FnMut(Completion)) {
        while let Some(entry) = self.next_completion() {
            let data = entry.user_data();
            let ticket = (data & (SYNC - 1)) as u32;
            let slot = &mut self.writes[ticket as usize];
            // What is left of a link that failed before must not be taken for the ticket's next write.
            let Some(write) = slot.filter(|write| write.number == data >> NUMBER_SHIFT) else { continue };
            *slot = None;
            let mut result = entry.result();
            if result == -libc::ECANCELED {
                let Some(repeated) = self.repeat(write) else { continue };
                result = repeated;
            } else if result >= 0 && data & SYNC != 0 {
                result = write.request.length as i32;
            }
            self.in_flight -= 1;
            completed(Completion { ticket, result });
        }
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    /// The write or its sync was never begun: the kernel could not make a thread for it (a limit on processes; a signal or
    /// a freezer at the wrong time), or we took it back. The same bytes go to the same place once more, in one request,
    /// which most often needs no thread; where even that was tried, on this one. Gives the result, unless it is still to come.
    fn repeat(&mut self, write: InFlight) -> Option<i32> {
        self.repeated += 1;
        // SAFETY: the write has not completed for whoever owns its bytes.
        unsafe {
            if write.linked && self.start(write.request, false).is_ok() {
                return None;
            }
            Some(write_durably(&write.request))
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
        assert_eq!(results_of(&mut ring), [(1, 8192)]);
        let content = std::fs::read(&path).unwrap();
        assert_eq!(content.len(), 4096 + 8192);
        assert!(content[4096..].iter().all(|&byte| byte == 7));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_error_is_a_completion_with_a_negative_result() {
        let Ok(mut ring) = Ring::new(8) else { return };
        let arena = Arena::new(4096).unwrap();
        let (bytes, length) = (arena.address(), 4096);
        for separate_sync in [false, true] {
            let request = Request { ticket: 5, file: -1, bytes, length, position: 0, separate_sync };
            unsafe { ring.submit(&request).unwrap() };
            assert_eq!(results_of(&mut ring), [(5, -libc::EBADF)]);
        }
    }

    #[test]
    fn a_write_with_a_sync_of_its_own_completes_once() {
        let Ok(mut ring) = Ring::new(8) else { return };
        let (path, file) = direct_file("link");
        let arena = Arena::new(8192).unwrap();
        for number in 1..=100 {
            arena.fill(number);
            let position = u64::from(number) * 8192;
            let request = Request { separate_sync: true, ..write_request(&file, &arena, position, 3) };
            unsafe { ring.submit(&request).unwrap() };
            assert_eq!(results_of(&mut ring), [(3, 8192)]);
            let content = std::fs::read(&path).unwrap();
            assert!(content[position as usize..].iter().all(|&byte| byte == number));
        }
        std::fs::remove_file(path).unwrap();
    }

    /// What is left of a link that failed may complete later: it is of no write that came after.
    #[test]
    fn a_failed_link_says_nothing_of_the_next_write_with_its_ticket() {
        let Ok(mut ring) = Ring::new(8) else { return };
        let (path, file) = direct_file("failed-link");
        let arena = Arena::new(4096).unwrap();
        for round in 0..100 {
            let good = Request { separate_sync: true, ..write_request(&file, &arena, round * 4096, 0) };
            let bad = Request { file: -1, separate_sync: true, ..write_request(&file, &arena, 0, 0) };
            unsafe { ring.submit(&bad).unwrap() };
            assert_eq!(results_of(&mut ring), [(0, -libc::EBADF)]);
            unsafe { ring.submit(&good).unwrap() };
            assert_eq!(results_of(&mut ring), [(0, 4096)]);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 100 * 4096);
        std::fs::remove_file(path).unwrap();
    }

    /// One thread for all of them: most wait for it.
    #[test]
    fn a_sync_that_was_taken_back_is_made_up_for() {
        let Ok(mut ring) = Ring::new(64) else { return };
        let (path, file) = direct_file("taken-back");
        let arena = Arena::new(4096).unwrap();
        for round in 1..=20 {
            arena.fill(round);
            for ticket in 0..64 {
                let write = write_request(&file, &arena, u64::from(ticket) * 4096, ticket);
                unsafe { ring.submit(&Request { separate_sync: true, ..write }).unwrap() };
            }
            let mut seen = Vec::new();
            while seen.len() < 64 {
                ring.take_back_syncs().unwrap();
                seen.extend(results_of(&mut ring));
            }
            seen.sort();
            assert!(seen.iter().enumerate().all(|(at, &result)| result == (at as u32, 4096)), "{seen:?}");
            let content = std::fs::read(&path).unwrap();
            assert!(content.len() == 64 * 4096 && content.iter().all(|&byte| byte == round));
        }
        assert!(ring.repeated > 0 || !ring.has_links);
        assert_eq!(ring.in_flight, 0);
        std::fs::remove_file(path).unwrap();
    }

    /// The completions of the next wake-up that has any.
    fn results_of(ring: &mut Ring) -> Vec<(u32, i32)> {
        let mut seen = Vec::new();
        while seen.is_empty() {
            ring.ring.submit_and_wait(1).unwrap();
            ring.drain(|completion| seen.push((completion.ticket, completion.result)));
        }
        seen
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
