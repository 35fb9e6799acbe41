//! SIMD registers, for the few loops where the compiler doesn't find them by itself.

use super::{Float, Kernel};

/// `N` numbers in a register.
pub trait Lanes<F>: Copy {
    const N: usize;

    /// Runs `kernel` compiled for the register's instructions.
    ///
    /// # Safety
    /// The processor has the register's instructions.
    unsafe fn dispatch<K: Kernel>(kernel: K) -> K::Output;

    /// # Safety
    /// The processor has the register's instructions, and `from` is good for reading `N` numbers.
    unsafe fn load(from: *const F) -> Self;

    /// # Safety
    /// The processor has the register's instructions, and `to` is good for writing `N` numbers.
    unsafe fn store(self, to: *mut F);

    /// # Safety
    /// The processor has the register's instructions.
    unsafe fn splat(value: F) -> Self;

    /// `self · a + b`, rounded once.
    ///
    /// # Safety
    /// The processor has the register's instructions.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;

    /// Of the N numbers at `from` writes those that are not zero to `values`, and to `offsets` start + step·index of each; what
    /// comes behind them there means nothing. Returns how many they are.
    ///
    /// # Safety
    /// The processor has the register's instructions, and N numbers may be read from `from` and written to both others.
    #[inline(always)]
    unsafe fn compress(from: *const F, [start, step]: [u32; 2], values: *mut F, offsets: *mut u32) -> usize
    where
        F: Float,
    {
        let mut count = 0;
        for k in 0..Self::N {
            // SAFETY: count ≤ k < N.
            unsafe {
                let value = *from.add(k);
                *values.add(count) = value;
                *offsets.add(count) = start + step * k as u32;
                count += usize::from(value != F::ZERO);
            }
        }
        count
    }

    /// Four neighbouring columns of N rows that are `stride` numbers apart.
    ///
    /// # Safety
    /// The processor has the register's instructions, and each of these numbers may be read.
    #[inline(always)]
    unsafe fn four_columns(from: *const F, stride: usize) -> [Self; 4]
    where
        F: Float,
    {
        // SAFETY: the caller's promise.
        std::array::from_fn(|c| unsafe { column(from.add(c), stride) })
    }

    /// Writes the transpose of an (N,N) block whose rows are `from_stride` and `to_stride` numbers apart.
    ///
    /// # Safety
    /// The processor has the register's instructions, and both blocks are inside memory that may be read and written.
    #[inline(always)]
    unsafe fn transpose(from: *const F, from_stride: usize, to: *mut F, to_stride: usize) {
        for r in 0..Self::N {
            for c in 0..Self::N {
                // SAFETY: inside the blocks.
                unsafe { to.add(c * to_stride + r).copy_from(from.add(r * from_stride + c), 1) };
            }
        }
    }
}

/// The most numbers in a register.
const MOST: usize = 16;

/// A column of N rows that are `stride` numbers apart.
///
/// # Safety
/// The processor has the register's instructions, and each of these numbers may be read.
#[inline(always)]
pub(super) unsafe fn column<F: Float, V: Lanes<F>>(from: *const F, stride: usize) -> V {
    let mut numbers = [F::ZERO; MOST];
    for (r, number) in numbers[..V::N].iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *number = unsafe { *from.add(r * stride) };
    }
    // SAFETY: no register holds more than `MOST`.
    unsafe { V::load(numbers.as_ptr()) }
}

/// Lanes for any machine; on aarch64 the compiler makes NEON registers of them.
impl<F: Float> Lanes<F> for [F; 8] {
    const N: usize = 8;

    unsafe fn dispatch<K: Kernel>(kernel: K) -> K::Output {
        kernel.run()
    }

