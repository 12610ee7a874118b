//! Folders of models made from a description: weights follow from their tensors' names, so that only what the reference
//! made of them is stored, as digests. `tests/data/convert/README.md` tells the format.

use std::{
    fs,
    path::{Path, PathBuf},
};

use convert::safetensors::{Dtype, OutTensor, write};
use gguf::{Array, Gguf, Value, ValueType};
use serde_json::{Map, Value as Json, json};

pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/convert")
}

fn read(path: &Path) -> Json {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A model's folder as it is described, and what it becomes.
pub(crate) struct Description {
    pub(crate) name: String,
    json: Json,
}

impl Description {
    pub(crate) fn read(path: &Path) -> Self {
        Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), json: read(path) }
    }

    /// All descriptions of a folder of the test data, by name.
    pub(crate) fn all(folder: &str) -> Vec<Self> {
        let entries = fs::read_dir(data().join(folder)).unwrap();
        let mut paths: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The same with another text in its description, as a broken folder may have it.
    pub(crate) fn with(&self, from: &str, to: &str) -> Self {
        let text = self.json.to_string();
        assert!(text.contains(from), "{} has no {from}", self.name);
        Self { name: self.name.clone(), json: serde_json::from_str(&text.replace(from, to)).unwrap() }
    }

    /// The names of tensors and their shapes.
    pub(crate) fn shapes(&self) -> Vec<(String, Vec<u64>)> {
        let lists = self.json["tensors"].as_object().unwrap().values();
        let specs = lists.flat_map(|list| list.as_object().unwrap());
        let shape = |spec: &Json| serde_json::from_value(spec.get("shape").unwrap_or(spec).clone()).unwrap();
        specs.map(|(name, spec)| (name.clone(), shape(spec))).collect()
    }

    /// The same with another shape of a tensor.
    pub(crate) fn with_shape(&self, name: &str, shape: &[u64]) -> Self {
        let mut json = self.json.clone();
        for list in json["tensors"].as_object_mut().unwrap().values_mut() {
            match list.get_mut(name) {
                Some(spec) if spec.is_object() => spec["shape"] = json!(shape),
                Some(spec) => *spec = json!(shape),
                None => {}
            }
        }
        Self { name: self.name.clone(), json }
    }

    pub(crate) fn out_type(&self) -> &str {
        self.json["out_type"].as_str().unwrap()
    }

    /// Writes the folder of this name into `parent`.
    pub(crate) fn write(&self, parent: &Path) -> PathBuf {
        let folder = parent.join(&self.name);
        fs::create_dir(&folder).unwrap();
        for name in ["config", "generation_config", "tokenizer_config"] {
            if let Some(json) = self.json.get(name) {
                fs::write(folder.join(format!("{name}.json")), json.to_string()).unwrap();
            }
        }
        for (name, json) in self.json.get("files").and_then(Json::as_object).into_iter().flatten() {
            fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
            fs::write(folder.join(name), json.to_string()).unwrap();
        }
        for (name, source) in self.json.get("copied").and_then(Json::as_object).into_iter().flatten() {
            fs::copy(data().join(source.as_str().unwrap()), folder.join(name)).unwrap();
        }
        self.write_tokenizer(&folder);
        write_tensors(&folder.join("model.safetensors"), self.json["tensors"].as_object().unwrap());
        folder
    }

    /// A byte-level vocabulary with the description's rules around it, or a SentencePiece model.
    fn write_tokenizer(&self, folder: &Path) {
        let Some(rules) = self.json.get("tokenizer").and_then(Json::as_object) else {
            fs::copy(data().join("tiny-gemma3/tokenizer.model"), folder.join("tokenizer.model")).unwrap();
            return;
        };
        let mut model = rules.get("model").and_then(Json::as_object).cloned().unwrap_or_default();
        if !model.contains_key("vocab") {
            model.extend(read(&data().join("vocabulary.json")).as_object().unwrap().clone());
            model.insert("type".to_owned(), json!("BPE"));
        }
        let mut tokenizer = json!({"version": "1.0", "decoder": {"type": "ByteLevel"}}).as_object().unwrap().clone();
        tokenizer.extend(rules.clone());
        tokenizer.insert("model".to_owned(), Json::Object(model));
        fs::write(folder.join("tokenizer.json"), Json::Object(tokenizer).to_string()).unwrap();
    }

    /// What differs from the expected keys and tensors, in words.
    pub(crate) fn differences(&self, found: &Gguf) -> Vec<String> {
        let mut wrong = Vec::new();
        let metadata = found.metadata();
        let keys = metadata.iter().map(|(k, v)| (k.to_owned(), described(metadata.value_type(k).unwrap(), v)));
        compare("key", &self.json["expected"]["keys"], keys.collect(), &mut wrong);
        let tensors = found.tensors().iter().map(|t| {
            (t.name.clone(), json!([format!("{:?}", t.ggml_type), t.shape, format!("{:016x}", fnv(found.data(t)))]))
        });
        compare("tensor", &self.json["expected"]["tensors"], tensors.collect(), &mut wrong);
        wrong
    }
}

