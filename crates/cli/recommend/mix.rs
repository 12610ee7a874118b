//! Mixes of quantization types, and what they cost in quality.

use gguf::{GgmlType, Gguf};
use quantize::{FileType, Options, Plan};

/// A mix that can be made of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mix {
    file_type: FileType,
    /// Perplexity of Llama 3 8B on WikiText-2, quantized without an importance matrix: the LLaMA 3 8b scoreboard of
    /// llama.cpp's tools/perplexity/README.md (revision f364eb6f; f16: 6.233160).
    perplexity: f64,
}

/// Perplexity of the same model in f16.
const F16_PERPLEXITY: f64 = 6.233_160;

/// From the best to the smallest.
pub(crate) const MIXES: [Mix; 10] = [
    mix(FileType::F16, F16_PERPLEXITY),
    mix(FileType::Q8_0, 6.234_284),
    mix(FileType::Q6_K, 6.253_382),
    mix(FileType::Q5_K_M, 6.288_607),
    mix(FileType::Q5_K_S, 6.336_598),
    mix(FileType::Q4_K_M, 6.407_115),
    mix(FileType::Q4_K_S, 6.500_529),
    mix(FileType::Q4_0, 6.700_147),
    mix(FileType::Q3_K_M, 6.888_498),
    mix(FileType::Q2_K, 9.751_568),
];

const fn mix(file_type: FileType, perplexity: f64) -> Mix {
    Mix { file_type, perplexity }
}

impl Mix {
    pub(crate) fn name(&self) -> &'static str {
        self.file_type.name()
    }

    /// How much higher the perplexity is than in f16: 0.028 is 2.8 %.
    pub(crate) fn loss(&self) -> f64 {
        self.perplexity / F16_PERPLEXITY - 1.0
    }

    /// The types that `llcuda quantize` gives the tensors of a file, in the file's order.
    ///
    /// # Errors
    /// Why it cannot be made of this file.
    pub(crate) fn types(&self, gguf: &Gguf) -> Result<Vec<GgmlType>, String> {
        let options = Options { allow_requantize: true, ..Options::new(self.file_type) };
        let plan = Plan::new(gguf, &options).map_err(|error| error.to_string())?;
        Ok(plan.tensors.iter().map(|tensor| tensor.to).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::MIXES;

    #[test]
    fn smaller_mixes_lose_more() {
        assert!(MIXES.windows(2).all(|pair| pair[0].loss() < pair[1].loss()));
        let q4_k_m = MIXES.iter().find(|mix| mix.name() == "Q4_K_M").unwrap();
        assert!((q4_k_m.loss() - 0.0279).abs() < 1e-4);
    }
}
