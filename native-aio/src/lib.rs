//! Durable writes for Node.js: direct I/O with the sync in the same request, on io_uring where the kernel allows
//! it, on one thread of our own where it does not; and what else a server wants of its kernel. See README.md.

mod arena;
mod callback;
mod crc;
mod doorbell;
mod engine;
mod request;
mod ring;
mod socket_reader;
mod sockets;
#[cfg(test)]
mod testing;
mod uv;
mod writer_thread;
mod zeroed_file;

use arena::Arena;
use doorbell::Bell;
use engine::{Callbacks, Engine, Slot, MAX_IN_FLIGHT};
use napi::bindgen_prelude::{Env, Error, JsValue, Result, Status, Unknown};
use napi::sys;
use napi_derive::napi;
use request::Request;
use socket_reader::{Memory, Reader, Values};
use sockets::MAX_READY;
use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;
use zeroed_file::ZeroedFile;

/// A result is an i32, and the kernel takes no more than this in one request.
const MAX_WRITE_BYTES: usize = 0x7fff_f000;

/// The largest integer of a JavaScript number.
const MAX_POSITION: f64 = 9_007_199_254_740_991.0;

/// Version of this addon; the loader refuses another one than its own.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Writes that one `DurableWriter` may have in flight.
#[napi]
pub fn max_in_flight() -> u32 {
    MAX_IN_FLIGHT
}

/// Why io_uring cannot be used here, or null when it can. Tries it; kernel versions say little.
#[napi]
pub fn io_uring_obstacle() -> Option<String> {
    if uv::uv().is_none() {
        return Some("this process has no libuv".into());
    }
    ring::Ring::new(4).err().map(|error| error.to_string())
}

/// The checksum of the log (src/storage/crc.ts), continuing from `previous`.
#[napi]
pub fn crc(env: Env, #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown, previous: u32) -> Result<u32> {
    let (data, length) = typed_array(env.raw(), bytes.raw(), sys::TypedarrayType::uint8_array)?;
    if length == 0 {
        return Ok(previous);
    }
    // SAFETY: JavaScript, which owns the bytes, does not run meanwhile.
    Ok(crc::crc(unsafe { std::slice::from_raw_parts(data, length) }, previous))
}

/// Tells V8 that objects of the calling thread keep so many bytes more (or less, below 0) alive outside of its heap: it collects
/// sooner. For memory that it does not count by itself, as SharedArrayBuffers.
#[napi]
pub fn adjust_external_memory(env: Env, change_bytes: f64) {
    let mut total = 0;
    // SAFETY: the out parameter is valid.
    unsafe { sys::napi_adjust_external_memory(env.raw(), change_bytes as i64, &mut total) };
}

/// Page-aligned zeroed memory of `sizeBytes`, unmapped when it is collected. Mark it untransferable: a transfer
/// would detach it while the kernel writes from it.
#[napi(ts_return_type = "ArrayBuffer")]
pub fn allocate_arena(env: Env, size_bytes: u32) -> Result<Unknown<'static>> {
    let arena = Box::new(Arena::new(size_bytes as usize).map_err(io_error)?);
    let (address, size) = (arena.address(), arena.size());
    let mut value = null_mut();
    // SAFETY: the memory lives until `release_arena`, which Node calls when the buffer is collected.
    let status = unsafe {
        sys::napi_create_external_arraybuffer(
            env.raw(),
            address.cast(),
            size,
            Some(release_arena),
            Box::into_raw(arena).cast(),
            &mut value,
        )
    };
    if status != sys::Status::napi_ok {
        // The box was not taken over; leaking one arena is better than a double free on an unknown status.
        return Err(Error::new(Status::GenericFailure, "this runtime refuses external memory"));
    }
    // SAFETY: made just now in this environment.
    Ok(unsafe { Unknown::from_raw_unchecked(env.raw(), value) })
}

extern "C" fn release_arena(_env: sys::napi_env, _data: *mut c_void, arena: *mut c_void) {
    // SAFETY: made by `allocate_arena`, released once.
    drop(unsafe { Box::from_raw(arena.cast::<Arena>()) });
}

/// Carries out durable writes on the calling thread's event loop, main thread or worker.
#[napi]
pub struct DurableWriter {
    slot: Slot,
}

