//! What mix of types a file says it holds.

use std::collections::BTreeMap;

use gguf::Gguf;
use quantize::FileType;

/// The mix's name, or the type that most of the weights have.
pub(crate) fn name(gguf: &Gguf) -> String {
    let told = gguf.metadata().uint("general.file_type").ok().flatten();
    let known = told.and_then(|id| FileType::from_id(u32::try_from(id).ok()?));
    known.map_or_else(|| most_common(gguf), |file_type| file_type.name().to_owned())
}

fn most_common(gguf: &Gguf) -> String {
    let mut weights: BTreeMap<&str, u64> = BTreeMap::new();
    for t in gguf.tensors() {
        *weights.entry(t.ggml_type.name()).or_default() += t.num_weights() as u64;
    }
    weights.into_iter().max_by_key(|(_, num_weights)| *num_weights).map(|(name, _)| name.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gguf::{Builder, Gguf, Value};

    #[test]
    fn the_file_tells_its_mix_or_the_weights_do() {
        let name = |builder: Builder| {
            let tensors = builder.tensor_f32("w", &[32, 4], &[0.5; 128]);
            super::name(&Gguf::from_bytes(tensors.build()).unwrap())
        };
        assert_eq!(name(Builder::new().value("general.file_type", Value::Uint(15))), "Q4_K_M");
        assert_eq!(name(Builder::new()).to_lowercase(), "f32");
    }
}
