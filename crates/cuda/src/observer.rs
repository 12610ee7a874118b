//! Sums of squares of what all matrices are multiplied with, on the device until they are asked for.

use std::collections::HashMap;

use types::InputSums;

use crate::{
    device::{Buffer, Device, DevicePtr, Span},
    error::CudaError,
    ops::{
        act_out::ActOut,
        input_sums::{InputSquares, InputSquaresCall, Inputs},
        matmul::{MatmulCall, Matrix},
        moe::ExpertMatmulCall,
    },
    weights::Origins,
};

/// The sums of a model.
pub(crate) struct Observer {
    op: InputSquares,
    /// The sums of all matrices, then the counts.
    buffer: Buffer,
    places: HashMap<DevicePtr, Place>,
    num_squares: usize,
    num_counts: usize,
}

/// Where the sums of a matrix lie, or of a stack of them.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The first sum and the first count.
    first: (usize, usize),
    num_cols: usize,
    num_matrices: usize,
}

impl Observer {
    /// Takes memory for the sums of all matrices; zeros.
    pub(crate) fn new(device: &Device, op: InputSquares, origins: &Origins) -> Result<Self, CudaError> {
        let (mut num_squares, mut num_counts) = (0, 0);
        let places = origins.iter().map(|(matrix, origin)| {
            let place = Place {
                first: (num_squares, num_counts),
                num_cols: origin.num_cols,
                num_matrices: origin.num_matrices,
            };
            num_squares += origin.num_matrices * origin.num_cols;
            num_counts += origin.num_matrices;
            (*matrix, place)
        });
        let places = places.collect();
        let buffer = Buffer::new(device, 8 * (num_squares + num_counts), "sums of inputs")?;
        let observer = Self { op, buffer, places, num_squares, num_counts };
        observer.clear(device)?;
        Ok(observer)
    }

    /// Adds the inputs of a product.
    pub(crate) fn product(&self, device: &Device, call: &MatmulCall<'_>) -> Result<(), CudaError> {
        let inputs = Inputs::Rows(call.tokens);
        call.segments.iter().try_for_each(|segment| self.add(device, segment.matrix, (call.act, inputs)))
    }

    /// Adds the inputs of products with experts' matrices.
    pub(crate) fn expert_products(&self, device: &Device, call: &ExpertMatmulCall<'_>) -> Result<(), CudaError> {
        let inputs = Inputs::Pairs {
            pairs: call.pairs,
            pairs_per_input: call.pairs_per_input,
            routes: call.routes,
            weighted: call.weighted,
        };
        call.matrices.iter().try_for_each(|matrix| self.add(device, matrix, (call.act, inputs)))
    }

    /// Brings the sums to the host and begins anew.
    pub(crate) fn take(&self, device: &Device, origins: &Origins) -> Result<InputSums, CudaError> {
        let (squares, counts) = (device.download(self.squares())?, device.download(self.counts())?);
        self.clear(device)?;
        let mut sums = InputSums::default();
        for (matrix, origin) in origins {
            let Place { first: (square, count), num_cols, num_matrices } = self.places[matrix];
            let counts = &counts[count..][..num_matrices];
            if counts.iter().all(|count| *count == 0) {
                continue;
            }
            let squares = squares[square..][..num_matrices * num_cols].chunks_exact(num_cols);
            for (i, (found, count)) in squares.zip(counts).enumerate() {
                let (name, index, num_matrices) = origin.tensor(i);
                let (to, counted) = sums.tensor(name, num_cols, num_matrices).matrix(index);
                to.iter_mut().zip(found).for_each(|(sum, square)| *sum += square);
                *counted += count;
            }
        }
        Ok(sums)
    }

    fn add(&self, device: &Device, matrix: &Matrix, (act, inputs): (ActOut, Inputs)) -> Result<(), CudaError> {
        // A matrix that was made when the model was loaded is none of the file's.
        let Some(place) = self.places.get(&matrix.ptr()) else { return Ok(()) };
        let Place { first: (square, count), num_cols: cols, num_matrices } = *place;
        let squares = self.squares().slice(square..square + num_matrices * cols);
        let counts = self.counts().slice(count..count + num_matrices);
        self.op.run(device, &InputSquaresCall { act, inputs, cols, squares, counts })
    }

    fn clear(&self, device: &Device) -> Result<(), CudaError> {
        device.fill_bytes(self.buffer.all::<u8>(), 0)
    }

    fn squares(&self) -> Span<f64> {
        self.buffer.span(0, self.num_squares)
    }

    fn counts(&self) -> Span<u64> {
        self.buffer.span(8 * self.num_squares, self.num_counts)
    }
}
