//! Many TCP sockets that are read together, without Node: what has arrived is looked at (`MSG_PEEK`), and taken from the
//! kernel only when it has been dealt with. Taking bytes that came in two segments makes the kernel send an acknowledgement
//! at once, a packet of its own; once an answer has carried it there is nothing left to acknowledge. On loopback that packet
//! is a quarter of what a small request costs the kernel.

use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null_mut;

/// Sockets that are looked at in one turn of the event loop; the others come in the next one.
pub const MAX_READY: usize = 64;
/// Of one socket at once.
const MAX_PIECE_BYTES: usize = 64 * 1024;
/// With less room than this the rest waits for the next turn.
const MIN_ROOM_BYTES: usize = 4096;

/// What a look at one socket found: so many bytes, 0 for the end of the stream, or a negative errno.
#[derive(Debug, PartialEq)]
pub struct Piece {
    pub number: u32,
    pub result: i32,
}

struct Entry {
    file: libc::c_int,
    watched: bool,
    /// Bytes at the head of the kernel's queue that were handed over already.
    peeked: usize,
}

pub struct Sockets {
    epoll: OwnedFd,
    /// By number; `None` is free.
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    /// Those with something peeked.
    peeked: Vec<u32>,
}

impl Sockets {
    pub fn new() -> Result<Self> {
        // SAFETY: a plain system call; the descriptor is ours.
        let epoll = unsafe { checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))? };
        // SAFETY: made just now, owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        Ok(Sockets { epoll, entries: Vec::new(), free: Vec::new(), peeked: Vec::new() })
    }

    /// Readable when any of the sockets is.
    pub fn descriptor(&self) -> libc::c_int {
        self.epoll.as_raw_fd()
    }

    pub fn is_empty(&self) -> bool {
        self.free.len() == self.entries.len()
    }

    /// Takes a socket in, not watched yet; returns its number. It must stay open until it is removed.
    pub fn add(&mut self, file: libc::c_int) -> Result<u32> {
        let (mut protocol, mut size) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the out parameters are valid.
        checked(unsafe {
            libc::getsockopt(file, libc::SOL_SOCKET, libc::SO_PROTOCOL, (&raw mut protocol).cast(), &mut size)
        })?;
        if protocol != libc::IPPROTO_TCP {
            // Others do not discard what MSG_TRUNC asks them to.
            return Err(Error::from_raw_os_error(libc::EPROTONOSUPPORT));
        }
        let entry = Some(Entry { file, watched: false, peeked: 0 });
        if let Some(number) = self.free.pop() {
            self.entries[number as usize] = entry;
            return Ok(number);
        }
        self.entries.push(entry);
        Ok(self.entries.len() as u32 - 1)
    }

    /// What arrives from now on is found by `look`. Without effect on one that is watched, or not there.
    pub fn watch(&mut self, number: u32) -> Result<()> {
        let epoll = self.descriptor();
        let Some(entry) = self.entry(number).filter(|entry| !entry.watched) else { return Ok(()) };
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number.into() };
        // SAFETY: the event is valid.
        checked(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, entry.file, &mut event) })?;
        entry.watched = true;
        Ok(())
    }

    /// Nothing of it is found until it is watched again.
    pub fn ignore(&mut self, number: u32) {
        let epoll = self.descriptor();
        let Some(entry) = self.entry(number).filter(|entry| entry.watched) else { return };
        entry.watched = false;
        // SAFETY: no event is needed to delete one.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, entry.file, null_mut()) };
    }

    /// Forgets a socket, which is as if what was handed over had been read, and may be closed now.
    pub fn remove(&mut self, number: u32) {
        self.discard_of(number);
        self.ignore(number);
        if let Some(entry) = self.entries.get_mut(number as usize) {
            if entry.take().is_some() {
                self.free.push(number);
            }
        }
    }

    /// Looks at the sockets on which something has arrived: puts their bytes one behind the other into `room`. They count as
    /// handed over; `discard` takes them from the kernel.
    pub fn look(&mut self, room: &mut [u8], mut found: impl FnMut(Piece)) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MAX_READY];
        // SAFETY: there is room for so many events.
        let count =
            unsafe { libc::epoll_wait(self.descriptor(), events.as_mut_ptr(), MAX_READY as libc::c_int, 0) };
        let mut used = 0;
        for event in events.iter().take(count.max(0) as usize) {
            let room = &mut room[used..];
            if room.len() < MIN_ROOM_BYTES {
                return;
            }
            let number = event.u64 as u32;
            let Some(result) = self.peek(number, room) else { continue };
            used += result.max(0) as usize;
            found(Piece { number, result });
        }
    }

    /// `None`: nothing is there after all.
    fn peek(&mut self, number: u32, room: &mut [u8]) -> Option<i32> {
        self.discard_of(number);
        let entry = self.entry(number)?;
        let length = room.len().min(MAX_PIECE_BYTES);
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: `room` has `length` bytes.
        let result = received(unsafe { libc::recv(entry.file, room.as_mut_ptr().cast(), length, flags) })?;
        if result > 0 {
            entry.peeked = result as usize;
            self.peeked.push(number);
        } else {
            self.ignore(number);
        }
        Some(result)
    }

    /// Reads what has arrived behind that which was handed over, without waiting. `None`: nothing.
    pub fn take(&mut self, number: u32, room: &mut [u8]) -> Option<i32> {
        self.discard_of(number);
        let entry = self.entry(number)?;
        // SAFETY: `room` has so many bytes.
        received(unsafe { libc::recv(entry.file, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) })
    }

    /// Takes everything that was handed over from the kernel.
    pub fn discard(&mut self) {
        while let Some(number) = self.peeked.pop() {
            self.discard_of(number);
        }
    }

    fn discard_of(&mut self, number: u32) {
        let Some(entry) = self.entry(number) else { return };
        while entry.peeked > 0 {
            let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
            // SAFETY: with MSG_TRUNC TCP throws the bytes away: nothing is written.
            let result = unsafe { libc::recv(entry.file, null_mut(), entry.peeked, flags) };
            if result <= 0 {
                // They were there: a connection that loses its bytes is of no use any more.
                // SAFETY: a plain system call on an open socket.
                unsafe { libc::shutdown(entry.file, libc::SHUT_RDWR) };
                entry.peeked = 0;
                return;
            }
            entry.peeked -= (result as usize).min(entry.peeked);
        }
    }

    fn entry(&mut self, number: u32) -> Option<&mut Entry> {
        self.entries.get_mut(number as usize)?.as_mut()
    }
}

