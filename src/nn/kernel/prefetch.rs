//! Asking for memory ahead of its use.

/// Has `data` on its way into the cache while something else is done. Only speed depends on it; aarch64 has no stable
/// instruction for it.
#[inline]
pub fn prefetch<T>(data: &[T]) {
    // Into the second level: a core waits for few lines of the first at a time, and those who use the data need these places.
    // On Zen 4 rows in a random order take half the time so.
    #[cfg(target_arch = "x86_64")]
    for byte in (0..size_of_val(data))
        .step_by(LINE)
        .chain(size_of_val(data).checked_sub(1))
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: the address lies inside `data`; nothing of it is read, and every x86-64 has the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(data.as_ptr().cast::<i8>().add(byte)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = data;
}

/// Bytes that come into the cache together.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;
