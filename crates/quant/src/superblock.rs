//! The two layouts that the kernels read: sixteen floats, and 256 eight-bit integers in sixteen scaled groups.

/// Floats summed side by side; the width of every dot product.
pub const LANES: usize = 16;
/// Weights in a [`Superblock`].
pub(crate) const SUPERBLOCK_LEN: usize = 256;
/// Weights that share a scale.
pub(crate) const GROUP_LEN: usize = SUPERBLOCK_LEN / LANES;

/// Sixteen floats on a cache line.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

/// What [`untouched`] asks for at least. Smaller requests may be met with memory that was used before and has to be cleared:
/// glibc maps none below 32 MiB.
pub const MAPPED_BYTES: usize = if cfg!(target_env = "gnu") { 33 << 20 } else { 0 };

/// `len` zeros that the system makes when they are first touched: gigabytes take no time, and only what is used takes
/// memory. `None` where memory does not suffice.
#[must_use]
pub fn untouched<T: Copy>(zero: T, len: usize) -> Option<Vec<T>> {
    let reserved = len.max(MAPPED_BYTES / size_of::<T>());
    // Fails here rather than in `vec!`, which would end the process.
    Vec::<T>::new().try_reserve_exact(reserved).ok()?;
    let mut zeros = vec![zero; reserved];
    zeros.truncate(len);
    Some(zeros)
}

/// Zeros that can be viewed as `len` lanes; see [`untouched`]. What the allocator aligns as lanes are, it clears at once.
#[must_use]
pub fn untouched_lanes(len: usize) -> Option<Vec<f32>> {
    untouched(0.0, len.checked_mul(LANES)?.checked_add(LANES - 1)?)
}

/// Views floats as the lanes among them.
#[must_use]
pub fn as_lanes(floats: &[f32]) -> &[Lanes] {
    // SAFETY: `Lanes` is floats alone, and every value of those is one of theirs.
    unsafe { floats.align_to().1 }
}

/// Views floats as the lanes among them.
#[must_use]
pub fn as_lanes_mut(floats: &mut [f32]) -> &mut [Lanes] {
    // SAFETY: as in `as_lanes`; the borrow stays exclusive.
    unsafe { floats.align_to_mut().1 }
}

/// 256 weights or activations as integers: sixteen groups of sixteen, each with its own scale and term.
///
/// The kernels read it interleaved: group `4i + l` lies in lane `4l + i`, and lane `p` of vector `v` holds the bytes
/// `4v..4v + 4` of its group. A vector instruction that sums four neighbouring byte products then sums every group
/// in its own lane, and scales apply to all groups at once.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Superblock {
    /// Weights as unsigned bytes; activations as signed bytes.
    pub(crate) q: [u8; SUPERBLOCK_LEN],
    /// What each group's integers are multiplied by.
    pub(crate) scales: [f32; LANES],
    /// Weights: what the group's values are lowered by. Activations: the sum of the group's values.
    pub(crate) terms: [f32; LANES],
}

impl Superblock {
    /// 256 zeros.
    pub(crate) const ZERO: Self = Self { q: [0; SUPERBLOCK_LEN], scales: [0.0; LANES], terms: [0.0; LANES] };
}

impl Default for Superblock {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Views lanes as the floats they are.
#[must_use]
pub fn as_floats(lanes: &[Lanes]) -> &[f32] {
    // SAFETY: `Lanes` is `repr(C)` around an array of floats that fills it whole, without padding.
    unsafe { std::slice::from_raw_parts(lanes.as_ptr().cast(), lanes.len() * LANES) }
}

/// Views lanes as the floats they are.
#[must_use]
pub fn as_floats_mut(lanes: &mut [Lanes]) -> &mut [f32] {
    // SAFETY: as in `as_floats`; the borrow stays exclusive.
    unsafe { std::slice::from_raw_parts_mut(lanes.as_mut_ptr().cast(), lanes.len() * LANES) }
}
