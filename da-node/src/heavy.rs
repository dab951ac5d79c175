//! Building and checking squares, on one thread that stands back behind those that answer requests.
//!
//! Squares take all cores for a moment every block; whoever asks for a price meanwhile need not wait for that. One
//! thread, because they share one committer; of its own, because a thread cannot take its precedence back.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread,
};

use tokio::sync::oneshot;

/// How far heavy work stands back, in steps of niceness: a request goes first, and on cores that requests keep busy
/// the work still gets a third of its share, so that votes are in time.
pub(crate) const STANDS_BACK: i32 = 5;

type Job = Box<dyn FnOnce() + Send>;

/// Lets the calling thread stand back so far, for as long as it lives.
pub(crate) fn stand_back(niceness: i32) {
    let now = rustix::process::getpriority_process(None).unwrap_or(0);
    // The system may refuse; then nothing is lost but the precedence of others.
    let _ = rustix::process::setpriority_process(None, now.max(niceness));
}

/// The thread; it ends with this value.
#[derive(Debug)]
pub(crate) struct Heavy(mpsc::Sender<Job>);

impl Heavy {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel::<Job>();
        thread::Builder::new().name("squares".into()).spawn(move || {
            stand_back(STANDS_BACK);
            for job in jobs {
                // Whoever waits for a job that panicked is told by its channel.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        })?;
        Ok(Self(queue))
    }

    /// Runs `work` when it is its turn; `None` if it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        // Nobody may wait any more.
        self.queue(move || drop(done.send(work())));
        result.await.ok()
    }

    /// Runs `work` when it is its turn, for nobody who waits.
    pub(crate) fn queue(&self, work: impl FnOnce() + Send + 'static) {
        // The thread takes jobs for as long as this value lives.
        let _ = self.0.send(Box::new(work));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_and_the_next_work_runs() {
        let heavy = Heavy::start().unwrap();
        assert_eq!(heavy.run(|| -> u32 { panic!("of the test") }).await, None);
        assert_eq!(heavy.run(|| 7).await, Some(7));
    }
}
