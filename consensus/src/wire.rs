//! Bounded reading and writing of the engine's messages.
//!
//! Integers are big endian, byte strings carry a `u32` length, options and enums a tag byte. A
//! reader checks every length against a limit and against what is left before it takes or
//! allocates anything, slices instead of copying, and refuses trailing bytes: for every value there
//! is exactly one encoding.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why bytes were not accepted. The sender is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends early.
    #[error("truncated: {needed} bytes needed, {left} left")]
    Truncated {
        /// Bytes the next item takes.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A string or list exceeds its limit.
    #[error("too long: {got}, at most {limit}")]
    TooLong {
        /// The most there may be.
        limit: usize,
        /// What is announced or present.
        got: usize,
    },
    /// A tag byte without a meaning.
    #[error("unknown tag {0}")]
    Tag(u8),
    /// Bytes after the end of the value.
    #[error("{0} trailing bytes")]
    Trailing(usize),
    /// Not to be sent: what a remote signer did not sign.
    #[error("without a signature")]
    Unsigned,
    /// A field outside its domain.
    #[error("invalid {0}")]
    Invalid(&'static str),
}

/// A value with one encoding.
pub(crate) trait Wire: Sized {
    /// Appends the encoding.
    fn write(&self, out: &mut BytesMut);
    /// Takes one value off the front.
    fn read(input: &mut Reader) -> Result<Self, DecodeError>;

    /// Whether nothing is missing that peers need, such as a signature that there is not.
    fn is_complete(&self) -> bool {
        true
    }

    /// The whole encoding.
    fn to_wire(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.write(&mut out);
        out.freeze()
    }

    /// Reads a value that takes up all of `bytes`.
    fn from_wire(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader(bytes);
        let value = Self::read(&mut input)?;
        match input.0.len() {
            0 => Ok(value),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

/// What is left of the input.
pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    fn need(&self, needed: usize) -> Result<(), DecodeError> {
        let left = self.0.len();
        if left < needed { Err(DecodeError::Truncated { needed, left }) } else { Ok(()) }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.need(8)?;
        Ok(self.0.get_u64())
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.need(8)?;
        Ok(self.0.get_i64())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.need(N)?;
        let mut out = [0; N];
        self.0.copy_to_slice(&mut out);
        Ok(out)
    }

    fn len(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let got = self.u32()? as usize;
        if got > limit { Err(DecodeError::TooLong { limit, got }) } else { Ok(got) }
    }

    pub(crate) fn bytes(&mut self, limit: usize) -> Result<Bytes, DecodeError> {
        let len = self.len(limit)?;
        self.need(len)?;
        Ok(self.0.split_to(len))
    }

    pub(crate) fn list<T: Wire>(&mut self, limit: usize) -> Result<Vec<T>, DecodeError> {
        let len = self.len(limit)?;
        // Every element takes at least a byte, so `len` is also bounded by what is there.
        self.need(len)?;
        (0..len).map(|_| T::read(self)).collect()
    }

    pub(crate) fn option<T: Wire>(&mut self) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => T::read(self).map(Some),
            tag => Err(DecodeError::Tag(tag)),
        }
    }
}

pub(crate) fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(bytes.len() as u32);
    out.put_slice(bytes);
}

pub(crate) fn put_list<T: Wire>(out: &mut BytesMut, list: &[T]) {
    out.put_u32(list.len() as u32);
    list.iter().for_each(|item| item.write(out));
}

pub(crate) fn put_option<T: Wire>(out: &mut BytesMut, option: Option<&T>) {
    out.put_u8(u8::from(option.is_some()));
    if let Some(value) = option {
        value.write(out);
    }
}
