//! The kernels' arguments, as `kernels/include/quant_segment.cuh` has them.

use crate::{
    device::{DevicePtr, KernelArgs},
    ops::act_out::ActQ8,
};

use super::matrix::Planes;

/// Matrices that one launch can multiply the same inputs by.
pub const MAX_SEGMENTS: usize = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct SegmentArgs {
    pub(super) planes: Planes,
    pub(super) out: DevicePtr,
    pub(super) bias: DevicePtr,
    pub(super) residual: DevicePtr,
    pub(super) rows: u32,
    pub(super) out_stride: u32,
    pub(super) first_block: u32,
    pub(super) format: u32,
    pub(super) scale: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct MatmulArgs {
    pub(super) segments: [SegmentArgs; MAX_SEGMENTS],
    pub(super) act: ActQ8,
    pub(super) half: DevicePtr,
    pub(super) partial: DevicePtr,
    pub(super) arrivals: DevicePtr,
    pub(super) half_stride: u32,
    pub(super) num_segments: u32,
    pub(super) cols: u32,
    pub(super) chunks: u32,
    pub(super) tokens: u32,
    pub(super) splits: u32,
}

// SAFETY: `MatmulArgs` of kernels/include/quant_segment.cuh.
unsafe impl KernelArgs for MatmulArgs {}

impl SegmentArgs {
    /// A place that is not used.
    pub(super) const NONE: Self = Self {
        planes: Planes {
            low: DevicePtr::NULL,
            high: DevicePtr::NULL,
            scale: DevicePtr::NULL,
            super_scale: DevicePtr::NULL,
        },
        out: DevicePtr::NULL,
        bias: DevicePtr::NULL,
        residual: DevicePtr::NULL,
        rows: 0,
        out_stride: 0,
        first_block: u32::MAX,
        format: 0,
        scale: 1.0,
    };
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::{MatmulArgs, SegmentArgs};

    #[test]
    fn arguments_are_laid_out_as_in_the_kernels() {
        assert_eq!((size_of::<SegmentArgs>(), offset_of!(SegmentArgs, rows)), (80, 56));
        assert_eq!((offset_of!(MatmulArgs, act), offset_of!(MatmulArgs, half)), (240, 272));
        assert_eq!((offset_of!(MatmulArgs, half_stride), size_of::<MatmulArgs>()), (296, 320));
    }
}
