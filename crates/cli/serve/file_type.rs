//! What mix of types a file says it holds.

use std::collections::BTreeMap;

use gguf::Gguf;

/// `general.file_type` by number, as llama.cpp counts.
const NAMES: &[(u64, &str)] = &[
    (0, "F32"),
    (1, "F16"),
    (2, "Q4_0"),
    (3, "Q4_1"),
    (7, "Q8_0"),
    (8, "Q5_0"),
    (9, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K_S"),
    (12, "Q3_K_M"),
    (13, "Q3_K_L"),
    (14, "Q4_K_S"),
    (15, "Q4_K_M"),
    (16, "Q5_K_S"),
    (17, "Q5_K_M"),
    (18, "Q6_K"),
    (21, "Q2_K_S"),
    (25, "IQ4_NL"),
    (30, "IQ4_XS"),
    (32, "BF16"),
    (36, "TQ1_0"),
    (37, "TQ2_0"),
    (38, "MXFP4"),
];

/// The mix's name, or the type that most of the weights have.
pub(crate) fn name(gguf: &Gguf) -> String {
    let told = gguf.metadata().uint("general.file_type").ok().flatten();
    let known = NAMES.iter().find(|(id, _)| Some(*id) == told);
    known.map_or_else(|| most_common(gguf), |(_, name)| (*name).to_owned())
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
