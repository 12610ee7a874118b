//! What a product is asked for, and whether its buffers fit.

use crate::{
    device::{DevicePtr, Span},
    error::CudaError,
    ops::act_out::ActOut,
    repack::PlaneFormat,
};

use super::{MAX_SEGMENTS, OP, args::SegmentArgs, matrix::Matrix};

/// One matrix and where its product goes.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    /// The weights `[rows, cols]`.
    pub matrix: &'a Matrix,
    /// `[tokens, out_stride]`, of which the first `rows` columns are written.
    pub out: Span<f32>,
    /// Elements from one token's outputs to the next's.
    pub out_stride: usize,
    /// `[rows]`, added to every token.
    pub bias: Option<Span<f32>>,
    /// `[tokens, out_stride]`, added; may be `out` itself.
    pub residual: Option<Span<f32>>,
}

/// `out = scale * inputs * weights^T + bias + residual`, for up to three matrices with the same inputs; each has its own scale.
#[derive(Clone, Copy)]
pub struct MatmulCall<'a> {
    /// The inputs, of the kind that [`super::Matmul::activation_kind`] names.
    pub act: ActOut,
    /// Rows of inputs.
    pub tokens: usize,
    /// The matrices.
    pub segments: &'a [Segment<'a>],
}

impl<'a> Segment<'a> {
    /// A product that is written as it is, outputs back to back.
    #[must_use]
    pub fn plain(matrix: &'a Matrix, out: Span<f32>) -> Self {
        Self { matrix, out, out_stride: matrix.rows(), bias: None, residual: None }
    }

    fn check(&self, tokens: usize, cols: usize) -> Result<(), CudaError> {
        let (rows, stride) = (self.matrix.rows(), self.out_stride);
        if self.matrix.cols() != cols {
            return refuse(format!("inputs of {cols} columns for a matrix of {}", self.matrix.cols()));
        }
        if stride < rows {
            return refuse(format!("outputs {stride} apart for a matrix of {rows} rows"));
        }
        let needed = (tokens - 1) * stride + rows;
        let spans = [("out", Some(self.out), needed), ("residual", self.residual, needed), ("bias", self.bias, rows)];
        for (name, span, needed) in spans {
            if let Some(span) = span.filter(|span| span.len() < needed) {
                return refuse(format!("{name} has {} elements, {needed} are needed", span.len()));
            }
        }
        Ok(())
    }

    pub(super) fn args(&self, first_block: usize) -> SegmentArgs {
        let ptr = |span: Option<Span<f32>>| span.map_or(DevicePtr::NULL, |span| span.ptr());
        SegmentArgs {
            planes: self.matrix.planes(),
            out: self.out.ptr(),
            bias: ptr(self.bias),
            residual: ptr(self.residual),
            rows: self.matrix.rows() as u32,
            out_stride: self.out_stride as u32,
            first_block: first_block as u32,
            format: self.matrix.format().id(),
            scale: self.matrix.scale(),
        }
    }
}

impl MatmulCall<'_> {
    /// Checks sizes; the buffers then have room for what the kernels read and write.
    pub(super) fn check(&self) -> Result<(), CudaError> {
        let num_segments = self.segments.len();
        if num_segments == 0 || num_segments > MAX_SEGMENTS {
            return refuse(format!("{num_segments} matrices in one call; 1..={MAX_SEGMENTS} are possible"));
        }
        let (room, cols) = (self.act.tokens as usize, self.cols());
        if self.tokens > room {
            return refuse(format!("{} tokens of inputs that hold {room}", self.tokens));
        }
        if self.act.q8.q == DevicePtr::NULL && self.act.half == DevicePtr::NULL {
            return refuse("the inputs are neither int8 nor f16".to_owned());
        }
        self.segments.iter().try_for_each(|segment| segment.check(self.tokens, cols))
    }

    pub(super) fn cols(&self) -> usize {
        self.act.q8.cols as usize
    }

    /// Chunks of columns, the last perhaps in part.
    pub(super) fn chunks(&self) -> usize {
        self.segments[0].matrix.layout().chunks
    }

    pub(super) fn rows(&self) -> Vec<usize> {
        self.segments.iter().map(|segment| segment.matrix.rows()).collect()
    }

    /// The format of all matrices, if they have the same.
    pub(super) fn common_format(&self) -> Option<PlaneFormat> {
        let format = self.segments[0].matrix.format();
        self.segments.iter().all(|segment| segment.matrix.format() == format).then_some(format)
    }

    pub(super) fn has_halves(&self) -> bool {
        self.segments.iter().any(|segment| segment.matrix.format().is_half())
    }
}

pub(super) fn refuse<T>(message: String) -> Result<T, CudaError> {
    Err(CudaError::shape(OP, message))
}
