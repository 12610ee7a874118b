//! Matrices that are products of two thin ones.

use crate::{
    ConvertError,
    tensor::{Rows, Tensor},
};

/// `scale * b * a`.
#[derive(Clone, Debug)]
pub(super) struct LowRank {
    /// `[rank, num_cols]`.
    pub(super) a: Vec<f32>,
    /// `[num_rows, rank]`.
    pub(super) b: Vec<f32>,
    pub(super) rank: usize,
    pub(super) scale: f32,
}

impl LowRank {
    /// Takes the factors of a tensor, `[rank, num_cols]` and `[num_rows, rank]`.
    pub(super) fn new(name: &str, a: &Tensor, b: &Tensor) -> Result<Self, ConvertError> {
        let (&[rank, _], &[_, inner]) = (a.shape.as_slice(), b.shape.as_slice()) else {
            let what = format!("has LoRA factors of shapes {:?} and {:?}; only matrices are known", a.shape, b.shape);
            return Err(ConvertError::tensor(name, what));
        };
        if rank != inner || rank == 0 {
            let what = format!("has LoRA factors of shapes {:?} and {:?}, which do not multiply", a.shape, b.shape);
            return Err(ConvertError::tensor(name, what));
        }
        Ok(Self { a: a.values()?, b: b.values()?, rank, scale: 1.0 })
    }

    /// The transpose of the product.
    pub(super) fn transposed(&self) -> Self {
        let (num_cols, num_rows) = (self.num_cols(), self.num_rows());
        Self { a: transpose(&self.b, num_rows), b: transpose(&self.a, self.rank), ..*self }
            .with_shape(num_cols, num_rows)
    }

    fn with_shape(self, num_rows: usize, num_cols: usize) -> Self {
        debug_assert_eq!((self.num_rows(), self.num_cols()), (num_rows, num_cols));
        self
    }

    pub(super) fn num_rows(&self) -> usize {
        self.b.len() / self.rank
    }

    pub(super) fn num_cols(&self) -> usize {
        self.a.len() / self.rank
    }

    /// The product as a tensor that is computed when it is read.
    pub(super) fn into_tensor(self, name: &str) -> Tensor {
        Tensor::new(name, vec![self.num_rows(), self.num_cols()], self)
    }
}

/// `[num_rows, n]` to `[n, num_rows]`.
fn transpose(x: &[f32], num_rows: usize) -> Vec<f32> {
    let num_cols = x.len() / num_rows.max(1);
    (0..num_cols).flat_map(|col| (0..num_rows).map(move |row| x[row * num_cols + col])).collect()
}

impl Rows for LowRank {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        let num_cols = self.num_cols();
        let factors = self.b.chunks_exact(self.rank).skip(first_row);
        for (out, factors) in out.chunks_exact_mut(num_cols).zip(factors) {
            out.fill(0.0);
            for (factor, row) in factors.iter().zip(self.a.chunks_exact(num_cols)) {
                out.iter_mut().zip(row).for_each(|(x, a)| *x += factor * a);
            }
            out.iter_mut().for_each(|x| *x *= self.scale);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::LowRank;

    #[test]
    fn products_and_their_transposes() {
        let product =
            LowRank { a: vec![1.0, 2.0, 3.0, 0.0, 1.0, 0.0], b: vec![1.0, 10.0, 2.0, 20.0], rank: 2, scale: 0.5 };
        let values = product.clone().into_tensor("t").values().expect("in memory");
        assert_eq!(values, [0.5, 6.0, 1.5, 1.0, 12.0, 3.0]);
        let transposed = product.transposed().into_tensor("t");
        assert_eq!(transposed.shape, [3, 2]);
        assert_eq!(transposed.values().expect("in memory"), [0.5, 1.0, 6.0, 12.0, 1.5, 3.0]);
    }
}
