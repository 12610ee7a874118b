//! Makes a 4-bit checkpoint of a folder, which transformers loads with bitsandbytes.

use std::{fs, path::Path};

use serde_json::json;

use super::{
    FourBit, Quantized,
    encode::{Outline, check_block_size, magnitudes, offset},
};
use crate::{
    ConvertError,
    config::Config,
    safetensors::{self, Dtype, OutTensor, StoredTensor, open_folder},
};

/// How a folder is quantized.
#[derive(Clone, Copy, Debug)]
pub struct FourBitOptions {
    /// What the codes stand for.
    pub four_bit: FourBit,
    /// Weights that share a magnitude; bitsandbytes loads 64.
    pub block_size: usize,
    /// Whether the magnitudes are quantized too.
    pub nested: bool,
}

/// Where a tensor of the result comes from.
enum Source {
    /// A part of a quantized tensor.
    Part { stored: StoredTensor, part: usize },
    /// One that stays as it is.
    Stored(StoredTensor),
}

/// Quantizes the linear layers of the model in `folder` and writes the folder `out`, which must not exist. Embeddings,
/// the output and norms stay as they are. Weights are read twice, first for the mean of their magnitudes, which the header
/// of the result tells; no more than one tensor is in memory.
///
/// # Errors
/// [`ConvertError`] when the folder cannot be read, or the result cannot be written.
pub fn to_four_bit(folder: &Path, out: &Path, options: &FourBitOptions) -> Result<(), ConvertError> {
    let mut config = Config::read(folder)?;
    if config.get("quantization_config").is_some() {
        return Err(config.wrong("quantization_config", "nothing: the checkpoint is quantized already"));
    }
    let (mut tensors, mut sources) = (Vec::new(), Vec::new());
    for stored in open_folder(folder)?.into_values() {
        if !is_linear(&stored) {
            let StoredTensor { name, dtype, shape, .. } = &stored;
            tensors.push(OutTensor { name: name.clone(), dtype: *dtype, shape: shape.clone() });
            sources.push(Source::Stored(stored));
            continue;
        }
        let parts = options.outline(&stored)?;
        let part = |part| Source::Part { stored: stored.clone(), part };
        sources.extend((0..parts.len()).map(part));
        tensors.extend(parts);
    }
    let dtype = tensors.iter().find(|t| t.dtype != Dtype::U8).map_or(Dtype::F16, |t| t.dtype);
    config.value["quantization_config"] = json!({
        "quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false,
        "bnb_4bit_quant_type": options.four_bit.name(), "bnb_4bit_use_double_quant": options.nested,
        "bnb_4bit_compute_dtype": name_of(dtype), "bnb_4bit_quant_storage": "uint8",
    });
    fs::create_dir(out).map_err(ConvertError::io(out))?;
    let mut quantized: Vec<Vec<u8>> = Vec::new();
    let written = write(folder, out, &config.value, &tensors, |idx| match &sources[idx] {
        Source::Stored(stored) => stored.bytes(0, stored.len()),
        Source::Part { stored, part } => {
            // The parts of a tensor come one after the other.
            if *part == 0 {
                quantized = options.quantize(stored)?;
            }
            Ok(quantized.get_mut(*part).map(std::mem::take).unwrap_or_default())
        }
    });
    if written.is_err() {
        // The folder is ours: it did not exist before.
        let _ = fs::remove_dir_all(out);
    }
    written
}

fn write(
    folder: &Path,
    out: &Path,
    config: &serde_json::Value,
    tensors: &[OutTensor],
    data: impl FnMut(usize) -> Result<Vec<u8>, ConvertError>,
) -> Result<(), ConvertError> {
    for entry in fs::read_dir(folder).map_err(ConvertError::io(folder))? {
        let path = entry.map_err(ConvertError::io(folder))?.path();
        let name = path.file_name().unwrap_or_default();
        let is_weights = name.to_string_lossy().contains(".safetensors") || name == "config.json";
        if path.is_file() && !is_weights {
            fs::copy(&path, out.join(name)).map_err(ConvertError::io(&path))?;
        }
    }
    let path = out.join("config.json");
    fs::write(&path, format!("{config:#}\n")).map_err(ConvertError::io(&path))?;
    safetensors::write(&out.join("model.safetensors"), tensors, data)
}

impl FourBitOptions {
    /// What a tensor becomes, without its data.
    fn outline(&self, stored: &StoredTensor) -> Result<Vec<OutTensor>, ConvertError> {
        let Self { four_bit, block_size, nested } = *self;
        check_block_size(block_size)?;
        let (name, shape, dtype) = (&stored.name, &stored.shape, name_of(stored.dtype));
        let offset = if nested { Some(offset(&magnitudes(&stored.floats()?, block_size))) } else { None };
        Ok(Outline { name, shape, dtype, four_bit, block_size, offset }.tensors())
    }

    /// The data of its parts.
    fn quantize(&self, stored: &StoredTensor) -> Result<Vec<Vec<u8>>, ConvertError> {
        let Self { four_bit, block_size, nested } = *self;
        let quantized = Quantized::new(&stored.floats()?, four_bit, block_size, nested)?;
        let parts = quantized.into_parts(&stored.name, &stored.shape, name_of(stored.dtype));
        Ok(parts.into_iter().map(|(_, data)| data).collect())
    }
}

/// The matrices of layers; embeddings, the output and routers are none that bitsandbytes would quantize.
fn is_linear(tensor: &StoredTensor) -> bool {
    let is_float = matches!(tensor.dtype, Dtype::F32 | Dtype::F16 | Dtype::Bf16);
    let name = &tensor.name;
    is_float && tensor.shape.len() == 2 && name.ends_with("_proj.weight")
}

fn name_of(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::Bf16 => "bfloat16",
        Dtype::F16 => "float16",
        _ => "float32",
    }
}
