//! Which types the weights of a file have, and how much of each.

use std::collections::HashMap;

use gguf::{GgmlType, Gguf};

/// All weights, and those of each type.
pub(crate) struct Mix {
    pub(crate) num_weights: u64,
    pub(crate) num_bytes: u64,
    /// The type with the most bytes first.
    pub(crate) types: Vec<TypeShare>,
}

/// The weights of one type.
pub(crate) struct TypeShare {
    pub(crate) ggml_type: GgmlType,
    pub(crate) num_tensors: u64,
    pub(crate) num_weights: u64,
    pub(crate) num_bytes: u64,
}

impl Mix {
    pub(crate) fn of(gguf: &Gguf) -> Self {
        let mut shares: HashMap<GgmlType, TypeShare> = HashMap::new();
        for t in gguf.tensors() {
            let none = TypeShare { ggml_type: t.ggml_type, num_tensors: 0, num_weights: 0, num_bytes: 0 };
            let share = shares.entry(t.ggml_type).or_insert(none);
            share.num_tensors += 1;
            share.num_weights += t.num_weights() as u64;
            share.num_bytes += t.num_bytes as u64;
        }
        let mut types: Vec<TypeShare> = shares.into_values().collect();
        types.sort_by_key(|share| (std::cmp::Reverse(share.num_bytes), share.ggml_type.id()));
        Self {
            num_weights: types.iter().map(|share| share.num_weights).sum(),
            num_bytes: types.iter().map(|share| share.num_bytes).sum(),
            types,
        }
    }

    pub(crate) fn bits_per_weight(&self) -> f64 {
        bits(self.num_bytes, self.num_weights)
    }
}

impl TypeShare {
    pub(crate) fn bits_per_weight(&self) -> f64 {
        bits(self.num_bytes, self.num_weights)
    }
}

fn bits(num_bytes: u64, num_weights: u64) -> f64 {
    8.0 * num_bytes as f64 / num_weights.max(1) as f64
}

#[cfg(test)]
mod tests {
    use gguf::{Builder, GgmlType, Gguf};

    use super::Mix;

    #[test]
    fn shares_add_up() {
        let file = Builder::new()
            .tensor("a", &[32, 3], GgmlType::Q8_0, vec![0; 102])
            .tensor("b", &[32], GgmlType::Q8_0, vec![0; 34])
            .tensor_f32("c", &[8], &[0.0; 8]);
        let mix = Mix::of(&Gguf::from_bytes(file.build()).unwrap());
        assert_eq!((mix.num_weights, mix.num_bytes), (136, 168));
        let types: Vec<_> =
            mix.types.iter().map(|t| (t.ggml_type, t.num_tensors, t.num_weights, t.num_bytes)).collect();
        assert_eq!(types, [(GgmlType::Q8_0, 2, 128, 136), (GgmlType::F32, 1, 8, 32)]);
        assert!((mix.types[0].bits_per_weight() - 8.5).abs() < 1e-9);
    }
}
