//! The code of a line from its definition: Lagrange interpolation over GF(2^16), one symbol at a time.
//!
//! GF(2^16) is GF(2)[x] modulo x^16 + x^5 + x^3 + x^2 + 1. A symbol's bits are coordinates in the
//! Cantor basis below, low bit first. A line's k systematic symbols are the values of a polynomial of
//! degree below k at the elements numbered k to 2k - 1, its parity those at 0 to k - 1. Each 64 bytes of
//! a cell hold 32 symbols: their low bytes, then their high bytes.

use crate::oracle::Bytes;

const MODULUS: u32 = 0x1_002d;

const CANTOR_BASIS: [u16; 16] = [
    0x0001, 0xacca, 0x3c0e, 0x163e, 0xc582, 0xed2e, 0x914c, 0x4012, 0x6c98, 0x10d8, 0x6a72, 0xb900, 0xfdb8,
    0xfb34, 0xff38, 0x991e,
];

/// The element whose coordinates are the bits of `symbol`.
fn element(symbol: u16) -> u16 {
    (0..16).filter(|bit| symbol >> bit & 1 == 1).fold(0, |sum, bit| sum ^ CANTOR_BASIS[bit])
}

/// The coordinates of every element.
fn symbols() -> Vec<u16> {
    let mut symbols = vec![0; 1 << 16];
    (0..=u16::MAX).for_each(|symbol| symbols[usize::from(element(symbol))] = symbol);
    symbols
}

fn multiply(a: u16, b: u16) -> u16 {
    let (mut a, mut product) = (u32::from(a), 0);
    for bit in 0..16 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a >> 16 == 1 {
            a ^= MODULUS;
        }
    }
    product as u16
}

/// a^(2^16 - 2).
fn inverse(a: u16) -> u16 {
    let (mut square, mut power) = (a, 1);
    for _ in 1..16 {
        square = multiply(square, square);
        power = multiply(power, square);
    }
    power
}

/// `[j][i]`: what systematic symbol i contributes to parity symbol j.
fn lagrange(k: usize) -> Vec<Vec<u16>> {
    let point = |number: usize| element(number as u16);
    let weight = |j: usize, i: usize| {
        (0..k).filter(|other| *other != i).fold(1, |product, other| {
            let over = point(j) ^ point(k + other);
            multiply(product, multiply(over, inverse(point(k + i) ^ point(k + other))))
        })
    };
    (0..k).map(|j| (0..k).map(|i| weight(j, i)).collect()).collect()
}

fn to_elements(cell: &[u8]) -> Vec<u16> {
    let symbols =
        cell.chunks(64).flat_map(|chunk| (0..32).map(|i| u16::from_le_bytes([chunk[i], chunk[32 + i]])));
    symbols.map(element).collect()
}

fn to_cell(elements: &[u16], symbols: &[u16]) -> Bytes {
    let bytes = |i: usize| symbols[usize::from(elements[i])].to_le_bytes();
    let chunks = (0..elements.len() / 32)
        .flat_map(|chunk| (0..64).map(move |i| bytes(32 * chunk + i % 32)[i / 32]).collect::<Vec<_>>());
    chunks.collect()
}

/// Extends lines of one width.
pub(crate) struct Code {
    weights: Vec<Vec<u16>>,
    symbols: Vec<u16>,
}

impl Code {
    pub(crate) fn new(k: usize) -> Self {
        Self { weights: lagrange(k), symbols: symbols() }
    }

    /// A line's 2k cells from its first k.
    pub(crate) fn codeword(&self, systematic: &[Bytes]) -> Vec<Bytes> {
        let data: Vec<Vec<u16>> = systematic.iter().map(|cell| to_elements(cell)).collect();
        let parity = self.weights.iter().map(|weights| {
            let mut sum = vec![0; data[0].len()];
            for (weight, cell) in weights.iter().zip(&data) {
                sum.iter_mut().zip(cell).for_each(|(sum, element)| *sum ^= multiply(*weight, *element));
            }
            to_cell(&sum, &self.symbols)
        });
        systematic.iter().cloned().chain(parity).collect()
    }
}

#[test]
fn the_field_is_one_and_cells_are_read_as_written() {
    let symbols = symbols();
    for a in [1u16, 2, 0x8000, 0xacca, 0xffff] {
        assert_eq!(multiply(a, inverse(a)), 1);
        assert_eq!(element(symbols[usize::from(a)]), a);
    }
    let cell: Bytes = (0..512).map(|i| (i * 7 % 251) as u8).collect();
    assert_eq!(to_cell(&to_elements(&cell), &symbols), cell);
}
