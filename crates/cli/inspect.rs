//! `llcuda inspect`: what a GGUF file holds.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::Context;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use gguf::{Array, Gguf, Value};
use serde_json::{Value as Json, json};

use crate::numbers::{bytes, parameters, thousands};

/// Elements of an array that are shown.
const SHOWN_ELEMENTS: usize = 6;
/// Characters of a string that are shown.
const SHOWN_CHARS: usize = 90;

/// What to show.
#[derive(Args)]
pub(crate) struct InspectArgs {
    /// The GGUF file; the first one of a split
    file: PathBuf,
    /// Print one JSON object, with every array whole
    #[arg(long)]
    json: bool,
}

/// Prints the file as tables or as JSON.
pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let gguf = Gguf::open(&args.file).with_context(|| format!("cannot inspect `{}`", args.file.display()))?;
    let text = if args.json { format!("{:#}\n", to_json(&gguf)) } else { to_tables(&gguf) };
    write_out(&text)
}

/// Writes to standard output; a reader that left (`| head`) is not an error.
pub(crate) fn write_out(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

fn to_json(gguf: &Gguf) -> Json {
    let metadata: serde_json::Map<String, Json> =
        gguf.metadata().iter().map(|(k, v)| (k.to_owned(), value_json(v))).collect();
    let tensors: Vec<Json> = gguf
        .tensors()
        .iter()
        .map(|t| json!({ "name": t.name, "shape": t.shape, "type": t.ggml_type.name(), "bytes": t.num_bytes }))
        .collect();
    json!({ "version": gguf.version(), "file_bytes": gguf.file_bytes(), "metadata": metadata, "tensors": tensors })
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Uint(n) => json!(n),
        Value::Int(n) => json!(n),
        Value::Float(x) => json!(x),
        Value::Bool(b) => json!(b),
        Value::String(s) => json!(s),
        Value::Array(a) => array_json(a),
    }
}

fn array_json(array: &Array) -> Json {
    match array {
        Array::Uint(v) => json!(v),
        Array::Int(v) => json!(v),
        Array::Float(v) => json!(v),
        Array::Bool(v) => json!(v),
        Array::String(v) => json!(v),
        Array::Array(v) => Json::Array(v.iter().map(array_json).collect()),
    }
}

fn to_tables(gguf: &Gguf) -> String {
    let num_weights: u64 = gguf.tensors().iter().map(|t| t.num_weights() as u64).sum();
    let bits = 8.0 * gguf.weight_bytes() as f64 / num_weights.max(1) as f64;
    let mut metadata = table(&["key", "value"]);
    for (key, value) in gguf.metadata().iter() {
        metadata.add_row(vec![key.to_owned(), shown(value)]);
    }
    let mut types = table(&["type", "tensors", "weights", "bytes"]);
    for (name, (tensors, weights, size)) in by_type(gguf) {
        types.add_row(vec![name.to_owned(), tensors.to_string(), parameters(weights), bytes(size)]);
    }
    let mut tensors = table(&["tensor", "shape", "type", "bytes"]);
    for t in gguf.tensors() {
        let shape = t.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        tensors.add_row(vec![t.name.clone(), shape, t.ggml_type.name().to_owned(), bytes(t.num_bytes as u64)]);
    }
    for (table, columns) in [(&mut types, 1..4), (&mut tensors, 3..4)] {
        columns.filter_map(|i| table.column_mut(i).map(|c| c.set_cell_alignment(CellAlignment::Right))).count();
    }
    let head = format!(
        "GGUF v{}, {} in {} tensors, {} parameters, {bits:.2} bits per weight",
        gguf.version(),
        bytes(gguf.file_bytes()),
        thousands(gguf.tensors().len() as u64),
        parameters(num_weights),
    );
    format!("{head}\n\n{metadata}\n\n{types}\n\n{tensors}\n")
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.iter().copied());
    table
}

/// Tensors, weights and bytes of each type.
fn by_type(gguf: &Gguf) -> BTreeMap<&'static str, (usize, u64, u64)> {
    let mut types = BTreeMap::new();
    for t in gguf.tensors() {
        let (tensors, weights, size) = types.entry(t.ggml_type.name()).or_insert((0, 0, 0));
        *tensors += 1;
        *weights += t.num_weights() as u64;
        *size += t.num_bytes as u64;
    }
    types
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => shortened(&format!("{s:?}")),
        Value::Array(a) => shown_array(a),
        other => value_json(other).to_string(),
    }
}

fn shown_array(array: &Array) -> String {
    let Json::Array(elements) = array_json(array) else { return String::new() };
    let first: Vec<String> = elements.iter().take(SHOWN_ELEMENTS).map(|e| shortened(&e.to_string())).collect();
    let more = if elements.len() > SHOWN_ELEMENTS {
        format!(", ... {} in all", thousands(elements.len() as u64))
    } else {
        String::new()
    };
    format!("[{}{more}]", first.join(", "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
