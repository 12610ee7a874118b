//! How large the inputs of matrices are: what importance matrices are made of.

use std::collections::{BTreeMap, btree_map::Entry};

/// Sums of squares of what a model's matrices were multiplied with, by the name of their tensor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputSums(BTreeMap<String, TensorSums>);

/// The sums of one tensor, which holds one matrix or several of equal shape (of experts, of heads).
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSums {
    /// Inputs of a matrix.
    pub num_columns: usize,
    /// The squares of each column's inputs, added up: `[matrices, columns]`.
    pub squares: Vec<f64>,
    /// Rows of inputs that came to each matrix, `[matrices]`.
    pub counts: Vec<u64>,
}

impl InputSums {
    /// The sums of a tensor, zeros where it is new.
    ///
    /// # Panics
    /// When the tensor is known with another shape.
    pub fn tensor(&mut self, name: &str, num_columns: usize, num_matrices: usize) -> &mut TensorSums {
        let new = || TensorSums {
            num_columns,
            squares: vec![0.0; num_columns * num_matrices],
            counts: vec![0; num_matrices],
        };
        let sums = match self.0.entry(name.to_owned()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(new()),
        };
        let known = (sums.num_columns, sums.counts.len());
        assert_eq!(known, (num_columns, num_matrices), "columns and matrices of tensor `{name}`");
        sums
    }

    /// All tensors, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TensorSums)> {
        self.0.iter().map(|(name, sums)| (name.as_str(), sums))
    }

    /// The sums of a tensor that was seen.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorSums> {
        self.0.get(name)
    }

    /// Leaves out the tensors that `keep` says no to.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// Number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was seen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Matrices that no row came to, of all: experts that no token chose.
    #[must_use]
    pub fn unseen(&self) -> (usize, usize) {
        let counts = || self.0.values().flat_map(|sums| &sums.counts);
        (counts().filter(|count| **count == 0).count(), counts().count())
    }
}

impl TensorSums {
    /// The squares' sums of a matrix, `[columns]`, and its count.
    ///
    /// # Panics
    /// When there is no such matrix.
    pub fn matrix(&mut self, index: usize) -> (&mut [f64], &mut u64) {
        (&mut self.squares[index * self.num_columns..][..self.num_columns], &mut self.counts[index])
    }
}
