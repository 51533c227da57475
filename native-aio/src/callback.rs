//! A function of JavaScript that is called from the event loop.

use napi::sys;
use std::ptr::{null, null_mut};

#[derive(Clone, Copy)]
pub struct Callback {
    env: sys::napi_env,
    context: sys::napi_async_context,
    function: sys::napi_ref,
}

impl Callback {
    /// # Safety
    /// `env` and `function` are those of the current call from JavaScript.
    pub unsafe fn new(env: sys::napi_env, function: sys::napi_value) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Callback { env, context: async_context(env), function: reference(env, function) } }
    }

    /// Calls it the way Node wants callbacks called: microtasks run, and an exception in it is an uncaught exception like
    /// any other. With one number, or with nothing.
    ///
    /// # Safety
    /// Not released yet, and this runs on the thread of its environment, outside of JavaScript.
    pub unsafe fn call(self, argument: Option<u32>) {
        let Callback { env, context, function } = self;
        let (mut scope, mut callee, mut value, mut receiver, mut result) =
            (null_mut(), null_mut(), null_mut(), null_mut(), null_mut());
        unsafe {
            sys::napi_open_handle_scope(env, &mut scope);
            sys::napi_get_reference_value(env, function, &mut callee);
            let arguments = match argument {
                Some(number) => {
                    sys::napi_create_uint32(env, number, &mut value);
                    &value as *const _
                }
                None => null(),
            };
            sys::napi_get_global(env, &mut receiver);
            let count = usize::from(argument.is_some());
            let status =
                sys::napi_make_callback(env, context, receiver, callee, count, arguments, &mut result);
            if status == sys::Status::napi_pending_exception {
                let mut exception = null_mut();
                sys::napi_get_and_clear_last_exception(env, &mut exception);
                sys::napi_fatal_exception(env, exception);
            }
            sys::napi_close_handle_scope(env, scope);
        }
    }

    /// # Safety
    /// Once, on the thread of its environment; it is not called any more.
    pub unsafe fn release(self) {
        unsafe {
            sys::napi_delete_reference(self.env, self.function);
            sys::napi_async_destroy(self.env, self.context);
        }
    }
}

/// Keeps a value alive until `napi_delete_reference`.
///
/// # Safety
/// `env` and `value` are those of the current call from JavaScript.
pub unsafe fn reference(env: sys::napi_env, value: sys::napi_value) -> sys::napi_ref {
    let mut result = null_mut();
    unsafe { sys::napi_create_reference(env, value, 1, &mut result) };
    result
}

unsafe fn async_context(env: sys::napi_env) -> sys::napi_async_context {
    const NAME: &str = "native-aio";
    let (mut name, mut context) = (null_mut(), null_mut());
    unsafe {
        sys::napi_create_string_utf8(env, NAME.as_ptr().cast(), NAME.len() as isize, &mut name);
        sys::napi_async_init(env, null_mut(), name, &mut context);
    }
    context
}
