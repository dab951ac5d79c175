//! Asking several peers for the same, without waiting long for one that is silent.

use std::time::Duration;

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::timeout;

/// How long a peer may be silent until the next one is asked as well: more than a question and its answer take around
/// the world.
pub(crate) const SLOW: Duration = Duration::from_millis(500);

/// The first answer that is one: `ask` is called for the first of `peers`, and for the next whenever one that was asked
/// had no answer, or nobody had one within `silence`. What was begun and is not needed any more is dropped.
pub(crate) async fn first_answer<P, T, A: Future<Output = Option<T>>>(
    silence: Duration,
    peers: impl IntoIterator<Item = P>,
    mut ask: impl FnMut(P) -> A,
) -> Option<T> {
    let mut asked = FuturesUnordered::new();
    for peer in peers {
        asked.push(ask(peer));
        if let Ok(Some(Some(answer))) = timeout(silence, asked.next()).await {
            return Some(answer);
        }
    }
    asked.filter_map(std::future::ready).next().await
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use tokio::sync::Notify;

    use super::*;

    /// What peers of these kinds come to together, and who was asked.
    async fn asked(peers: &[&'static str]) -> (Option<usize>, Vec<usize>) {
        let (order, last) = (RefCell::new(Vec::new()), Notify::new());
        let answer = first_answer(Duration::from_millis(1), peers.iter().enumerate(), |(at, peer)| {
            order.borrow_mut().push(at);
            let last = &last;
            async move {
                match *peer {
                    "silent" => pending().await,
                    "slow" => last.notified().await,
                    "without" => return None,
                    "last" => {
                        last.notify_one();
                        return None;
                    }
                    _ => {}
                }
                Some(at)
            }
        });
        (answer.await, order.take())
    }

    #[tokio::test]
    async fn the_next_is_asked_after_a_silence_or_a_no_and_nobody_is_given_up() {
        assert_eq!(asked(&["good", "good"]).await, (Some(0), vec![0]));
        assert_eq!(asked(&["without", "good", "good"]).await, (Some(1), vec![0, 1]));
        assert_eq!(asked(&["silent", "without", "good"]).await, (Some(2), vec![0, 1, 2]));
        assert_eq!(asked(&["slow", "silent", "last"]).await, (Some(0), vec![0, 1, 2]));
        assert_eq!(asked(&["without", "without"]).await, (None, vec![0, 1]));
        assert_eq!(asked(&[]).await, (None, vec![]));
    }
}