/// The number of bytes, 0 or a negative errno; `None` when there is nothing to be had at the moment.
fn received(result: isize) -> Option<i32> {
    if result >= 0 {
        return Some(result as i32);
    }
    match Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN | libc::EINTR) | None => None,
        Some(code) => Some(-code),
    }
}

fn checked(result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    /// The client's end of a connection, and the accepted one.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// Looks until something is found.
    fn look(sockets: &mut Sockets, room: &mut [u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while pieces.is_empty() {
            let mut poll = libc::pollfd { fd: sockets.descriptor(), events: libc::POLLIN, revents: 0 };
            assert_eq!(unsafe { libc::poll(&mut poll, 1, 5000) }, 1, "something arrives");
            sockets.look(room, |piece| pieces.push(piece));
        }
        pieces
    }

    #[test]
    fn what_was_handed_over_does_not_come_again() {
        let (mut client, accepted) = pair();
        let mut sockets = Sockets::new().unwrap();
        let number = sockets.add(accepted.as_raw_fd()).unwrap();
        sockets.watch(number).unwrap();
        let mut room = [0; 8192];
        client.write_all(b"one").unwrap();
        assert_eq!(look(&mut sockets, &mut room), [Piece { number, result: 3 }]);
        // It is still in the kernel's queue.
        let mut again = [0; 8];
        assert_eq!(accepted.peek(&mut again).unwrap(), 3);
        client.write_all(b"two").unwrap();
        sockets.discard();
        assert_eq!(look(&mut sockets, &mut room), [Piece { number, result: 3 }]);
        assert_eq!(&room[..3], b"two");
    }

    #[test]
    fn taking_and_looking_begin_behind_what_was_handed_over() {
        let (mut client, accepted) = pair();
        let mut sockets = Sockets::new().unwrap();
        let number = sockets.add(accepted.as_raw_fd()).unwrap();
        sockets.watch(number).unwrap();
        let mut room = [0; 8192];
        client.write_all(b"one").unwrap();
        look(&mut sockets, &mut room);
        assert_eq!(sockets.take(number, &mut room), None);
        client.write_all(b"two").unwrap();
        assert_eq!(look(&mut sockets, &mut room), [Piece { number, result: 3 }]);
        assert_eq!(&room[..3], b"two");
        client.write_all(b"three").unwrap();
        while accepted.peek(&mut [0; 16]).unwrap() < 8 {}
        assert_eq!(sockets.take(number, &mut room), Some(5));
        assert_eq!(&room[..5], b"three");
    }

    #[test]
    fn the_end_and_a_failure_are_found_once() {
        let (client, accepted) = pair();
        let (broken, unlucky) = pair();
        let mut sockets = Sockets::new().unwrap();
        let ended = sockets.add(accepted.as_raw_fd()).unwrap();
        sockets.watch(ended).unwrap();
        drop(client);
        let mut room = [0; 8192];
        assert_eq!(look(&mut sockets, &mut room), [Piece { number: ended, result: 0 }]);
        let reset = sockets.add(unlucky.as_raw_fd()).unwrap();
        sockets.watch(reset).unwrap();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of::<libc::linger>() as libc::socklen_t;
        let option = (&raw const linger).cast();
        unsafe { libc::setsockopt(broken.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, option, size) };
        drop(broken);
        assert_eq!(look(&mut sockets, &mut room), [Piece { number: reset, result: -libc::ECONNRESET }]);
        sockets.look(&mut room, |piece| panic!("{piece:?}"));
    }

    #[test]
    fn an_ignored_socket_is_not_found_and_loses_nothing() {
        let (mut client, accepted) = pair();
        let mut sockets = Sockets::new().unwrap();
        let number = sockets.add(accepted.as_raw_fd()).unwrap();
        client.write_all(b"early").unwrap();
        let mut room = [0; 8192];
        sockets.look(&mut room, |piece| panic!("{piece:?}"));
        sockets.watch(number).unwrap();
        sockets.watch(number).unwrap();
        assert_eq!(look(&mut sockets, &mut room), [Piece { number, result: 5 }]);
        sockets.ignore(number);
        sockets.discard();
        client.write_all(b"late").unwrap();
        sockets.look(&mut room, |piece| panic!("{piece:?}"));
        sockets.watch(number).unwrap();
        assert_eq!(look(&mut sockets, &mut room), [Piece { number, result: 4 }]);
    }

    #[test]
    fn a_removed_socket_goes_on_elsewhere_and_its_number_is_given_again() {
        let (mut client, accepted) = pair();
        let (mut other, next) = pair();
        let mut sockets = Sockets::new().unwrap();
        let number = sockets.add(accepted.as_raw_fd()).unwrap();
        sockets.watch(number).unwrap();
        client.write_all(b"here").unwrap();
        let mut room = [0; 8192];
        look(&mut sockets, &mut room);
        sockets.remove(number);
        assert!(sockets.is_empty());
        client.write_all(b"there").unwrap();
        let mut rest = [0; 8];
        assert_eq!(std::io::Read::read(&mut &accepted, &mut rest).unwrap(), 5);
        assert_eq!(sockets.add(next.as_raw_fd()).unwrap(), number);
        other.write_all(b"untouched").unwrap();
        while next.peek(&mut [0; 16]).unwrap() < 9 {}
        // What was left of the first one is not taken from the second.
        sockets.discard();
        assert_eq!(next.peek(&mut [0; 16]).unwrap(), 9);
    }

    #[test]
    fn full_room_leaves_the_rest_for_the_next_look() {
        let mut sockets = Sockets::new().unwrap();
        let pairs: Vec<_> = (0..3).map(|_| pair()).collect();
        for (client, accepted) in &pairs {
            let number = sockets.add(accepted.as_raw_fd()).unwrap();
            sockets.watch(number).unwrap();
            (&mut &*client).write_all(&[7; 5000]).unwrap();
            while accepted.peek(&mut [0; 8192]).unwrap() < 5000 {}
        }
        let mut room = [0; 12_000];
        let mut results = Vec::new();
        for _ in 0..3 {
            sockets.look(&mut room, |piece| results.push(piece.result));
            sockets.discard();
        }
        assert_eq!(results, [5000, 5000, 5000]);
    }

    #[test]
    fn only_tcp_is_taken_in() {
        let (one, _other) = UnixStream::pair().unwrap();
        let error = Sockets::new().unwrap().add(one.as_raw_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPROTONOSUPPORT));
    }
}