#[napi]
impl DurableWriter {
    /// `onCompletions(count)` is called once per wake-up, after `count` pairs of (ticket, result) were put into
    /// `completions`; a result is the number of bytes written or a negative errno. `completions` holds at least
    /// 2 * maxInFlight() elements and must not be transferred. Throws where io_uring is asked for and not available.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        io_uring: bool,
        #[napi(ts_arg_type = "(count: number) => void")] on_completions: Unknown,
        #[napi(ts_arg_type = "Int32Array")] completions: Unknown,
    ) -> Result<Self> {
        let (data, length) = typed_array(env.raw(), completions.raw(), sys::TypedarrayType::int32_array)?;
        if length < MAX_IN_FLIGHT as usize * 2 {
            return Err(Error::new(Status::InvalidArg, "completions is too short"));
        }
        let callbacks = Callbacks {
            on_completions: on_completions.raw(),
            completions: completions.raw(),
            completions_data: data.cast(),
        };
        // SAFETY: all values belong to this call.
        let slot = unsafe { Engine::start(env.raw(), io_uring, &callbacks) }.map_err(io_error)?;
        Ok(DurableWriter { slot })
    }

    /// Starts a durable write of all of `source` and returns its ticket. `source` must not be changed before its
    /// completion; it may be dropped, but not transferred. `descriptor` must stay open until then. Throws when
    /// maxInFlight() writes are in flight, and for good once the kernel refused a submission.
    ///
    /// `separateSync`, for io_uring: write and sync are two requests of one submission, the second linked behind the
    /// first, instead of one with both. For a direct write to a device that needs a flush after it: the kernel ends such
    /// a request on a thread of the processor that the device interrupts, after whatever runs there. A write that was
    /// taken in part is durable only with its rest then.
    #[napi]
    pub fn write(
        &self,
        env: Env,
        descriptor: i32,
        #[napi(ts_arg_type = "Uint8Array")] source: Unknown,
        position: f64,
        separate_sync: bool,
    ) -> Result<u32> {
        let engine = self.slot.get();
        if engine.is_null() {
            return Err(Error::new(Status::Closing, "the writer is closed"));
        }
        let (bytes, length) = typed_array(env.raw(), source.raw(), sys::TypedarrayType::uint8_array)?;
        if length > MAX_WRITE_BYTES {
            return Err(Error::new(Status::InvalidArg, "the write is too large"));
        }
        if !(0.0..=MAX_POSITION).contains(&position) || position.fract() != 0.0 {
            return Err(Error::new(Status::InvalidArg, "the position is not a byte of a file"));
        }
        let request = Request {
            ticket: 0,
            file: descriptor,
            bytes,
            length: length as u32,
            position: position as u64,
            separate_sync,
        };
        // SAFETY: the engine is open (its slot is set), and `source` owns `bytes`.
        unsafe { (*engine).write(source.raw(), request) }.map_err(io_error)
    }

    /// Makes a file of `sizeBytes` zeros, a multiple of 4096, first under a temporary name; returns a ticket. The result is
    /// a descriptor for direct writes, with zeros and name durable, or a negative errno and nothing left behind: -EINVAL
    /// where the file system has no direct I/O. Only where `ioUring` is false: the thread waits for the disk.
    #[napi]
    pub fn create_zeroed(
        &self,
        directory: String,
        temporary_name: String,
        name: String,
        size_bytes: f64,
    ) -> Result<u32> {
        let engine = self.slot.get();
        if engine.is_null() {
            return Err(Error::new(Status::Closing, "the writer is closed"));
        }
        let file = ZeroedFile { directory: directory.into(), temporary_name, name, size: size_bytes as u64 };
        // SAFETY: open, and JavaScript runs on the engine's thread.
        unsafe { (*engine).create(file) }.map_err(io_error)
    }

    /// For writes that have been in flight for suspiciously long: a sync of its own that the kernel has not begun, for want
    /// of a thread, is taken back, and its write repeated with `RWF_DSYNC`. All complete as they would have.
    #[napi]
    pub fn take_back_syncs(&self) -> Result<()> {
        let engine = self.slot.get();
        if engine.is_null() {
            return Ok(());
        }
        // SAFETY: open, and JavaScript runs on the engine's thread.
        unsafe { (*engine).take_back_syncs() }.map_err(io_error)
    }

    /// Waits for the writes in flight, without calling back, and frees everything. Idempotent.
    #[napi]
    pub fn close(&self) {
        let engine = self.slot.get();
        if !engine.is_null() {
            // SAFETY: open, and JavaScript runs on the engine's thread.
            unsafe { engine::close(engine) };
        }
    }
}

impl Drop for DurableWriter {
    fn drop(&mut self) {
        self.close();
    }
}

/// A bell on the calling thread, main thread or worker, that other threads of the process ring.
#[napi]
pub struct Doorbell {
    slot: doorbell::Slot,
}

#[napi]
impl Doorbell {
    /// `onRing()` is called soon after each `ringDoorbell(number)`, once for several that came close together. The bell does
    /// not keep the event loop alive. Throws when another bell has the number.
    #[napi(constructor)]
    pub fn new(env: Env, number: u32, #[napi(ts_arg_type = "() => void")] on_ring: Unknown) -> Result<Self> {
        // SAFETY: all values belong to this call.
        let slot = unsafe { Bell::hang(env.raw(), number, on_ring.raw()) }.map_err(io_error)?;
        Ok(Doorbell { slot })
    }

    /// `onRing` is not called any more, and the number is free. Idempotent.
    #[napi]
    pub fn close(&self) {
        let bell = self.slot.get();
        if !bell.is_null() {
            // SAFETY: it hangs, and JavaScript runs on its thread.
            unsafe { doorbell::take_down(bell) };
        }
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.close();
    }
}

