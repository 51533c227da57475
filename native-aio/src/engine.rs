//! Joins a back end to Node's event loop: completions arrive as one JavaScript call per wake-up, the loop stays
//! alive while, and only while, writes are in flight, and nothing the kernel still reads is ever freed.

use crate::callback::{reference, Callback};
use crate::request::{Completion, Request};
use crate::ring::Ring;
use crate::uv::{self, uv, AsyncHandle, Uv};
use crate::writer_thread::{Job, WriterThread};
use crate::zeroed_file::ZeroedFile;
use napi::sys;
use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::null_mut;
use std::rc::Rc;

/// Writes that may be in flight at once. The log keeps one per file; the rest is room.
pub const MAX_IN_FLIGHT: u32 = 128;

enum Backend {
    Ring(Box<Ring>),
    Thread(WriterThread),
}

/// Null once the engine was closed, by JavaScript or by the end of its environment.
pub type Slot = Rc<Cell<*mut Engine>>;

pub struct Engine {
    env: sys::napi_env,
    backend: Backend,
    handle: *mut uv::Handle,
    on_completions: Callback,
    /// Pairs of ticket and result, in an Int32Array of the caller.
    completions: *mut i32,
    completions_reference: sys::napi_ref,
    /// By ticket: keeps the bytes of a write in flight alive.
    pinned: Vec<sys::napi_ref>,
    free_tickets: Vec<u32>,
    hook: sys::napi_async_cleanup_hook_handle,
    slot: Slot,
}

/// The JavaScript values that an engine needs, as they came in.
pub struct Callbacks {
    pub on_completions: sys::napi_value,
    pub completions: sys::napi_value,
    /// Start of the Int32Array's memory: at least 2 * MAX_IN_FLIGHT elements.
    pub completions_data: *mut i32,
}

impl Engine {
    /// # Safety
    /// `env` and `callbacks` are those of the current call from JavaScript.
    pub unsafe fn start(env: sys::napi_env, ring: bool, callbacks: &Callbacks) -> io::Result<Slot> {
        let uv = uv().ok_or_else(|| io::Error::other("this process has no libuv"))?;
        let kind = if ring { uv::HANDLE_POLL } else { uv::HANDLE_ASYNC };
        unsafe {
            let mut event_loop = null_mut();
            sys::napi_get_uv_event_loop(env, &mut event_loop);
            let handle = libc::calloc(1, (uv.handle_size)(kind));
            let opened = open_backend(uv, event_loop.cast(), handle, ring);
            let backend = match opened {
                Ok(backend) => backend,
                Err(error) => {
                    libc::free(handle);
                    return Err(error);
                }
            };
            let slot: Slot = Rc::new(Cell::new(null_mut()));
            let engine = Box::into_raw(Box::new(Engine {
                env,
                backend,
                handle,
                on_completions: Callback::new(env, callbacks.on_completions),
                completions: callbacks.completions_data,
                completions_reference: reference(env, callbacks.completions),
                pinned: vec![null_mut(); MAX_IN_FLIGHT as usize],
                free_tickets: (0..MAX_IN_FLIGHT).rev().collect(),
                hook: null_mut(),
                slot: Rc::clone(&slot),
            }));
            (uv.handle_set_data)(handle, engine.cast());
            (uv.unreference)(handle);
            sys::napi_add_async_cleanup_hook(
                env,
                Some(on_environment_end),
                engine.cast(),
                &mut (*engine).hook,
            );
            slot.set(engine);
            Ok(slot)
        }
    }

    fn in_flight(&self) -> usize {
        MAX_IN_FLIGHT as usize - self.free_tickets.len()
    }

    /// Starts one write; its ticket comes back with the completion. `source` is kept alive until then.
    ///
    /// # Safety
    /// `source` is the JavaScript value that owns the bytes of `request`, whose ticket is given here.
    pub unsafe fn write(&mut self, source: sys::napi_value, request: Request) -> io::Result<u32> {
        let Some(ticket) = self.free_tickets.pop() else {
            return Err(io::Error::other("too many writes in flight"));
        };
        let request = Request { ticket, ..request };
        let submitted = match &mut self.backend {
            // SAFETY: pinned below, before anything can run that would free the bytes.
            Backend::Ring(ring) => unsafe { ring.submit(&request) },
            Backend::Thread(thread) => {
                unsafe { thread.submit(Job::Write(request)) };
                Ok(())
            }
        };
        if let Err(error) = submitted {
            self.free_tickets.push(ticket);
            return Err(error);
        }
        self.pinned[ticket as usize] = unsafe { reference(self.env, source) };
        self.keep_loop_alive();
        Ok(ticket)
    }

    /// Has the thread make a file; its descriptor comes as the result of the ticket.
    pub fn create(&mut self, file: ZeroedFile) -> io::Result<u32> {
        let Backend::Thread(thread) = &mut self.backend else {
            return Err(io::Error::other("files are made by the thread"));
        };
        let Some(ticket) = self.free_tickets.pop() else {
            return Err(io::Error::other("too many writes in flight"));
        };
        // SAFETY: no bytes of others.
        unsafe { thread.submit(Job::Create(ticket, file)) };
        self.keep_loop_alive();
        Ok(ticket)
    }

