//! A file as tables for people.

use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use gguf::{Array, Gguf, Value};
use serde_json::Value as Json;

use super::{adapter::Adapter, json, mix::Mix};
use crate::numbers::{bytes, parameters, thousands};

/// Elements of an array that are shown.
const SHOWN_ELEMENTS: usize = 6;
/// Characters of a string that are shown.
const SHOWN_CHARS: usize = 90;
/// Bytes that keys and values of half precision take each.
const KV_BYTES: usize = 2;

/// What the file is, its metadata, its types and its tensors.
pub(crate) fn of(gguf: &Gguf) -> String {
    let mix = Mix::of(gguf);
    let about = match Adapter::of(gguf) {
        Some(adapter) => about_adapter(&adapter),
        None => about_model(gguf),
    };
    let parts =
        [head(gguf, &mix), about, metadata(gguf).to_string(), types(&mix).to_string(), tensors(gguf).to_string()];
    parts.join("\n\n") + "\n"
}

fn head(gguf: &Gguf, mix: &Mix) -> String {
    let files = match gguf.num_files() {
        1 => String::new(),
        n => format!(" in {n} files"),
    };
    format!(
        "GGUF v{}, {}{files}, {} tensors, {} parameters, {:.2} bits per weight",
        gguf.version(),
        bytes(gguf.file_bytes()),
        thousands(gguf.tensors().len() as u64),
        parameters(mix.num_weights),
        mix.bits_per_weight(),
    )
}

/// How the model computes, or why it cannot be served.
fn about_model(gguf: &Gguf) -> String {
    let spec = match model::decoder_spec(gguf) {
        Ok(spec) => spec,
        Err(error) => return format!("not served by llcuda: {error}"),
    };
    let Some(layer) = spec.layers.first() else { return "a model without layers".to_owned() };
    let attention = &layer.attention;
    let kv_bytes: usize = spec.layers.iter().map(|l| 2 * l.attention.kv_size() * KV_BYTES).sum();
    let kind = if spec.is_encoder() { " (encoder)" } else { "" };
    let pooling = spec.pooling.map_or_else(String::new, |pooling| format!(", pooling {}", pooling.name()));
    format!(
        "{}{kind}: {} layers, hidden size {}, {} heads and {} for keys and values of {} each, vocabulary {}, context {}, {} of f16 keys and values a token{pooling}",
        spec.arch,
        spec.layers.len(),
        thousands(spec.hidden_size as u64),
        attention.num_heads,
        attention.num_kv_heads,
        attention.head_dim,
        thousands(spec.vocab_size as u64),
        thousands(spec.context_length as u64),
        bytes(kv_bytes as u64),
    )
}

fn about_adapter(adapter: &Adapter) -> String {
    let Adapter { alpha, ranks, targets, base, halves } = adapter;
    let ranks = match ranks {
        None => "no pair of matrices".to_owned(),
        Some((least, most)) if least == most => format!("rank {least}"),
        Some((least, most)) => format!("ranks {least} to {most}"),
    };
    let alpha = alpha.map_or_else(|| "no alpha".to_owned(), |alpha| format!("alpha {alpha}"));
    let scale = adapter.scale().map_or_else(String::new, |scale| format!(", scale {scale}"));
    let base = base.as_ref().map_or_else(String::new, |base| format!(" for {base}"));
    let targets: Vec<String> = targets.iter().map(|(kind, count)| format!("{count} x {kind}")).collect();
    let halves = match halves.first() {
        None => String::new(),
        Some(first) => format!("\n{} matrices lack their other half, the first is `{first}`", halves.len()),
    };
    format!("LoRA adapter{base}, {ranks}, {alpha}{scale}: {}{halves}", targets.join(", "))
}

fn metadata(gguf: &Gguf) -> Table {
    let mut table = table(&["key", "value"], 2..2);
    for (key, value) in gguf.metadata().iter() {
        table.add_row([key.to_owned(), shown(value)]);
    }
    table
}

fn types(mix: &Mix) -> Table {
    let mut table = table(&["type", "tensors", "weights", "bytes", "of bytes", "bits per weight"], 1..6);
    for share in &mix.types {
        table.add_row([
            share.ggml_type.name().to_owned(),
            thousands(share.num_tensors),
            parameters(share.num_weights),
            bytes(share.num_bytes),
            format!("{:.1} %", 100.0 * share.num_bytes as f64 / mix.num_bytes.max(1) as f64),
            format!("{:.2}", share.bits_per_weight()),
        ]);
    }
    table
}

fn tensors(gguf: &Gguf) -> Table {
    let is_split = gguf.num_files() > 1;
    let mut header = vec!["tensor", "shape", "type", "bytes"];
    header.extend(is_split.then_some("file"));
    let mut table = table(&header, 3..header.len());
    for t in gguf.tensors() {
        let shape = t.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        let mut row = vec![t.name.clone(), shape, t.ggml_type.name().to_owned(), bytes(t.num_bytes as u64)];
        row.extend(is_split.then(|| (gguf.file_of(t) + 1).to_string()));
        table.add_row(row);
    }
    table
}

/// An empty table whose columns of numbers lie to the right.
fn table(header: &[&str], numbers: std::ops::Range<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header.iter().copied());
    for i in numbers {
        if let Some(column) = table.column_mut(i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => shortened(&format!("{s:?}")),
        Value::Array(a) => shown_array(a),
        other => json::value(other).to_string(),
    }
}

fn shown_array(array: &Array) -> String {
    let Json::Array(elements) = json::array(array) else { return String::new() };
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
