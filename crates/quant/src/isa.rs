//! Which vector instructions the machine has, and how code is compiled for each of them.

/// An instruction set that this machine has; a value proves that it was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Whatever the target of the build guarantees.
    Portable,
    /// AVX2, FMA and F16C: x86 since 2013.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with byte dot products (VNNI).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// A piece of work that [`Isa::run`] compiles once per instruction set.
///
/// Implementations mark `run` and all that it calls `#[inline(always)]`: only inlined code gets the instructions.
pub trait Kernel {
    /// What the work gives back.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

impl Isa {
    /// The best instruction set of this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self(Level::Portable))
    }

    /// All instruction sets of this machine, the plainest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self(Level::Portable)];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            found.push(Self(Level::Avx2));
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                found.push(Self(Level::Avx512));
            }
        }
        found
    }

    /// Its name, e.g. for the start-up summary.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512-vnni",
        }
    }

    pub(crate) fn level(self) -> Level {
        self.0
    }

    /// Runs work that was compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => kernel.run(),
            // SAFETY: an `Isa` of this level exists only where `available` detected the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
