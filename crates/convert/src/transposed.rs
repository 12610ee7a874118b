//! Matrices that are stored with rows and columns exchanged.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    ConvertError,
    tensor::{Rows, Tensor},
};

/// Weights that are kept for the rows to come, or two matrices if they are larger: what all threads work on at a time.
const KEPT_WEIGHTS: usize = 1 << 25;

impl Tensor {
    /// The transposes of matrices, `[.., rows, columns]`. A matrix is read as a whole when its first row is asked for.
    pub(crate) fn transposed(self) -> Result<Self, ConvertError> {
        let &[ref leading @ .., num_rows, num_cols] = self.shape.as_slice() else {
            return Err(self.error(format!("has the shape {:?}; expected a matrix", self.shape)));
        };
        let (name, shape) = (self.name.clone(), [leading, &[num_cols, num_rows]].concat());
        Ok(Self::new(&name, shape, Transposed { of: self, num_rows, num_cols, kept: Mutex::default() }))
    }
}

struct Transposed {
    of: Tensor,
    num_rows: usize,
    num_cols: usize,
    kept: Mutex<Kept>,
}

/// Matrices by their index, the oldest first.
#[derive(Default)]
struct Kept {
    matrices: VecDeque<(usize, Arc<Vec<f32>>)>,
    /// Rows that were asked for. When all were, nothing is kept any more.
    num_read: usize,
}

impl Transposed {
    fn matrix(&self, idx: usize) -> Result<Arc<Vec<f32>>, ConvertError> {
        // Others wait, for they mostly want the same.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, matrix)) = kept.matrices.iter().find(|(i, _)| *i == idx) {
            return Ok(Arc::clone(matrix));
        }
        let mut weights = vec![0.0; self.num_rows * self.num_cols];
        self.of.rows.read(idx * self.num_rows, &mut weights)?;
        let most = (KEPT_WEIGHTS / weights.len().max(1)).max(2);
        let matrix = Arc::new(weights);
        kept.matrices.truncate(most);
        if kept.matrices.len() == most {
            kept.matrices.pop_front();
        }
        kept.matrices.push_back((idx, Arc::clone(&matrix)));
        Ok(matrix)
    }

    fn count(&self, num_read: usize) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.num_read += num_read;
        let all = self.of.shape.iter().product::<usize>() / self.num_rows.max(1);
        if kept.num_read >= all {
            *kept = Kept::default();
        }
    }
}

impl Rows for Transposed {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        if self.num_rows == 0 || self.num_cols == 0 {
            return Ok(());
        }
        let mut of_matrix = None;
        for (row, out) in (first_row..).zip(out.chunks_exact_mut(self.num_rows)) {
            let (idx, col) = (row / self.num_cols, row % self.num_cols);
            let matrix = match &of_matrix {
                Some((i, matrix)) if *i == idx => matrix,
                _ => &of_matrix.insert((idx, self.matrix(idx)?)).1,
            };
            for (x, source) in out.iter_mut().zip(matrix.chunks_exact(self.num_cols)) {
                *x = source[col];
            }
        }
        self.count(out.len() / self.num_rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::tensor::Tensor;

    #[test]
    fn each_matrix_is_transposed() {
        let values = (0..12).map(|i| i as f32).collect();
        let tensor = Tensor::of_values("x", vec![2, 2, 3], values).transposed().expect("matrices");
        assert_eq!(tensor.shape, [2, 3, 2]);
        let expected = [0., 3., 1., 4., 2., 5., 6., 9., 7., 10., 8., 11.];
        // Twice, since nothing is kept after the first time.
        for _ in 0..2 {
            assert_eq!(tensor.values().expect("rows"), expected);
        }
        let mut row = [0.0; 4];
        tensor.rows.read(2, &mut row).expect("rows");
        assert_eq!(row, [2., 5., 6., 9.]);
        assert!(Tensor::of_values("x", vec![3], vec![0.0; 3]).transposed().is_err());
    }
}
