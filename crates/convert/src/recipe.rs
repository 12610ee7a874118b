//! What a tensor of the result is made of: rows of the model's own tensors, in another order or stacked.

use gguf::GgmlType;

use crate::{
    ConvertError,
    tensor::{Rows, Tensor},
};

/// A tensor of the result.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Its name, e.g. `blk.0.attn_q.weight`.
    pub(crate) name: String,
    /// Outermost dimension first.
    pub(crate) shape: Vec<usize>,
    /// Rows one below the other.
    pub(crate) parts: Vec<Part>,
    /// Added to every weight.
    pub(crate) add: f32,
    /// The type it must have, whatever the file's type.
    pub(crate) forced: Option<GgmlType>,
}

/// Rows of a tensor.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) tensor: Tensor,
    pub(crate) num_rows: usize,
    pub(crate) pick: Pick,
}

/// Which rows of a tensor, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pick {
    /// From this row on.
    From(usize),
    /// Heads whose halves of rows are interleaved: rotary pairs `(i, i + half)` become neighbours.
    Heads(usize),
    /// Heads that each hold a query, a key and a value, sorted into all queries, all keys, all values.
    Fused(usize),
    /// Every other row, from this one on.
    Alternate(usize),
}

impl Recipe {
    /// A tensor under a new name.
    pub(crate) fn rename(name: String, tensor: Tensor) -> Self {
        Self::pick(name, tensor, Pick::From(0))
    }

    /// Rows of tensors one below the other.
    pub(crate) fn of_parts(name: String, shape: Vec<usize>, parts: Vec<Part>) -> Self {
        Self { name, shape, parts, add: 0.0, forced: None }
    }

    /// All rows of a tensor in another order. The numbers of a vector count as rows.
    pub(crate) fn reordered(name: String, tensor: Tensor, pick: Pick) -> Result<Self, ConvertError> {
        let (divisor, what) = match pick {
            Pick::From(_) | Pick::Alternate(_) => (1, String::new()),
            Pick::Heads(num_heads) => (2 * num_heads, format!("{num_heads} heads of even size")),
            Pick::Fused(num_heads) => (3 * num_heads, format!("queries, keys and values of {num_heads} heads")),
        };
        if divisor == 0 || !tensor.shape.first().copied().unwrap_or(0).is_multiple_of(divisor) {
            return Err(tensor.error(format!("of shape {:?} is not made of {what}", tensor.shape)));
        }
        if tensor.shape.len() > 1 {
            return Ok(Self::pick(name, tensor, pick));
        }
        let values = tensor.values()?;
        let reordered = (0..values.len()).map(|i| values[pick.source_row(i, values.len())]).collect();
        Ok(Self::rename(name, Tensor::of_values(&tensor.name, tensor.shape, reordered)))
    }

    fn pick(name: String, tensor: Tensor, pick: Pick) -> Self {
        let (shape, num_rows) = (tensor.shape.clone(), tensor.num_rows());
        Self::of_parts(name, shape, vec![Part { tensor, num_rows, pick }])
    }

    pub(crate) fn num_cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    pub(crate) fn num_rows(&self) -> usize {
        self.parts.iter().map(|p| p.num_rows).sum()
    }

    /// The model's own tensor that a row comes from.
    pub(crate) fn source(&self, mut row: usize) -> Option<&str> {
        for part in &self.parts {
            if row < part.num_rows {
                return Some(&part.tensor.name);
            }
            row -= part.num_rows;
        }
        None
    }