/// Rings the bell of this number, whichever thread has it. Without effect where there is none (any more).
#[napi]
pub fn ring_doorbell(number: u32) {
    doorbell::ring(number);
}

/// Reads TCP sockets on the calling thread's event loop, all that are readable with one call into JavaScript. Bytes leave the
/// kernel only after that call, so that the answers written in it carry the acknowledgement.
#[napi]
pub struct SocketReader {
    slot: socket_reader::Slot,
}

#[napi]
impl SocketReader {
    /// `onReadable(count)` is called after `count` pairs of (number, result) were put into `pieces`, which holds at least 128
    /// elements. A result is the number of bytes, 0 for the end of the stream, or a negative errno; behind the last two
    /// nothing follows. The bytes lie in `bytes`, one piece behind the other, until the call returns. Neither may be
    /// transferred.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        #[napi(ts_arg_type = "(count: number) => void")] on_readable: Unknown,
        #[napi(ts_arg_type = "Uint8Array")] bytes: Unknown,
        #[napi(ts_arg_type = "Int32Array")] pieces: Unknown,
    ) -> Result<Self> {
        let (pairs, pairs_length) = typed_array(env.raw(), pieces.raw(), sys::TypedarrayType::int32_array)?;
        if pairs_length < MAX_READY * 2 {
            return Err(Error::new(Status::InvalidArg, "pieces is too short"));
        }
        let (data, length) = typed_array(env.raw(), bytes.raw(), sys::TypedarrayType::uint8_array)?;
        let values = Values { on_readable: on_readable.raw(), bytes: bytes.raw(), pieces: pieces.raw() };
        let memory = Memory { bytes: data, bytes_length: length, pieces: pairs.cast() };
        // SAFETY: all values belong to this call.
        let slot = unsafe { Reader::start(env.raw(), &values, memory) }.map_err(io_error)?;
        Ok(SocketReader { slot })
    }

    /// Takes in a socket that nobody else reads, and returns its number. It is not read before `start`, and must stay open
    /// until `remove`. Throws for one that is not TCP.
    #[napi]
    pub fn add(&self, descriptor: i32) -> Result<u32> {
        self.with(|reader| {
            let number = reader.sockets.add(descriptor)?;
            reader.keep_loop_alive();
            Ok(number)
        })
    }

    /// Reads it from now on.
    #[napi]
    pub fn start(&self, number: u32) -> Result<()> {
        self.with(|reader| reader.sockets.watch(number))
    }

    /// Reads nothing of it until `start`.
    #[napi]
    pub fn stop(&self, number: u32) -> Result<()> {
        self.with(|reader| {
            reader.sockets.ignore(number);
            Ok(())
        })
    }

    /// What has arrived behind everything that was handed over, without waiting: the number of bytes put into `target`, 0 at
    /// the end of the stream, a negative errno; null for nothing.
    #[napi]
    pub fn take(
        &self,
        env: Env,
        number: u32,
        #[napi(ts_arg_type = "Uint8Array")] target: Unknown,
    ) -> Result<Option<i32>> {
        let (data, length) = typed_array(env.raw(), target.raw(), sys::TypedarrayType::uint8_array)?;
        // SAFETY: JavaScript, which owns the memory, does not run meanwhile.
        let room = unsafe { std::slice::from_raw_parts_mut(data, length) };
        self.with(|reader| Ok(reader.sockets.take(number, room)))
    }

    /// Forgets it: somebody else may read or close it now. What was handed over is not read again.
    #[napi]
    pub fn remove(&self, number: u32) -> Result<()> {
        self.with(|reader| {
            reader.sockets.remove(number);
            reader.keep_loop_alive();
            Ok(())
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Reader) -> io::Result<T>) -> Result<T> {
        let reader = self.slot.get();
        if reader.is_null() {
            return Err(Error::new(Status::Closing, "the reader is closed"));
        }
        // SAFETY: open, JavaScript runs on its thread, and nothing here calls back into JavaScript.
        act(unsafe { &mut *reader }).map_err(io_error)
    }
}

impl Drop for SocketReader {
    fn drop(&mut self) {
        let reader = self.slot.get();
        if !reader.is_null() {
            // SAFETY: open, and JavaScript's values are finalized on the reader's thread.
            unsafe { socket_reader::close(reader) };
        }
    }
}

/// Address and length, in elements, of a typed array of this kind.
fn typed_array(
    env: sys::napi_env,
    value: sys::napi_value,
    wanted: sys::napi_typedarray_type,
) -> Result<(*mut u8, usize)> {
    let (mut kind, mut length, mut data) = (0, 0usize, null_mut());
    // SAFETY: all out parameters are valid; a value of another type is a status, not a crash.
    let status = unsafe {
        sys::napi_get_typedarray_info(env, value, &mut kind, &mut length, &mut data, null_mut(), null_mut())
    };
    if status != sys::Status::napi_ok || kind != wanted {
        return Err(Error::new(Status::InvalidArg, "expected a typed array of another kind"));
    }
    Ok((data.cast(), length))
}

fn io_error(error: io::Error) -> Error {
    Error::new(Status::GenericFailure, error.to_string())
}
