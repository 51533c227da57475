//! Durable writes for Node.js: direct I/O with the sync in the same request, on io_uring where the kernel allows
//! it, on one thread of our own where it does not. See README.md.

mod arena;
mod engine;
mod request;
mod ring;
#[cfg(test)]
mod testing;
mod uv;
mod writer_thread;

use arena::Arena;
use engine::{Callbacks, Engine, Slot, MAX_IN_FLIGHT};
use napi::bindgen_prelude::{Env, Error, JsValue, Result, Status, Unknown};
use napi::sys;
use napi_derive::napi;
use std::ffi::{c_void, CString};
use std::io;
use std::ptr::null_mut;

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

/// Opens an existing file for durable writes and returns its descriptor. `direct` bypasses the page cache; then
/// memory, length and position of every write must be multiples of 4096.
#[napi]
pub fn open_file(path: String, direct: bool) -> Result<i32> {
    let path = CString::new(path).map_err(|_| Error::new(Status::InvalidArg, "the path holds a NUL"))?;
    let flags = libc::O_WRONLY | libc::O_CLOEXEC | if direct { libc::O_DIRECT } else { 0 };
    // SAFETY: a plain system call on a NUL-terminated path.
    match unsafe { libc::open(path.as_ptr(), flags) } {
        descriptor if descriptor >= 0 => Ok(descriptor),
        _ => Err(io_error(io::Error::last_os_error())),
    }
}

/// Closes a descriptor of `openFile`. No write to it may be in flight.
#[napi]
pub fn close_file(descriptor: i32) -> Result<()> {
    // SAFETY: the descriptor came from `open_file`.
    match unsafe { libc::close(descriptor) } {
        0 => Ok(()),
        _ => Err(io_error(io::Error::last_os_error())),
    }
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
    /// 2 * maxInFlight() elements. Throws where io_uring is asked for and not available.
    #[napi(constructor)]
    pub fn new(
        env: Env,
        io_uring: bool,
        #[napi(ts_arg_type = "(count: number) => void")] on_completions: Unknown,
        #[napi(ts_arg_type = "Int32Array")] completions: Unknown,
    ) -> Result<Self> {
        let (data, length) = typed_array(env.raw(), completions.raw())?;
        if length < MAX_IN_FLIGHT as usize * 8 {
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
    /// completion; it may be dropped.
    #[napi]
    pub fn write(
        &self,
        env: Env,
        descriptor: i32,
        #[napi(ts_arg_type = "Uint8Array")] source: Unknown,
        position: f64,
    ) -> Result<u32> {
        let engine = self.slot.get();
        if engine.is_null() {
            return Err(Error::new(Status::Closing, "the writer is closed"));
        }
        let (bytes, length) = typed_array(env.raw(), source.raw())?;
        // SAFETY: the engine is open (its slot is set), and `source` owns `bytes`.
        let started =
            unsafe { (*engine).write(descriptor, source.raw(), bytes, length as u32, position as u64) };
        started.map_err(io_error)
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

/// Address and byte length of a typed array.
fn typed_array(env: sys::napi_env, value: sys::napi_value) -> Result<(*mut u8, usize)> {
    let (mut kind, mut length, mut data) = (0, 0usize, null_mut());
    // SAFETY: all out parameters are valid; a value of another type is a status, not a crash.
    let status = unsafe {
        sys::napi_get_typedarray_info(env, value, &mut kind, &mut length, &mut data, null_mut(), null_mut())
    };
    if status != sys::Status::napi_ok {
        return Err(Error::new(Status::InvalidArg, "expected a typed array"));
    }
    let element_size = match kind {
        sys::TypedarrayType::int32_array => 4,
        sys::TypedarrayType::uint8_array => 1,
        _ => return Err(Error::new(Status::InvalidArg, "expected an Int32Array or Uint8Array")),
    };
    Ok((data.cast(), length * element_size))
}

fn io_error(error: io::Error) -> Error {
    Error::new(Status::GenericFailure, error.to_string())
}
