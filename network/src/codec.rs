//! Frames on a stream: an unsigned varint length of at most four bytes, then as many bytes.
//!
//! A frame that is too long is a value here and not an I/O error, so that whoever awaits it learns
//! both sides of the inequality, and whom to blame.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};
use thiserror::Error;

use crate::{
    metrics::KindMetrics,
    request::Kind,
    wire::{ANSWER_OVERHEAD_BYTES, WireError},
};

/// Bytes of the longest length: 28 bits, above every limit.
const MAX_LENGTH_BYTES: usize = 4;
/// What is allocated ahead of the bytes' arrival; more only follows what has come.
const ALLOCATED_AHEAD_BYTES: usize = 16 << 10;

/// A frame that could not be read. The sender is at fault, except that a stream also ends early
/// when a connection breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Announced longer than its protocol allows.
    #[error("a frame of {got} bytes, allowed are {limit}")]
    Oversize {
        /// Most bytes of this protocol's frames.
        limit: usize,
        /// Announced bytes.
        got: usize,
    },
    /// A length that does not end within four bytes.
    #[error("a frame's length does not end within {MAX_LENGTH_BYTES} bytes")]
    Length,
    /// The stream ended within the frame.
    #[error("the stream ended after {got} of {expected} bytes")]
    Truncated {
        /// Announced bytes, 0 when the length itself is missing.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The frame holds no message of its protocol.
    #[error(transparent)]
    Message(#[from] WireError),
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A frame's bytes, or why it has none.
pub(crate) type Frame = Result<Bytes, FrameError>;

/// Reads and writes the frames of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Codec {
    kind: Kind,
    metrics: KindMetrics,
}

impl Codec {
    pub(crate) const fn new(kind: Kind, metrics: KindMetrics) -> Self {
        Self { kind, metrics }
    }

    async fn read<T: AsyncRead + Unpin + Send>(&self, io: &mut T, limit: usize) -> io::Result<Frame> {
        let frame = read_frame(io, limit).await?;
        if let Ok(bytes) = &frame {
            self.metrics.read_bytes.inc_by(bytes.len() as u64);
        }
        Ok(frame)
    }

    async fn write<T: AsyncWrite + Unpin + Send>(&self, io: &mut T, frame: Frame) -> io::Result<()> {
        let bytes = frame?;
        write_frame(io, &bytes).await?;
        self.metrics.written_bytes.inc_by(bytes.len() as u64);
        Ok(())
    }
}

#[async_trait]
impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Frame;
    type Response = Frame;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read(io, self.kind.max_request_bytes()).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        let limit = self.kind.max_answer_bytes() + ANSWER_OVERHEAD_BYTES;
        self.read(io, limit).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, frame).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, frame: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write(io, frame).await
    }
}

pub(crate) async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T, limit: usize) -> io::Result<Frame> {
    let mut expected = 0usize;
    let mut shift = 0;
    loop {
        if shift == 7 * MAX_LENGTH_BYTES {
            return Ok(Err(FrameError::Length));
        }
        let mut byte = [0u8];
        if io.read(&mut byte).await? == 0 {
            return Ok(Err(FrameError::Truncated { expected: 0, got: shift / 7 }));
        }
        let [byte] = byte;
        expected |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            break;
        }
    }
    if expected > limit {
        return Ok(Err(FrameError::Oversize { limit, got: expected }));
    }
    let mut bytes = Vec::with_capacity(expected.min(ALLOCATED_AHEAD_BYTES));
    let got = io.take(expected as u64).read_to_end(&mut bytes).await?;
    if got < expected {
        return Ok(Err(FrameError::Truncated { expected, got }));
    }
    Ok(Ok(bytes.into()))
}

pub(crate) async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, bytes: &[u8]) -> io::Result<()> {
    let mut frame = Vec::with_capacity(MAX_LENGTH_BYTES + bytes.len());
    let mut rest = bytes.len();
    while rest >= 0x80 {
        frame.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    frame.push(rest as u8);
    frame.extend_from_slice(bytes);
    io.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use futures::{executor::block_on, io::Cursor};

    use super::*;

    fn read(bytes: &[u8], limit: usize) -> Frame {
        block_on(read_frame(&mut Cursor::new(bytes), limit)).unwrap()
    }

    #[test]
    fn a_frame_of_every_length_is_read_back() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 3_000_000] {
            let bytes = vec![7; len];
            let mut frame = Cursor::new(Vec::new());
            block_on(write_frame(&mut frame, &bytes)).unwrap();
            assert_eq!(read(frame.get_ref(), len), Ok(bytes.into()));
        }
    }

    #[test]
    fn read_rejects_a_frame_over_its_limit_before_its_bytes_come() {
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0x7f], 64),
            Err(FrameError::Oversize { limit: 64, got: (1 << 28) - 1 })
        );
    }

    #[test]
    fn read_rejects_endless_lengths_and_truncated_frames() {
        assert_eq!(read(&[0x80; 9], 64), Err(FrameError::Length));
        assert_eq!(read(&[], 64), Err(FrameError::Truncated { expected: 0, got: 0 }));
        assert_eq!(read(&[5, 1, 2], 64), Err(FrameError::Truncated { expected: 5, got: 2 }));
    }
}