    /// Reads whole rows from `first_row` on.
    pub(crate) fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        self.read_parts(first_row, out)?;
        if self.add != 0.0 {
            out.iter_mut().for_each(|x| *x += self.add);
        }
        Ok(())
    }

    /// Whether all rows are stored in blocks of this type and are taken over as they are.
    pub(crate) fn is_stored_as(&self, ggml_type: GgmlType) -> bool {
        self.add == 0.0 && self.parts.iter().all(|part| part.tensor.rows.stored_as() == Some(ggml_type))
    }

    /// Reads whole rows from `first_row` on as they are stored, in `out.len() / row_bytes` rows.
    pub(crate) fn read_stored(&self, first_row: usize, row_bytes: usize, out: &mut [u8]) -> Result<(), ConvertError> {
        let rows = self.parts.iter().flat_map(|part| (0..part.num_rows).map(move |row| (part, row)));
        for ((part, row), out) in rows.skip(first_row).zip(out.chunks_exact_mut(row_bytes)) {
            part.tensor.rows.read_stored(part.pick.source_row(row, part.num_rows), out)?;
        }
        Ok(())
    }

    fn read_parts(&self, mut first_row: usize, mut out: &mut [f32]) -> Result<(), ConvertError> {
        let num_cols = self.num_cols().max(1);
        for part in &self.parts {
            let wanted = (out.len() / num_cols).min(part.num_rows.saturating_sub(first_row));
            let (now, rest) = out.split_at_mut(wanted * num_cols);
            part.read(first_row, now, num_cols)?;
            first_row = first_row.saturating_sub(part.num_rows);
            out = rest;
        }
        match out.len() {
            0 => Ok(()),
            missing => Err(ConvertError::tensor(&self.name, format!("{missing} weights are missing"))),
        }
    }
}

impl Rows for Recipe {
    fn read(&self, first_row: usize, out: &mut [f32]) -> Result<(), ConvertError> {
        Self::read(self, first_row, out)
    }
}

impl Part {
    fn read(&self, first_row: usize, out: &mut [f32], num_cols: usize) -> Result<(), ConvertError> {
        if let Pick::From(start) = self.pick {
            return self.tensor.rows.read(start + first_row, out);
        }
        for (row, out) in (first_row..).zip(out.chunks_exact_mut(num_cols)) {
            self.tensor.rows.read(self.pick.source_row(row, self.num_rows), out)?;
        }
        Ok(())
    }
}

impl Pick {
    /// The row of the source that becomes `row` of `num_rows`.
    fn source_row(self, row: usize, num_rows: usize) -> usize {
        match self {
            Self::From(start) => start + row,
            Self::Alternate(start) => start + 2 * row,
            Self::Heads(num_heads) => {
                let head_dim = num_rows / num_heads;
                let (head, i) = (row / head_dim, row % head_dim);
                head * head_dim + i % 2 * (head_dim / 2) + i / 2
            }
            Self::Fused(num_heads) => {
                let head_dim = num_rows / (3 * num_heads);
                let (kind, head, i) = (row / (num_rows / 3), row / head_dim % num_heads, row % head_dim);
                (3 * head + kind) * head_dim + i
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pick, Recipe};
    use crate::tensor::Tensor;

    fn reordered(shape: Vec<usize>, pick: Pick) -> Result<Vec<f32>, String> {
        let values = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        let recipe = Recipe::reordered("out".to_owned(), Tensor::of_values("in", shape, values), pick);
        let recipe = recipe.map_err(|e| e.to_string())?;
        let mut out = vec![0.0; recipe.shape.iter().product()];
        recipe.read(0, &mut out).map_err(|e| e.to_string())?;
        Ok(out)
    }

    #[test]
    fn fused_heads_become_queries_keys_and_values() {
        // Two heads of two rows each: q0 q0 k0 k0 v0 v0 q1 q1 k1 k1 v1 v1.
        let expected: &[f32] = &[0., 1., 6., 7., 2., 3., 8., 9., 4., 5., 10., 11.];
        assert_eq!(reordered(vec![12, 1], Pick::Fused(2)).as_deref(), Ok(expected));
        assert_eq!(reordered(vec![12], Pick::Fused(2)).as_deref(), Ok(expected));
        for (pick, size) in [(Pick::Fused(2), 9), (Pick::Fused(0), 12), (Pick::Heads(4), 12)] {
            assert!(reordered(vec![size, 1], pick).is_err(), "{pick:?} of {size}");
        }
    }
}
