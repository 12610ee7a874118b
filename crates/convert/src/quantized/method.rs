//! What `quantization_config` in config.json says.

use serde_json::Value;

use super::grouped::{Layout, Zeros};
use crate::{ConvertError, json::Json};

/// How a checkpoint's weights are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// As they are, or in a format that is known by the names of its parts: bitsandbytes' 4 bits, MXFP4.
    Plain,
    /// 8-bit floats or integers with a scale for a tensor, a row, or a block of `[rows, columns]`.
    Scaled { block: Option<[usize; 2]> },
    /// compressed-tensors' integers in words of 32 bits, along rows.
    Packed { bits: u32 },
    /// GPTQ's and AWQ's integers in words of 32 bits, inputs first.
    Grouped(Layout),
}

/// `quantization_config`, with errors that name what is in it.
struct Quantization<'a> {
    json: &'a Json,
    object: &'a Value,
    method: &'a str,
}

impl Method {
    pub(super) fn of(config: &Json) -> Result<Self, ConvertError> {
        let Some(object) = config.get("quantization_config") else { return Ok(Self::Plain) };
        let Some(method) = object.get("quant_method").and_then(Value::as_str) else { return Ok(Self::Plain) };
        let quantization = Quantization { json: config, object, method };
        match method {
            "bitsandbytes" if object.get("load_in_8bit").and_then(Value::as_bool) == Some(true) => {
                Ok(Self::Scaled { block: None })
            }
            "bitsandbytes" | "mxfp4" => Ok(Self::Plain),
            "fp8" | "fbgemm_fp8" => Ok(Self::Scaled { block: quantization.block(object.get("weight_block_size"))? }),
            "modelopt" => match quantization.str("quant_algo") {
                Some("FP8") => Ok(Self::Scaled { block: None }),
                other => Err(quantization.unsupported(other.unwrap_or("no `quant_algo`"))),
            },
            "compressed-tensors" => quantization.compressed_tensors(),
            "gptq" => quantization.gptq(),
            "awq" => quantization.awq(),
            _ => Err(quantization.unsupported(method)),
        }
    }
}