    #[inline(always)]
    unsafe fn load(from: *const F) -> Self {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<Self>().read() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut F) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<Self>().write(self) }
    }

    #[inline(always)]
    unsafe fn splat(value: F) -> Self {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|j| self[j].mul_add(a[j], b[j]))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;
    use crate::nn::kernel::Kernel;
    use crate::nn::kernel::level::{avx2, avx512};

    /// The places of the bits that are set in each byte, in order.
    static SET_BITS: [[u8; 8]; 256] = {
        let mut table = [[0; 8]; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut bit, mut count) = (0, 0);
            while bit < 8 {
                if byte >> bit & 1 == 1 {
                    table[byte][count] = bit;
                    count += 1;
                }
                bit += 1;
            }
            byte += 1;
        }
        table
    };

    macro_rules! lanes {
        ($float:ident $n:literal $register:ident $dispatch:ident $load:ident $store:ident $splat:ident $mul_add:ident $($more:item)*) => {
            impl Lanes<$float> for $register {
                const N: usize = $n;

                unsafe fn dispatch<K: Kernel>(kernel: K) -> K::Output {
                    // SAFETY: the caller's promise.
                    unsafe { $dispatch(kernel) }
                }

                #[inline(always)]
                unsafe fn load(from: *const $float) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut $float) {
                    // SAFETY: the caller's promise.
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                unsafe fn splat(value: $float) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                unsafe fn mul_add(self, a: Self, b: Self) -> Self {
                    // SAFETY: the caller's promise.
                    unsafe { $mul_add(self, a, b) }
                }

                $($more)*
            }
        };
    }
    lanes!(f64 4 __m256d avx2 _mm256_loadu_pd _mm256_storeu_pd _mm256_set1_pd _mm256_fmadd_pd);
    lanes!(f32 16 __m512 avx512 _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_fmadd_ps
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            for (r, c) in [(0, 0), (0, 8), (8, 0), (8, 8)] {
                // SAFETY: a quarter of the block; who has AVX-512 has AVX2.
                unsafe {
                    let (from, to) = (from.add(r * from_stride + c), to.add(c * to_stride + r));
                    <__m256 as Lanes<f32>>::transpose(from, from_stride, to, to_stride);
                }
            }
        }
    );
    lanes!(f64 8 __m512d avx512 _mm512_loadu_pd _mm512_storeu_pd _mm512_set1_pd _mm512_fmadd_pd);
    lanes!(f32 8 __m256 avx2 _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_fmadd_ps
        #[inline(always)]
        unsafe fn compress(from: *const f32, [start, step]: [u32; 2], values: *mut f32, offsets: *mut u32) -> usize {
            // SAFETY: the caller's promise.
            unsafe {
                let numbers = _mm256_loadu_ps(from);
                let kept = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(numbers, _mm256_setzero_ps())) as usize;
                let order = _mm256_cvtepu8_epi32(_mm_loadl_epi64(SET_BITS[kept].as_ptr().cast()));
                let steps = _mm256_mullo_epi32(order, _mm256_set1_epi32(step as i32));
                _mm256_storeu_ps(values, _mm256_permutevar8x32_ps(numbers, order));
                _mm256_storeu_si256(offsets.cast(), _mm256_add_epi32(steps, _mm256_set1_epi32(start as i32)));
                kept.count_ones() as usize
            }
        }
        #[inline(always)]
        unsafe fn four_columns(from: *const f32, stride: usize) -> [Self; 4] {
            // Halves of rows j and j+4 are loaded into one register, so that the rest happens inside halves.
            // SAFETY: the caller's promise.
            unsafe {
                let half = |r: usize| _mm_loadu_ps(from.add(r * stride));
                let rows = |r: usize| _mm256_set_m128(half(r + 4), half(r));
                let (a, b, d, e) = (rows(0), rows(1), rows(2), rows(3));
                let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                let (de_low, de_high) = (_mm256_unpacklo_ps(d, e), _mm256_unpackhi_ps(d, e));
                [
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab_low, de_low),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab_low, de_low),
                    _mm256_shuffle_ps::<0b01_00_01_00>(ab_high, de_high),
                    _mm256_shuffle_ps::<0b11_10_11_10>(ab_high, de_high),
                ]
            }
        }
        #[inline(always)]
        unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
            for c in [0, 4] {
                // SAFETY: the caller's promise; every row read or written is one of the block's eight.
                unsafe {
                    let columns = Self::four_columns(from.add(c), from_stride);
                    for (j, column) in columns.into_iter().enumerate() {
                        _mm256_storeu_ps(to.add((c + j) * to_stride), column);
                    }
                }
            }
        }
    );
}