fn compare(kind: &str, expected: &Json, found: Map<String, Json>, wrong: &mut Vec<String>) {
    let expected = expected.as_object().unwrap();
    for (name, value) in expected {
        match found.get(name) {
            Some(found) if found == value => {}
            found => wrong.push(format!("{kind} {name}: {} instead of {value}", found.unwrap_or(&Json::Null))),
        }
    }
    wrong.extend(found.keys().filter(|n| !expected.contains_key(*n)).map(|n| format!("{kind} {n} is not expected")));
}

/// A value as descriptions have it: its type, and itself or its length and digest.
fn described(value_type: ValueType, value: &Value) -> Json {
    let type_name = match value_type {
        ValueType::U8 => "UINT8",
        ValueType::U16 => "UINT16",
        ValueType::U32 => "UINT32",
        ValueType::U64 => "UINT64",
        ValueType::I32 => "INT32",
        ValueType::I64 => "INT64",
        ValueType::F32 => "FLOAT32",
        ValueType::Bool => "BOOL",
        ValueType::String => "STRING",
        other => panic!("a value of type {other:?}"),
    };
    let digest = |len: usize, bytes: Vec<u8>| json!([type_name, len, format!("{:016x}", fnv(&bytes))]);
    match value {
        Value::Uint(x) => json!([type_name, x]),
        Value::Int(x) => json!([type_name, x]),
        Value::Float(x) => json!([type_name, x]),
        Value::Bool(x) => json!([type_name, x]),
        Value::String(x) => json!([type_name, x]),
        Value::Array(Array::String(list)) => {
            digest(list.len(), list.iter().flat_map(|s| s.bytes().chain([0])).collect())
        }
        Value::Array(Array::Uint(list)) => digest(list.len(), list.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Value::Array(Array::Int(list)) => digest(list.len(), list.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Value::Array(Array::Float(list)) => digest(list.len(), list.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Value::Array(Array::Bool(list)) => digest(list.len(), list.iter().map(|x| u8::from(*x)).collect()),
        other => panic!("a value like {other:?}"),
    }
}

fn write_tensors(path: &Path, by_dtype: &Map<String, Json>) {
    let (mut tensors, mut contents) = (Vec::new(), Vec::new());
    for (dtype_name, list) in by_dtype {
        for (name, spec) in list.as_object().unwrap() {
            let dtype = Dtype::from_name(dtype_name).unwrap_or_else(|| panic!("{dtype_name}"));
            let shape = spec.get("shape").unwrap_or(spec).as_array().unwrap();
            let shape: Vec<usize> = shape.iter().map(|d| d.as_u64().unwrap() as usize).collect();
            let len = shape.iter().product();
            contents.push(match spec.get("values").and_then(Json::as_array) {
                Some(values) => values.iter().cycle().take(len).flat_map(|v| number(dtype, v)).collect(),
                None => elements(dtype, name, len),
            });
            tensors.push(OutTensor { name: name.clone(), dtype, shape });
        }
    }
    write(path, &tensors, |idx| Ok(contents[idx].clone())).unwrap();
}

fn number(dtype: Dtype, value: &Json) -> Vec<u8> {
    match dtype {
        Dtype::F32 => (value.as_f64().unwrap() as f32).to_le_bytes().to_vec(),
        Dtype::I32 => (value.as_i64().unwrap() as i32).to_le_bytes().to_vec(),
        Dtype::I64 => value.as_i64().unwrap().to_le_bytes().to_vec(),
        _ => panic!("values of type {}", dtype.name()),
    }
}

/// Weights are signed bytes over 256, which all float types hold; integers and 8-bit floats are any finite ones.
fn elements(dtype: Dtype, name: &str, len: usize) -> Vec<u8> {
    let seed = fnv(name.as_bytes());
    (0..len as u64)
        .flat_map(|i| element(dtype, split_mix(seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15)))))
        .collect()
}

fn element(dtype: Dtype, bits: u64) -> Vec<u8> {
    let byte = bits as u8;
    let weight = f32::from(byte as i8) / 256.0;
    match dtype {
        Dtype::F32 => weight.to_le_bytes().to_vec(),
        Dtype::Bf16 => ((weight.to_bits() >> 16) as u16).to_le_bytes().to_vec(),
        Dtype::F16 => quant::f32_to_f16(weight).to_le_bytes().to_vec(),
        Dtype::I32 => (bits as u32).to_le_bytes().to_vec(),
        Dtype::F8_E4M3 if byte & 0x7f == 0x7f => vec![byte ^ 1],
        Dtype::F8_E5M2 if byte & 0x7c == 0x7c => vec![byte ^ 0x40],
        Dtype::F8_E8M0 => vec![byte % 16 + 120],
        Dtype::U8 | Dtype::I8 | Dtype::F8_E4M3 | Dtype::F8_E5M2 => vec![byte],
        _ => panic!("elements of type {}", dtype.name()),
    }
}

/// The finalizer of SplitMix64.
fn split_mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// FNV-1a of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}