    /// From the first thing in flight on.
    fn keep_loop_alive(&mut self) {
        if self.in_flight() == 1 {
            if let Some(uv) = uv() {
                // SAFETY: the handle is open as long as the engine is.
                unsafe { (uv.reference)(self.handle) };
            }
        }
    }

    /// See `Ring::take_back_syncs`; the thread has nothing to take back.
    pub fn take_back_syncs(&mut self) -> io::Result<()> {
        match &mut self.backend {
            Backend::Ring(ring) => ring.take_back_syncs(),
            Backend::Thread(_) => Ok(()),
        }
    }

    /// Puts what has completed into the caller's array; returns how many pairs.
    unsafe fn collect(&mut self) -> u32 {
        let mut count = 0usize;
        let (env, pairs) = (self.env, self.completions);
        let (pinned, free) = (&mut self.pinned, &mut self.free_tickets);
        let mut collect = |completion: Completion| unsafe {
            let ticket = completion.ticket as usize;
            let pin = std::mem::replace(&mut pinned[ticket], null_mut());
            if !pin.is_null() {
                sys::napi_delete_reference(env, pin);
            }
            free.push(completion.ticket);
            *pairs.add(count * 2) = completion.ticket as i32;
            *pairs.add(count * 2 + 1) = completion.result;
            count += 1;
        };
        match &mut self.backend {
            Backend::Ring(ring) => ring.drain(&mut collect),
            Backend::Thread(thread) => thread.drain(&mut collect),
        }
        if count > 0 && self.in_flight() == 0 {
            if let Some(uv) = uv() {
                unsafe { (uv.unreference)(self.handle) };
            }
        }
        count as u32
    }
}

/// Collects completions and tells JavaScript, once.
///
/// # Safety
/// `engine` is open, and this runs on its thread.
unsafe fn complete(engine: *mut Engine) {
    unsafe {
        let on_completions = (*engine).on_completions;
        let count = (*engine).collect();
        if count > 0 {
            // The engine is not used after this: JavaScript may write with it or close it.
            on_completions.call(Some(count));
        }
    }
}

/// Ends an engine: waits for the kernel to let go of the buffers, then closes the handle and frees everything.
///
/// # Safety
/// `engine` is open, and this runs on its thread.
pub unsafe fn close(engine: *mut Engine) {
    let Some(uv) = uv() else { return };
    unsafe {
        let it = &mut *engine;
        it.slot.set(null_mut());
        match &mut it.backend {
            Backend::Ring(ring) => {
                (uv.poll_stop)(it.handle);
                ring.wait_all();
            }
            Backend::Thread(thread) => thread.finish(),
        }
        for pin in it.pinned.drain(..).filter(|pin| !pin.is_null()) {
            sys::napi_delete_reference(it.env, pin);
        }
        it.on_completions.release();
        sys::napi_delete_reference(it.env, it.completions_reference);
        (uv.close)(it.handle, on_closed);
    }
}

unsafe fn open_backend(
    uv: &'static Uv,
    event_loop: *mut uv::Loop,
    handle: *mut uv::Handle,
    ring: bool,
) -> io::Result<Backend> {
    if ring {
        let ring = Ring::new(MAX_IN_FLIGHT)?;
        let status = unsafe { (uv.poll_init)(event_loop, handle, ring.descriptor()) };
        if status != 0 {
            return Err(io::Error::from_raw_os_error(-status));
        }
        unsafe { (uv.poll_start)(handle, uv::READABLE, on_readable) };
        return Ok(Backend::Ring(Box::new(ring)));
    }
    let sender = AsyncHandle(handle);
    // Before the handle is opened: an open one could not be given back at once. Nothing wakes it until then.
    let thread = WriterThread::new(move || {
        // SAFETY: the handle is open before the first write, and the thread is joined before it is closed.
        unsafe { sender.wake(uv) };
    })?;
    let status = unsafe { (uv.async_init)(event_loop, handle, on_wake) };
    if status != 0 {
        return Err(io::Error::from_raw_os_error(-status));
    }
    Ok(Backend::Thread(thread))
}

extern "C" fn on_readable(handle: *mut uv::Handle, _status: c_int, _events: c_int) {
    on_wake(handle);
}

extern "C" fn on_wake(handle: *mut uv::Handle) {
    let Some(uv) = uv() else { return };
    // SAFETY: libuv calls back on the engine's thread while its handle is open.
    unsafe {
        let engine: *mut Engine = (uv.handle_get_data)(handle).cast();
        if !(*engine).slot.get().is_null() {
            complete(engine);
        }
    }
}

extern "C" fn on_closed(handle: *mut uv::Handle) {
    let Some(uv) = uv() else { return };
    // SAFETY: the handle is closed: nothing refers to the engine any more.
    unsafe {
        let engine = Box::from_raw((uv.handle_get_data)(handle).cast::<Engine>());
        libc::free(handle);
        sys::napi_remove_async_cleanup_hook(engine.hook);
    }
}

/// The environment (a worker, or the process) ends while the engine is open.
extern "C" fn on_environment_end(_hook: sys::napi_async_cleanup_hook_handle, engine: *mut c_void) {
    let engine: *mut Engine = engine.cast();
    // SAFETY: the hook is removed when the engine is freed, so it is alive here.
    unsafe {
        if !(*engine).slot.get().is_null() {
            close(engine);
        }
    }
}
