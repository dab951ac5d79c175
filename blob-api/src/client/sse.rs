//! Server-sent events, as far as the API sends them (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::time::Duration;

use bytes::{Buf as _, BytesMut};

use super::{
    error::Fault,
    request::{Answer, JSON_LIMIT_BYTES, Request, send},
};

/// A server that is silent for so long is slow: it says something every second, if only that it is alive.
const SLOW_STREAM: Duration = Duration::from_secs(3);

/// A server that is silent for so long is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(25);

/// A stream is opened anew after so long.
const STREAM_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its name; empty when it has none.
    pub(super) name: String,
    /// Its data.
    pub(super) data: String,
}

/// The events of an open response.
#[derive(Debug)]
pub(super) struct Events {
    answer: Answer,
    lines: Lines,
}

impl Events {
    pub(super) async fn open(request: Request) -> Result<Self, Fault> {
        let answer = in_time(send(request.timeout(STREAM_LIMIT))).await?.silence(SLOW_STREAM);
        Ok(Self { answer, lines: Lines::default() })
    }

    /// Whoever reads on may have been away.
    pub(super) fn resumed(self) -> Self {
        Self { answer: self.answer.silence(SLOW_STREAM), ..self }
    }

    /// The next event. A connection that ended, or went silent, is a fault.
    pub(super) async fn next(&mut self) -> Result<Event, Fault> {
        loop {
            if let Some(event) = self.lines.next_event()? {
                return Ok(event);
            }
            let chunk = in_time(self.answer.chunk()).await?;
            self.lines.push(&chunk.ok_or_else(|| Fault::Passing("ended the stream".into()))?)?;
        }
    }
}

async fn in_time<T>(said: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let in_time = tokio::time::timeout(SILENCE_LIMIT, said).await;
    in_time.map_err(|_| Fault::Passing("went silent".into()))?
}

/// Splits bytes into events.
#[derive(Debug, Default)]
struct Lines {
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of a line.
    scanned: usize,
    event: Event,
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) -> Result<(), Fault> {
        let bytes = (self.buffer.len() + self.event.data.len() + chunk.len()) as u64;
        if bytes > JSON_LIMIT_BYTES {
            return Err(Fault::Passing(format!("sent an event of more than {JSON_LIMIT_BYTES} bytes")));
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn next_event(&mut self) -> Result<Option<Event>, Fault> {
        while let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(self.scanned + end);
            self.scanned = 0;
            self.buffer.advance(1);
            let line = std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(&line))
                .map_err(|error| Fault::Passing(format!("sent an event that is no text: {error}")))?;
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                _ if line.is_empty() && !self.event.data.is_empty() => {
                    return Ok(Some(std::mem::take(&mut self.event)));
                }
                _ if line.is_empty() => self.event = Event::default(),
                // Comments, ids and whatever a later server adds.
                _ => {}
            }
        }
        self.scanned = self.buffer.len();
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn events_are_the_same_wherever_the_bytes_are_cut() {
        let text = b":\n\nevent: height\r\nid: 7\ndata: {\"a\":1,\ndata:  \"b\":2}\n\nevent: lonely\n\ndata: x\n\ndata: cut";
        for cut in 0..text.len() {
            let (mut lines, mut events) = (Lines::default(), Vec::new());
            for part in [&text[..cut], &text[cut..]] {
                lines.push(part).unwrap();
                while let Some(event) = lines.next_event().unwrap() {
                    events.push((event.name, event.data));
                }
            }
            let expected = [("height", "{\"a\":1,\n \"b\":2}"), ("", "x")];
            assert_eq!(events, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; 1 << 20];
        assert!((0..64).any(|_| lines.push(&chunk).is_err()));
    }

    #[test]
    fn an_event_that_is_no_text_is_refused() {
        let mut lines = Lines::default();
        lines.push(b"data: \xff\n").unwrap();
        assert!(matches!(lines.next_event(), Err(Fault::Passing(_))));
    }
}
