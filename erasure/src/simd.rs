//! What needs a processor's own instructions: the crate's only unsafe code.
//!
//! * [`Stream`] writes cells past the caches. A square is several times larger than they are; written the
//!   ordinary way, each line of cache would be read from memory first.
//! * [`Gfni`] transforms lines on 512-bit registers, on processors that have GFNI.

#![allow(unsafe_code, reason = "stores and loads of registers, and calling what runtime detection allows")]

#[cfg(target_arch = "x86_64")]
mod gfni;
#[cfg(target_arch = "x86_64")]
mod matrices;

#[cfg(target_arch = "x86_64")]
pub(crate) use gfni::Gfni;

use std::ops::{Deref, DerefMut};

use crate::{Cell, SHARE_BYTES};

/// Bytes of a line of cache.
const CACHE_LINE: usize = 64;

/// Zeroed cells that start at a line of cache, so that each is whole lines.
#[derive(Default)]
pub(crate) struct Cells {
    bytes: Vec<u8>,
    start: usize,
}

impl Cells {
    pub(crate) fn new(count: usize) -> Self {
        let bytes = vec![0; count * SHARE_BYTES + CACHE_LINE];
        let start = bytes.as_ptr().align_offset(CACHE_LINE).min(CACHE_LINE);
        Self { bytes, start }
    }
}

impl Deref for Cells {
    type Target = [Cell];

    fn deref(&self) -> &[Cell] {
        self.bytes.get(self.start..).unwrap_or_default().as_chunks().0
    }
}

impl DerefMut for Cells {
    fn deref_mut(&mut self) -> &mut [Cell] {
        self.bytes.get_mut(self.start..).unwrap_or_default().as_chunks_mut().0
    }
}

impl Clone for Cells {
    fn clone(&self) -> Self {
        let mut cells = Self::new(self.len());
        cells.copy_from_slice(self);
        cells
    }
}

impl PartialEq for Cells {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Cells {}

/// Copies cells past the caches, where that can be. What was written is in order when this is dropped.
pub(crate) struct Stream {
    #[cfg(target_arch = "x86_64")]
    avx512: bool,
}

impl Stream {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx512: is_x86_feature_detected!("avx512f"),
        }
    }

    pub(crate) fn copy(&mut self, to: &mut Cell, from: &Cell) {
        #[cfg(target_arch = "x86_64")]
        if to.as_ptr().align_offset(CACHE_LINE) == 0 {
            // SAFETY: `to` is aligned to a line of cache, and AVX-512 was detected where it is used.
            return unsafe { if self.avx512 { stream_512(to, from) } else { stream_128(to, from) } };
        }
        *to = *from;
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: SSE, which every x86-64 processor has.
        unsafe { std::arch::x86_64::_mm_sfence() };
    }
}

/// # Safety
/// `to` is aligned to a line of cache; [`Stream`] fences before anything else uses it.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn stream_512(to: &mut Cell, from: &Cell) {
    use std::arch::x86_64::{_mm512_loadu_si512, _mm512_stream_si512};
    for (to, from) in to.as_chunks_mut::<64>().0.iter_mut().zip(from.as_chunks::<64>().0) {
        // SAFETY: both are 64 bytes, and `to` lies a multiple of 64 bytes from an aligned start.
        unsafe { _mm512_stream_si512(to.as_mut_ptr().cast(), _mm512_loadu_si512(from.as_ptr().cast())) };
    }
}

/// # Safety
/// `to` is aligned to a line of cache; [`Stream`] fences before anything else uses it.
#[cfg(target_arch = "x86_64")]
unsafe fn stream_128(to: &mut Cell, from: &Cell) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_stream_si128};
    for (to, from) in to.as_chunks_mut::<16>().0.iter_mut().zip(from.as_chunks::<16>().0) {
        // SAFETY: both are 16 bytes, and `to` lies a multiple of 16 bytes from an aligned start; SSE2 is
        // what every x86-64 processor has.
        unsafe { _mm_stream_si128(to.as_mut_ptr().cast(), _mm_loadu_si128(from.as_ptr().cast())) };
    }
}

/// Asks for a cell that is needed soon.
pub(crate) fn prefetch(cell: &Cell) {
    #[cfg(target_arch = "x86_64")]
    for line in cell.as_chunks::<CACHE_LINE>().0 {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: SSE, which every x86-64 processor has; a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = cell;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn narrow_streams_copy_too() {
        let (from, mut to) = ([0x5a; SHARE_BYTES], Cells::new(1));
        let stream = Stream::new();
        // SAFETY: the cell is aligned, and the stream is dropped before it is read.
        unsafe { stream_128(&mut to[0], &from) };
        drop(stream);
        assert_eq!(to[0], from);
    }

    #[test]
    fn streamed_cells_are_copies_wherever_they_lie() {
        let mut from = Cells::new(3);
        for (i, byte) in from.as_flattened_mut().iter_mut().enumerate() {
            *byte = (i * 31 / 8) as u8;
        }
        for shift in 0..64 {
            let mut to = vec![0; 4 * SHARE_BYTES];
            let cells = &mut to[shift..].as_chunks_mut::<SHARE_BYTES>().0[..3];
            let mut stream = Stream::new();
            cells.iter_mut().zip(&*from).for_each(|(to, from)| stream.copy(to, from));
            drop(stream);
            assert!(*cells == *from, "shift {shift}");
        }
        assert!(from.clone() == from && Cells::default().is_empty());
    }
}
