//! Joins sockets to Node's event loop: one call into JavaScript for all that are readable, and the loop stays alive while there
//! are any.

use crate::callback::{reference, Callback};
use crate::sockets::{Sockets, MAX_READY};
use crate::uv::{self, uv};
use napi::sys;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::null_mut;
use std::rc::Rc;

/// Null once the reader was closed, by JavaScript or by the end of its environment.
pub type Slot = Rc<Cell<*mut Reader>>;

pub struct Reader {
    pub sockets: Sockets,
    env: sys::napi_env,
    handle: *mut uv::Handle,
    on_readable: Callback,
    memory: Memory,
    references: [sys::napi_ref; 2],
    hook: sys::napi_async_cleanup_hook_handle,
    slot: Slot,
}

/// Memory of the caller that what is found goes to.
#[derive(Clone, Copy)]
pub struct Memory {
    pub bytes: *mut u8,
    pub bytes_length: usize,
    /// Pairs of number and result: at least 2 * MAX_READY elements.
    pub pieces: *mut i32,
}

/// The JavaScript values that a reader needs, as they came in.
pub struct Values {
    pub on_readable: sys::napi_value,
    pub bytes: sys::napi_value,
    pub pieces: sys::napi_value,
}

impl Reader {
    /// # Safety
    /// `env` and `values` are those of the current call from JavaScript; `memory` is that of the values.
    pub unsafe fn start(env: sys::napi_env, values: &Values, memory: Memory) -> io::Result<Slot> {
        let uv = uv().ok_or_else(|| io::Error::other("this process has no libuv"))?;
        let sockets = Sockets::new()?;
        unsafe {
            let mut event_loop = null_mut();
            sys::napi_get_uv_event_loop(env, &mut event_loop);
            let handle = libc::calloc(1, (uv.handle_size)(uv::HANDLE_POLL));
            let status = (uv.poll_init)(event_loop.cast(), handle, sockets.descriptor());
            if status != 0 {
                libc::free(handle);
                return Err(io::Error::from_raw_os_error(-status));
            }
            (uv.poll_start)(handle, uv::READABLE, on_poll);
            (uv.unreference)(handle);
            let slot: Slot = Rc::new(Cell::new(null_mut()));
            let reader = Box::into_raw(Box::new(Reader {
                sockets,
                env,
                handle,
                on_readable: Callback::new(env, values.on_readable),
                memory,
                references: [reference(env, values.bytes), reference(env, values.pieces)],
                hook: null_mut(),
                slot: Rc::clone(&slot),
            }));
            (uv.handle_set_data)(handle, reader.cast());
            sys::napi_add_async_cleanup_hook(
                env,
                Some(on_environment_end),
                reader.cast(),
                &mut (*reader).hook,
            );
            slot.set(reader);
            Ok(slot)
        }
    }

    /// After a socket came or went.
    pub fn keep_loop_alive(&self) {
        let Some(uv) = uv() else { return };
        // SAFETY: the handle is open as long as the reader is.
        unsafe {
            if self.sockets.is_empty() {
                (uv.unreference)(self.handle);
            } else {
                (uv.reference)(self.handle);
            }
        }
    }

    fn look(&mut self) -> u32 {
        let Memory { bytes, bytes_length, pieces } = self.memory;
        let mut count = 0;
        // SAFETY: the caller's memory is kept alive by the references, and JavaScript does not run meanwhile.
        let room = unsafe { std::slice::from_raw_parts_mut(bytes, bytes_length) };
        self.sockets.look(room, |piece| {
            // SAFETY: there is room for MAX_READY pairs, and no more are found.
            unsafe {
                *pieces.add(count * 2) = piece.number as i32;
                *pieces.add(count * 2 + 1) = piece.result;
            }
            count += 1;
        });
        debug_assert!(count <= MAX_READY);
        count as u32
    }
}

extern "C" fn on_poll(handle: *mut uv::Handle, _status: c_int, _events: c_int) {
    let Some(uv) = uv() else { return };
    // SAFETY: libuv calls back on the reader's thread while its handle is open. JavaScript may close the reader: the slot, which
    // outlives it, is asked before it is used again.
    unsafe {
        let reader: *mut Reader = (uv.handle_get_data)(handle).cast();
        let slot = Rc::clone(&(*reader).slot);
        if slot.get().is_null() {
            return;
        }
        let on_readable = (*reader).on_readable;
        let count = (*reader).look();
        if count == 0 {
            return;
        }
        on_readable.call(Some(count));
        if !slot.get().is_null() {
            (*reader).sockets.discard();
        }
    }
}

/// Forgets all sockets; nobody is called any more.
///
/// # Safety
/// `reader` is open, and this runs on its thread.
pub unsafe fn close(reader: *mut Reader) {
    let Some(uv) = uv() else { return };
    unsafe {
        (*reader).slot.set(null_mut());
        (*reader).sockets.discard();
        (*reader).on_readable.release();
        for reference in (*reader).references {
            sys::napi_delete_reference((*reader).env, reference);
        }
        (uv.poll_stop)((*reader).handle);
        (uv.close)((*reader).handle, on_closed);
    }
}

extern "C" fn on_closed(handle: *mut uv::Handle) {
    let Some(uv) = uv() else { return };
    // SAFETY: the handle is closed: nothing refers to the reader any more.
    unsafe {
        let reader = Box::from_raw((uv.handle_get_data)(handle).cast::<Reader>());
        libc::free(handle);
        sys::napi_remove_async_cleanup_hook(reader.hook);
    }
}

/// The environment (a worker, or the process) ends while the reader is open.
extern "C" fn on_environment_end(_hook: sys::napi_async_cleanup_hook_handle, reader: *mut c_void) {
    let reader: *mut Reader = reader.cast();
    // SAFETY: the hook is removed when the reader is freed, so it is alive here.
    unsafe {
        if !(*reader).slot.get().is_null() {
            close(reader);
        }
    }
}
