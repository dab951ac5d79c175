//! The HTTP server, on threads of its own.
//!
//! The threads of consensus and of the networks hash, verify and copy; whoever asks for a price would wait for the
//! scheduler to take one of them away from that. Threads that do little but answer have used less than their share,
//! and run as soon as a request wakes them, the more so as all others stand back a little. Checking a submission is
//! work, too: the threads that do it stand back as far as those for squares.
//!
//! Invariant: once [`Server::join`] returns, nothing of the server holds the node any more, unless it took longer to
//! end than [`END_LIMIT`].

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::Router;
use tokio::{net::TcpListener, runtime, sync::oneshot, task};

use crate::heavy::{STANDS_BACK, stand_back};

/// One answers while another reads from the disk, or decodes a submission of many megabytes.
const WORKERS: usize = 2;

/// How long work that a request began may go on after the server was told to end.
const END_LIMIT: Duration = Duration::from_secs(2);

/// A running server. It ends at once when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    thread: thread::JoinHandle<()>,
    running: oneshot::Sender<()>,
}

impl Server {
    /// Starts to serve `app`, until `stop` resolves and what was asked by then is answered. Beside the server, what
    /// resolves when it ended.
    pub(crate) fn start(
        listener: TcpListener,
        app: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<(Self, impl Future<Output = Result<()>>)> {
        let listener = listener.into_std()?;
        let started = AtomicUsize::new(0);
        let threads = runtime::Builder::new_multi_thread()
            .thread_name("http")
            .worker_threads(WORKERS)
            .on_thread_start(move || {
                // The workers start with the runtime, those for what blocks when there is such work.
                if started.fetch_add(1, Ordering::Relaxed) >= WORKERS {
                    stand_back(STANDS_BACK);
                }
            })
            .enable_all()
            .build()?;
        let (running, dropped) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let serve = async move {
            let listener = TcpListener::from_std(listener)?;
            let app = app.into_make_service_with_connect_info::<SocketAddr>();
            axum::serve(listener, app).with_graceful_shutdown(stop).await
        };
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            let ended = threads.block_on(async {
                tokio::select! {
                    ended = serve => ended,
                    _ = dropped => Ok(()),
                }
            });
            threads.shutdown_timeout(END_LIMIT);
            // Nobody may be there to hear it.
            let _ = tell.send(ended);
        })?;
        let ended =
            async { told.await.context("the HTTP server panicked")?.context("the HTTP server failed") };
        Ok((Self { thread, running }, ended))
    }

    /// Ends the server and waits until it has.
    pub(crate) async fn join(self) {
        let Self { thread, running } = self;
        drop(running);
        // A panic was told to whoever waits for the end.
        let _ = task::spawn_blocking(|| thread.join()).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use axum::{Json, routing::get};

    use super::*;

    /// How far the calling thread stands back.
    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn it_answers_on_own_threads_of_which_those_that_work_stand_back_and_ends_when_told_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = || async {
            let name = thread::current().name().map(str::to_owned);
            Json((name, niceness(), task::spawn_blocking(niceness).await.unwrap()))
        };
        let (told, stop) = oneshot::channel::<()>();
        let stop = async move { drop(stop.await) };
        let app = Router::new().route("/", get(seen)).route("/never", get(std::future::pending::<()>));
        let (server, ended) = Server::start(listener, app, stop).unwrap();
        let answer = reqwest::get(&url).await.unwrap().json::<(String, i32, i32)>().await.unwrap();
        assert_eq!(answer, ("http".into(), niceness(), niceness().max(STANDS_BACK)));

        let never = tokio::spawn(reqwest::get(format!("{url}/never")));
        reqwest::get(&url).await.unwrap();
        drop(told);
        // What is being answered keeps it from ending by itself.
        server.join().await;
        ended.await.unwrap();
        assert!(never.await.unwrap().is_err());
    }
}
