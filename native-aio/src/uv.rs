//! The few functions of libuv that the engine needs. Node exports them; they are looked up at run time, so that
//! unit tests link without Node and a host without libuv (Deno, Bun) is told apart instead of crashing.

use std::ffi::{c_char, c_int, c_void};
use std::sync::OnceLock;

/// `uv_handle_type` of libuv 1.x.
pub const HANDLE_ASYNC: c_int = 1;
pub const HANDLE_POLL: c_int = 8;
pub const READABLE: c_int = 1;

pub type Handle = c_void;
pub type Loop = c_void;
pub type PollCallback = extern "C" fn(*mut Handle, c_int, c_int);
pub type AsyncCallback = extern "C" fn(*mut Handle);
pub type CloseCallback = extern "C" fn(*mut Handle);

pub struct Uv {
    pub handle_size: unsafe extern "C" fn(c_int) -> usize,
    pub handle_set_data: unsafe extern "C" fn(*mut Handle, *mut c_void),
    pub handle_get_data: unsafe extern "C" fn(*const Handle) -> *mut c_void,
    pub reference: unsafe extern "C" fn(*mut Handle),
    pub unreference: unsafe extern "C" fn(*mut Handle),
    pub close: unsafe extern "C" fn(*mut Handle, CloseCallback),
    pub poll_init: unsafe extern "C" fn(*mut Loop, *mut Handle, c_int) -> c_int,
    pub poll_start: unsafe extern "C" fn(*mut Handle, c_int, PollCallback) -> c_int,
    pub poll_stop: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub async_init: unsafe extern "C" fn(*mut Loop, *mut Handle, AsyncCallback) -> c_int,
    pub async_send: unsafe extern "C" fn(*mut Handle) -> c_int,
}

macro_rules! symbol {
    ($name:literal) => {{
        // SAFETY: a plain symbol look-up in the running program; the types are those of libuv 1.x.
        let address =
            unsafe { libc::dlsym(libc::RTLD_DEFAULT, concat!($name, "\0").as_ptr() as *const c_char) };
        if address.is_null() {
            return None;
        }
        // SAFETY: the symbol has this signature in every libuv 1.x.
        unsafe { std::mem::transmute::<*mut c_void, _>(address) }
    }};
}

// The type of each symbol is the field it is put into, which says more than an annotation at the cast would.
#[allow(clippy::missing_transmute_annotations)]
fn load() -> Option<Uv> {
    Some(Uv {
        handle_size: symbol!("uv_handle_size"),
        handle_set_data: symbol!("uv_handle_set_data"),
        handle_get_data: symbol!("uv_handle_get_data"),
        reference: symbol!("uv_ref"),
        unreference: symbol!("uv_unref"),
        close: symbol!("uv_close"),
        poll_init: symbol!("uv_poll_init"),
        poll_start: symbol!("uv_poll_start"),
        poll_stop: symbol!("uv_poll_stop"),
        async_init: symbol!("uv_async_init"),
        async_send: symbol!("uv_async_send"),
    })
}

/// The handle of a `uv_async_t` on other threads.
pub struct AsyncHandle(pub *mut Handle);
// SAFETY: used for uv_async_send only, which may be called from any thread while the handle is open.
unsafe impl Send for AsyncHandle {}
unsafe impl Sync for AsyncHandle {}

impl AsyncHandle {
    /// Wakes the thread that the handle belongs to.
    ///
    /// # Safety
    /// The handle is open.
    pub unsafe fn wake(&self, uv: &Uv) {
        unsafe { (uv.async_send)(self.0) };
    }
}

/// The host's libuv, or `None` when this process has none.
pub fn uv() -> Option<&'static Uv> {
    static UV: OnceLock<Option<Uv>> = OnceLock::new();
    UV.get_or_init(load).as_ref()
}
