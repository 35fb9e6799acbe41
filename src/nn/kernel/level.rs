//! SIMD levels: which instructions a kernel is compiled for, chosen once at run time.

use std::sync::atomic::{AtomicU8, Ordering};

/// The instructions that kernels may use. Results don't depend on it, only speed does.
///
/// The best level of the machine is found on first use. `TRAINYARD_SIMD=portable|avx2|avx512` in the environment or
/// [`Level::force`] takes a lower one, which is how the tests hold the levels against each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What every machine of the target has: NEON with fused multiply-add on aarch64; on x86-64 only SSE2, where each
    /// fused multiply-add is a call: slow, and right.
    Portable = 1,
    /// x86-64 with AVX2, FMA and POPCNT.
    Avx2 = 2,
    /// x86-64 with AVX-512 F, VL, BW and DQ.
    Avx512 = 3,
}

/// 0 until the first use, then a `Level`. Relaxed will do: nothing else hangs on it.
static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Level {
    /// The levels this machine can run, slowest first.
    pub fn available() -> Vec<Level> {
        [Level::Portable, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter(|level| level.is_supported())
            .collect()
    }

    /// The level kernels run at now.
    #[inline]
    pub fn current() -> Level {
        match CURRENT.load(Ordering::Relaxed) {
            1 => Level::Portable,
            2 => Level::Avx2,
            3 => Level::Avx512,
            _ => Level::detect(),
        }
    }

    /// Makes every kernel of the process run at `level` from now on.
    ///
    /// # Panics
    /// If this machine hasn't got its instructions.
    pub fn force(level: Level) {
        assert!(level.is_supported(), "this machine has no {level:?} instructions");
        CURRENT.store(level as u8, Ordering::Relaxed);
    }

    #[cold]
    fn detect() -> Level {
        let wanted = match std::env::var("TRAINYARD_SIMD").as_deref() {
            Ok("portable") => Level::Portable,
            Ok("avx2") => Level::Avx2,
            _ => Level::Avx512,
        };
        let best = Level::available()
            .into_iter()
            .rfind(|level| *level <= wanted)
            .unwrap_or(Level::Portable);
        CURRENT.store(best as u8, Ordering::Relaxed);
        best
    }

    #[cfg(target_arch = "x86_64")]
    fn is_supported(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Level::Portable => true,
            Level::Avx2 => has!("avx2") && has!("fma") && has!("popcnt"),
            Level::Avx512 => {
                Level::Avx2.is_supported()
                    && has!("avx512f")
                    && has!("avx512vl")
                    && has!("avx512bw")
                    && has!("avx512dq")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_supported(self) -> bool {
        self == Level::Portable
    }
}

/// A loop that [`dispatch`] compiles once for every level.
///
/// `run` and what it calls must be `#[inline(always)]`, so that they end up inside the function that has the
/// instructions. What isn't inlined is still right, only slow.
pub trait Kernel {
    /// What the loop answers.
    type Output;
    /// The loop, in plain code that the compiler can turn into SIMD instructions: fixed-size arrays, zipped slices.
    fn run(self) -> Self::Output;
}

/// Runs `kernel` with the instructions of [`Level::current`].
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match Level::current() {
        Level::Portable => kernel.run(),
        // SAFETY: a level becomes current only after `is_supported` has found all its instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("only x86-64 has other levels"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,popcnt")]
pub(super) fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,popcnt")]
pub(super) fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

/// Runs `check` at every level of this machine. Levels belong to the process, so one such test at a time.
#[cfg(test)]
pub(in crate::nn) fn at_every_level(mut check: impl FnMut(Level)) {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    for level in Level::available() {
        Level::force(level);
        check(level);
    }
}
