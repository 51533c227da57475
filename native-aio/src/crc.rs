//! The checksum of the log: CRC-32 with polynomial 0x04C11DB7, most significant bit first, initial value 0, no final
//! inversion. src/storage/crc.ts has the same in JavaScript.

const POLYNOMIAL: u32 = 0x04c1_1db7;

/// Row k, entry b: the checksum of byte b followed by k zero bytes.
static TABLES: [[u32; 256]; 16] = tables();

const fn tables() -> [[u32; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut value = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            value = times_x(value);
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut row = 1;
    while row < 16 {
        let mut byte = 0;
        while byte < 256 {
            let value = tables[row - 1][byte];
            tables[row][byte] = (value << 8) ^ tables[0][(value >> 24) as usize];
            byte += 1;
        }
        row += 1;
    }
    tables
}

const fn times_x(value: u32) -> u32 {
    (value << 1) ^ if value >> 31 == 1 { POLYNOMIAL } else { 0 }
}

/// The checksum of `bytes`, continuing from `previous`, which is 0 at the start.
pub fn crc(bytes: &[u8], previous: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if bytes.len() >= 128 && is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has both.
        return unsafe { folding::crc(bytes, previous) };
    }
    by_table(bytes, previous)
}

/// Sixteen bytes a step.
fn by_table(bytes: &[u8], previous: u32) -> u32 {
    let mut value = previous;
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        let mut next = 0;
        for (at, &byte) in chunk.iter().enumerate() {
            let before = if at < 4 { (value >> (24 - 8 * at)) as u8 } else { 0 };
            next ^= TABLES[15 - at][usize::from(byte ^ before)];
        }
        value = next;
    }
    for &byte in chunks.remainder() {
        value = (value << 8) ^ TABLES[0][usize::from((value >> 24) as u8 ^ byte)];
    }
    value
}

/// By carry-less multiplication: 64 bytes are folded into those behind them without changing the remainder, until
/// sixteen are left ("Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009).
#[cfg(target_arch = "x86_64")]
mod folding {
    use super::{by_table, times_x};
    use std::arch::x86_64::*;

    /// x^bits modulo the polynomial, for the upper and the lower half of a block that moves on by `distance` bits.
    const fn constants(distance: u32) -> (i64, i64) {
        (power(distance + 64) as i64, power(distance) as i64)
    }

    const fn power(bits: u32) -> u32 {
        let mut value = 1;
        let mut bit = 0;
        while bit < bits {
            value = times_x(value);
            bit += 1;
        }
        value
    }

    const BY_FOUR: (i64, i64) = constants(512);
    const BY_ONE: (i64, i64) = constants(128);

    #[target_feature(enable = "pclmulqdq,ssse3")]
    unsafe fn load(bytes: &[u8], at: usize) -> __m128i {
        let reverse = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        debug_assert!(at + 16 <= bytes.len());
        // SAFETY: within the slice; the load may be unaligned.
        _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().add(at).cast()) }, reverse)
    }

    #[target_feature(enable = "pclmulqdq,ssse3")]
    unsafe fn fold(block: __m128i, by: __m128i, onto: __m128i) -> __m128i {
        let upper = _mm_clmulepi64_si128(block, by, 0x11);
        let lower = _mm_clmulepi64_si128(block, by, 0x00);
        _mm_xor_si128(_mm_xor_si128(upper, lower), onto)
    }

    /// `bytes` are 64 or more.
    #[target_feature(enable = "pclmulqdq,ssse3")]
    pub unsafe fn crc(bytes: &[u8], previous: u32) -> u32 {
        assert!(bytes.len() >= 64);
        // SAFETY: every load is within `bytes`: the loops count the bytes that are left.
        unsafe {
            let by_four = _mm_set_epi64x(BY_FOUR.0, BY_FOUR.1);
            let by_one = _mm_set_epi64x(BY_ONE.0, BY_ONE.1);
            let mut blocks = [load(bytes, 0), load(bytes, 16), load(bytes, 32), load(bytes, 48)];
            // A checksum to go on from is the same as bytes that differ by it.
            blocks[0] = _mm_xor_si128(blocks[0], _mm_set_epi32(previous as i32, 0, 0, 0));
            let mut at = 64;
            while bytes.len() - at >= 64 {
                for (number, block) in blocks.iter_mut().enumerate() {
                    *block = fold(*block, by_four, load(bytes, at + 16 * number));
                }
                at += 64;
            }
            let mut block = blocks[0];
            for &next in &blocks[1..] {
                block = fold(block, by_one, next);
            }
            while bytes.len() - at >= 16 {
                block = fold(block, by_one, load(bytes, at));
                at += 16;
            }
            let mut folded = [0u8; 16];
            _mm_storeu_si128(folded.as_mut_ptr().cast(), block);
            folded.reverse();
            by_table(&bytes[at..], by_table(&folded, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bit_by_bit(bytes: &[u8], previous: u32) -> u32 {
        bytes.iter().fold(previous, |value, &byte| {
            (0..8).fold(value ^ u32::from(byte) << 24, |value, _| times_x(value))
        })
    }

    #[test]
    fn the_check_value_is_that_of_the_log() {
        assert_eq!(crc(b"123456789", 0), 0x89a1_897f);
    }

    #[test]
    fn every_length_gives_what_the_definition_says() {
        let bytes: Vec<u8> = (0..5000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
        for length in (0..400).chain([4095, 4096, 4097, 5000]) {
            for (start, previous) in [(0, 0), (3, 0x89a1_897f), (0, u32::MAX)] {
                let part = &bytes[start.min(length)..length];
                let wanted = bit_by_bit(part, previous);
                assert_eq!(crc(part, previous), wanted, "{length} bytes from {start}");
                assert_eq!(by_table(part, previous), wanted, "{length} bytes from {start}, by table");
            }
        }
    }

    #[test]
    fn a_checksum_goes_on_where_another_ended() {
        let bytes: Vec<u8> = (0..1000u32).map(|at| at as u8).collect();
        for cut in [0, 1, 17, 200, 999, 1000] {
            assert_eq!(crc(&bytes[cut..], crc(&bytes[..cut], 0)), crc(&bytes, 0));
        }
    }
}
