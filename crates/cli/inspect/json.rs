//! A file as one JSON object.

use gguf::{Array, Gguf, Value};
use serde_json::{Map, Value as Json, json};

use super::{adapter::Adapter, mix::Mix};

/// Everything but the weights themselves.
pub(crate) fn of(gguf: &Gguf) -> Json {
    let mix = Mix::of(gguf);
    let metadata: Map<String, Json> = gguf.metadata().iter().map(|(k, v)| (k.to_owned(), value(v))).collect();
    let types = mix.types.iter().map(|t| {
        json!({ "type": t.ggml_type.name(), "tensors": t.num_tensors, "weights": t.num_weights, "bytes": t.num_bytes,
                "bits_per_weight": t.bits_per_weight() })
    });
    let tensors = gguf.tensors().iter().map(|t| {
        json!({ "name": t.name, "shape": t.shape, "type": t.ggml_type.name(), "bytes": t.num_bytes,
                "file": gguf.file_of(t) })
    });
    json!({
        "version": gguf.version(),
        "files": gguf.num_files(),
        "file_bytes": gguf.file_bytes(),
        "parameters": mix.num_weights,
        "bits_per_weight": mix.bits_per_weight(),
        "types": types.collect::<Vec<_>>(),
        "adapter": Adapter::of(gguf).as_ref().map(adapter),
        "metadata": metadata,
        "tensors": tensors.collect::<Vec<_>>(),
    })
}

fn adapter(adapter: &Adapter) -> Json {
    json!({
        "type": "lora",
        "alpha": adapter.alpha,
        "ranks": adapter.ranks.map(|(least, most)| [least, most]),
        "scale": adapter.scale(),
        "targets": adapter.targets,
        "base": adapter.base,
        "halves": adapter.halves,
    })
}

pub(crate) fn value(value: &Value) -> Json {
    match value {
        Value::Uint(n) => json!(n),
        Value::Int(n) => json!(n),
        Value::Float(x) => json!(x),
        Value::Bool(b) => json!(b),
        Value::String(s) => json!(s),
        Value::Array(a) => array(a),
    }
}

pub(crate) fn array(values: &Array) -> Json {
    match values {
        Array::Uint(v) => json!(v),
        Array::Int(v) => json!(v),
        Array::Float(v) => json!(v),
        Array::Bool(v) => json!(v),
        Array::String(v) => v.iter().collect(),
        Array::Array(v) => Json::Array(v.iter().map(array).collect()),
    }
}
