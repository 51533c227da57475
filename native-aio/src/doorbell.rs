//! Wakes another thread's event loop. A message port of Node does so too, but under a lock that the woken thread wants
//! at once: it goes back to sleep, and is woken a second time.

use crate::callback::Callback;
use crate::uv::{self, uv, AsyncHandle};
use napi::sys;
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::{LazyLock, PoisonError, RwLock};

/// The bells that hang, by number. Ringing takes the lock for reading, so that nobody who rings waits for another.
static BELLS: LazyLock<RwLock<HashMap<u32, AsyncHandle>>> = LazyLock::new(Default::default);

/// Null once the bell was taken down, by JavaScript or by the end of its environment.
pub type Slot = Rc<Cell<*mut Bell>>;

pub struct Bell {
    number: u32,
    handle: *mut uv::Handle,
    callback: Callback,
    hook: sys::napi_async_cleanup_hook_handle,
    slot: Slot,
}

impl Bell {
    /// Hangs a bell for the calling thread. It does not keep the event loop alive.
    ///
    /// # Safety
    /// `env` and `on_ring` are those of the current call from JavaScript.
    pub unsafe fn hang(env: sys::napi_env, number: u32, on_ring: sys::napi_value) -> io::Result<Slot> {
        let uv = uv().ok_or_else(|| io::Error::other("this process has no libuv"))?;
        let mut bells = BELLS.write().unwrap_or_else(PoisonError::into_inner);
        if bells.contains_key(&number) {
            return Err(io::Error::other("there is a bell of this number"));
        }
        unsafe {
            let mut event_loop = null_mut();
            sys::napi_get_uv_event_loop(env, &mut event_loop);
            let handle = libc::calloc(1, (uv.handle_size)(uv::HANDLE_ASYNC));
            let status = (uv.async_init)(event_loop.cast(), handle, on_rung);
            if status != 0 {
                libc::free(handle);
                return Err(io::Error::from_raw_os_error(-status));
            }
            (uv.unreference)(handle);
            let slot: Slot = Rc::new(Cell::new(null_mut()));
            let callback = Callback::new(env, on_ring);
            let bell = Bell { number, handle, callback, hook: null_mut(), slot: Rc::clone(&slot) };
            let bell = Box::into_raw(Box::new(bell));
            (uv.handle_set_data)(handle, bell.cast());
            sys::napi_add_async_cleanup_hook(env, Some(on_environment_end), bell.cast(), &mut (*bell).hook);
            bells.insert(number, AsyncHandle(handle));
            slot.set(bell);
            Ok(slot)
        }
    }
}

/// Wakes the thread of the bell, from any thread; nothing happens when there is none of this number. Rings that it has not
/// heard yet count as one.
pub fn ring(number: u32) {
    let bells = BELLS.read().unwrap_or_else(PoisonError::into_inner);
    if let (Some(handle), Some(uv)) = (bells.get(&number), uv()) {
        // SAFETY: it is closed only after it was removed, for which nobody may be reading.
        unsafe { handle.wake(uv) };
    }
}

/// Nobody is called any more.
///
/// # Safety
/// `bell` hangs, and this runs on its thread.
pub unsafe fn take_down(bell: *mut Bell) {
    let Some(uv) = uv() else { return };
    unsafe {
        BELLS.write().unwrap_or_else(PoisonError::into_inner).remove(&(*bell).number);
        (*bell).slot.set(null_mut());
        (*bell).callback.release();
        (uv.close)((*bell).handle, on_closed);
    }
}

extern "C" fn on_rung(handle: *mut uv::Handle) {
    let Some(uv) = uv() else { return };
    // SAFETY: libuv calls back on the bell's thread while its handle is open. JavaScript may take it down: it is not used
    // after the call.
    unsafe {
        let bell: *mut Bell = (uv.handle_get_data)(handle).cast();
        if !(*bell).slot.get().is_null() {
            let callback = (*bell).callback;
            callback.call(None);
        }
    }
}

extern "C" fn on_closed(handle: *mut uv::Handle) {
    let Some(uv) = uv() else { return };
    // SAFETY: the handle is closed: nothing refers to the bell any more.
    unsafe {
        let bell = Box::from_raw((uv.handle_get_data)(handle).cast::<Bell>());
        libc::free(handle);
        sys::napi_remove_async_cleanup_hook(bell.hook);
    }
}

/// The environment (a worker, or the process) ends while the bell hangs.
extern "C" fn on_environment_end(_hook: sys::napi_async_cleanup_hook_handle, bell: *mut c_void) {
    let bell: *mut Bell = bell.cast();
    // SAFETY: the hook is removed when the bell is freed, so it is alive here.
    unsafe {
        if !(*bell).slot.get().is_null() {
            take_down(bell);
        }
    }
}