impl Quantization<'_> {
    fn str(&self, key: &str) -> Option<&str> {
        self.object.get(key).and_then(Value::as_str)
    }

    /// The bits of a code, which must fill words of 32.
    fn bits(&self, object: &Value, key: &str, allowed: &[u64]) -> Result<u32, ConvertError> {
        let bits = object.get(key).and_then(Value::as_u64);
        match bits.filter(|bits| allowed.contains(bits)) {
            Some(bits) => Ok(bits as u32),
            None => Err(self.unsupported(&format!("`{key}` {}", bits.map_or("missing".to_owned(), |b| b.to_string())))),
        }
    }

    /// `[rows, columns]`, or `"128x128"`.
    fn block(&self, block: Option<&Value>) -> Result<Option<[usize; 2]>, ConvertError> {
        let sides: Option<Vec<usize>> = match block.filter(|b| !b.is_null()) {
            None => return Ok(None),
            Some(Value::String(text)) => text.split('x').map(|side| side.parse().ok()).collect(),
            Some(list) => list.as_array().and_then(|l| l.iter().map(|n| Some(n.as_u64()? as usize)).collect()),
        };
        let sides: Option<[usize; 2]> = sides.and_then(|s| s.try_into().ok());
        let sides = sides.filter(|s: &[usize; 2]| !s.contains(&0));
        sides.map(Some).ok_or_else(|| self.json.wrong("quantization_config", "blocks of two positive sides"))
    }

    fn compressed_tensors(&self) -> Result<Method, ConvertError> {
        let groups = self.object.get("config_groups").and_then(Value::as_object);
        let groups: Vec<&Value> = groups.into_iter().flat_map(|g| g.values()).collect();
        let ([group], Some(format)) = (groups.as_slice(), self.str("format")) else {
            return Err(self.unsupported(&format!("{} config groups", groups.len())));
        };
        let weights = group.get("weights").unwrap_or(&Value::Null);
        match format {
            "float-quantized" | "int-quantized" | "naive-quantized" => {
                Ok(Method::Scaled { block: self.block(weights.get("block_structure"))? })
            }
            "pack-quantized" => Ok(Method::Packed { bits: self.bits(weights, "num_bits", &[2, 4, 8])? }),
            _ => Err(self.unsupported(format)),
        }
    }

    fn gptq(&self) -> Result<Method, ConvertError> {
        let zeros = match self.str("checkpoint_format").unwrap_or("gptq") {
            "gptq" => Zeros::LessOne,
            "gptq_v2" => Zeros::AsTheyAre,
            other => return Err(self.unsupported(other)),
        };
        Ok(Method::Grouped(Layout::Gptq { bits: self.bits(self.object, "bits", &[2, 4, 8])?, zeros }))
    }

    fn awq(&self) -> Result<Method, ConvertError> {
        self.bits(self.object, "bits", &[4])?;
        match self.str("version").unwrap_or("gemm").to_ascii_lowercase().as_str() {
            "gemm" => Ok(Method::Grouped(Layout::Awq)),
            other => Err(self.unsupported(&format!("version `{other}`"))),
        }
    }

    fn unsupported(&self, what: &str) -> ConvertError {
        let with = if what == self.method { String::new() } else { format!(" ({what})") };
        ConvertError::Unsupported(format!(
            "the checkpoint is quantized with `{}`{with}, which is not read; bitsandbytes, MXFP4, FP8, \
             compressed-tensors, GPTQ and AWQ are: convert the 16-bit original instead",
            self.method
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Layout, Method, Zeros};
    use crate::json::Json;

    fn method(quantization: Value) -> Result<Method, String> {
        let value = json!({ "quantization_config": quantization });
        Method::of(&Json { path: "config.json".into(), value }).map_err(|e| e.to_string())
    }

    fn compressed(format: &str, weights: Value) -> Value {
        json!({"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": {"weights": weights}}})
    }

    #[test]
    fn methods_are_told_apart() {
        let scaled = |block| Ok(Method::Scaled { block });
        let cases = [
            (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), Ok(Method::Plain)),
            (json!({"quant_method": "bitsandbytes", "load_in_8bit": true}), scaled(None)),
            (json!({"quant_method": "fp8", "weight_block_size": [128, 64]}), scaled(Some([128, 64]))),
            (json!({"quant_method": "fp8", "weight_block_size": null}), scaled(None)),
            (json!({"quant_method": "modelopt", "quant_algo": "FP8"}), scaled(None)),
            (compressed("float-quantized", json!({"strategy": "channel"})), scaled(None)),
            (compressed("float-quantized", json!({"block_structure": "128x128"})), scaled(Some([128, 128]))),
            (compressed("pack-quantized", json!({"num_bits": 4, "group_size": 32})), Ok(Method::Packed { bits: 4 })),
            (
                json!({"quant_method": "gptq", "bits": 4}),
                Ok(Method::Grouped(Layout::Gptq { bits: 4, zeros: Zeros::LessOne })),
            ),
            (
                json!({"quant_method": "gptq", "bits": 8, "checkpoint_format": "gptq_v2"}),
                Ok(Method::Grouped(Layout::Gptq { bits: 8, zeros: Zeros::AsTheyAre })),
            ),
            (json!({"quant_method": "awq", "bits": 4, "version": "GEMM"}), Ok(Method::Grouped(Layout::Awq))),
        ];
        for (quantization, expected) in cases {
            assert_eq!(method(quantization.clone()), expected, "{quantization}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        let cases = [
            (json!({"quant_method": "aqlm"}), "quantized with `aqlm`, which"),
            (json!({"quant_method": "modelopt", "quant_algo": "NVFP4"}), "`modelopt` (NVFP4)"),
            (json!({"quant_method": "gptq", "bits": 3}), "`gptq` (`bits` 3)"),
            (json!({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}), "`gptq` (marlin)"),
            (json!({"quant_method": "awq", "bits": 4, "version": "gemv"}), "`awq` (version `gemv`)"),
            (compressed("nvfp4-pack-quantized", json!({})), "(nvfp4-pack-quantized)"),
            (compressed("pack-quantized", json!({"num_bits": 3})), "(`num_bits` 3)"),
            (json!({"quant_method": "compressed-tensors", "format": "x"}), "(0 config groups)"),
            (json!({"quant_method": "fp8", "weight_block_size": [128]}), "blocks of two positive sides"),
        ];
        for (quantization, expected) in cases {
            let error = method(quantization).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
