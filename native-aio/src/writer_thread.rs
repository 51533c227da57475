//! Durable writes by one thread of our own: for hosts where io_uring is forbidden (many containers).

use crate::request::{write_durably, Completion, Request};
use crate::zeroed_file::ZeroedFile;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};

/// What the thread carries out.
pub enum Job {
    Write(Request),
    /// Completes with the descriptor.
    Create(u32, ZeroedFile),
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    done: Mutex<Vec<Done>>,
}

/// A job that was carried out. A file that nobody takes over is closed with it.
enum Done {
    Write(Completion),
    Create(u32, io::Result<OwnedFd>),
}

impl Done {
    fn completion(self) -> Completion {
        match self {
            Done::Write(completion) => completion,
            Done::Create(ticket, Ok(file)) => Completion { ticket, result: file.into_raw_fd() },
            Done::Create(ticket, Err(error)) => Completion { ticket, result: negative(&error) },
        }
    }
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closing: bool,
}

pub struct WriterThread {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl WriterThread {
    /// `wake` is called on the writer thread after each completion.
    pub fn new(wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = Builder::new().name("dqlited-log".into()).spawn(move || run(&theirs, wake))?;
        Ok(WriterThread { shared, thread: Some(thread) })
    }

    /// Queues one job; they are carried out in order.
    ///
    /// # Safety
    /// The bytes of a write must stay where they are until its completion was drained.
    pub unsafe fn submit(&mut self, job: Job) {
        lock(&self.shared.queue).jobs.push_back(job);
        self.shared.arrived.notify_one();
    }

    /// Calls `completed` for each write that is done. Never blocks for I/O.
    pub fn drain(&mut self, mut completed: impl FnMut(Completion)) {
        let done = std::mem::take(&mut *lock(&self.shared.done));
        for job in done {
            completed(job.completion());
        }
    }

    /// Carries out what is queued, then ends the thread. Files that were made and not drained are closed with `self`.
    pub fn finish(&mut self) {
        if let Some(thread) = self.thread.take() {
            lock(&self.shared.queue).closing = true;
            self.shared.arrived.notify_one();
            let _ = thread.join();
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.finish();
    }
}

/// No code panics while it holds these locks, so a poisoned one holds good data.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn run(shared: &Shared, wake: impl Fn()) {
    loop {
        let mut queue = lock(&shared.queue);
        while queue.jobs.is_empty() && !queue.closing {
            queue = shared.arrived.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        let Some(job) = queue.jobs.pop_front() else { return };
        drop(queue);
        let done = match job {
            Job::Write(request) => {
                // SAFETY: the bytes are alive until the completion (contract of `submit`).
                let result = unsafe { write_durably(&request) };
                Done::Write(Completion { ticket: request.ticket, result })
            }
            Job::Create(ticket, file) => Done::Create(ticket, file.create()),
        };
        lock(&shared.done).push(done);
        wake();
    }
}

fn negative(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::testing::{direct_file, write_request};
    use std::sync::mpsc::channel;

    #[test]
    fn writes_complete_in_order_and_are_on_disk() {
        let (sender, receiver) = channel();
        let mut writer = WriterThread::new(move || sender.send(()).unwrap()).unwrap();
        let (path, file) = direct_file("thread");
        let arena = Arena::new(4096).unwrap();
        arena.fill(3);
        for ticket in 0..4 {
            unsafe {
                writer.submit(Job::Write(write_request(&file, &arena, u64::from(ticket) * 4096, ticket)))
            };
        }
        let mut seen = Vec::new();
        while seen.len() < 4 {
            receiver.recv().unwrap();
            writer.drain(|completion| seen.push((completion.ticket, completion.result)));
        }
        assert_eq!(seen, [(0, 4096), (1, 4096), (2, 4096), (3, 4096)]);
        assert!(std::fs::read(&path).unwrap().iter().all(|&byte| byte == 3));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_nobody_takes_over_is_closed() {
        let directory = std::env::temp_dir();
        let name = format!("native-aio-{}-unclaimed", std::process::id());
        let mut writer = WriterThread::new(|| {}).unwrap();
        let file = ZeroedFile {
            directory: directory.clone(),
            temporary_name: format!("tmp-{name}"),
            name: name.clone(),
            size: 4096,
        };
        unsafe { writer.submit(Job::Create(0, file)) };
        writer.finish();
        let path = directory.join(&name);
        let is_open = || {
            let mut files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
            files.any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path))
        };
        assert!(is_open());
        drop(writer);
        assert!(!is_open());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn finish_carries_out_what_is_queued() {
        let mut writer = WriterThread::new(|| {}).unwrap();
        let (path, file) = direct_file("finish");
        let arena = Arena::new(4096).unwrap();
        for ticket in 0..16 {
            unsafe {
                writer.submit(Job::Write(write_request(&file, &arena, u64::from(ticket) * 4096, ticket)))
            };
        }
        writer.finish();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 16 * 4096);
        std::fs::remove_file(path).unwrap();
    }
}
