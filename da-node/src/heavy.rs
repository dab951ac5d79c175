//! Heavy work, on threads that stand back behind those that answer requests.
//!
//! Squares take all cores for a moment every block; whoever asks for a price meanwhile need not wait for that.

use tokio::task::JoinHandle;

/// How far heavy work stands back, in steps of niceness: enough that the scheduler lets a request go first.
const STANDS_BACK: i32 = 10;

/// Runs `work` on a thread that may block.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(move || {
        // The system may refuse; then nothing is lost but the precedence of others.
        if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < STANDS_BACK) {
            let _ = rustix::process::setpriority_process(None, STANDS_BACK);
        }
        work()
    })
}
