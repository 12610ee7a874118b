//! Ways in which model files lie.

use gguf::{Array, Builder, GgmlType, Gguf, Value};

/// xorshift64*: the same mutations on every machine.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// A model file in pieces.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) values: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<usize>, GgmlType, Vec<u8>)>,
    /// What was done to it.
    pub(crate) changes: Vec<String>,
}

const SIZES: [u64; 14] = [0, 1, 2, 3, 5, 8, 31, 64, 255, 1 << 12, 1 << 20, 1 << 24, 1 << 32, u64::MAX];
const FLOATS: [f64; 9] = [0.0, -1.0, 1e-30, 1e30, 0.5, 1e308, f64::INFINITY, f64::NAN, f64::NEG_INFINITY];
const TYPES: [GgmlType; 8] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::Q8_0,
    GgmlType::Q4_K,
    GgmlType::NVFP4,
    GgmlType::IQ2_XS,
    GgmlType::I8,
    GgmlType::F64,
];

impl Model {
    pub(crate) fn of(gguf: &Gguf) -> Self {
        let tensors = gguf.tensors().iter();
        Self {
            values: gguf.metadata().iter().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            tensors: tensors.map(|t| (t.name.clone(), t.shape.clone(), t.ggml_type, gguf.data(t).to_vec())).collect(),
            changes: Vec::new(),
        }
    }

    /// The same without its tensors: a vocabulary.
    pub(crate) fn vocabulary(gguf: &Gguf) -> Self {
        Self { tensors: Vec::new(), ..Self::of(gguf) }
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut builder = Builder::new();
        for (key, value) in &self.values {
            builder = builder.value(key, value.clone());
        }
        for (name, shape, ggml_type, data) in &self.tensors {
            builder = builder.tensor(name, shape, *ggml_type, data.clone());
        }
        builder.build()
    }

    /// One change of metadata, of a tensor, or of weights.
    pub(crate) fn mutate(&mut self, random: &mut Random) {
        let change = match random.below(4) {
            _ if self.tensors.is_empty() => self.change_value(random),
            0 | 1 => self.change_value(random),
            2 => self.change_tensor(random),
            _ => self.change_weights(random),
        };
        self.changes.push(change);
    }

    fn change_value(&mut self, random: &mut Random) -> String {
        let at = random.below(self.values.len());
        if random.below(10) == 0 {
            return format!("without {}", self.values.swap_remove(at).0);
        }
        let (key, value) = &mut self.values[at];
        *value = changed(value, random);
        format!("{key} is {}", format!("{value:?}").chars().take(80).collect::<String>())
    }

    /// Another shape, type or name; the data of a sound file of that shape, so that it is not refused for its length.
    fn change_tensor(&mut self, random: &mut Random) -> String {
        let at = random.below(self.tensors.len());
        if random.below(10) == 0 {
            return format!("without {}", self.tensors.swap_remove(at).0);
        }
        let other = self.tensors[random.below(self.tensors.len())].clone();
        let (name, shape, ggml_type, data) = &mut self.tensors[at];
        match random.below(4) {
            0 => {
                let dim = random.below(shape.len());
                shape[dim] = random.pick(&[0, 1, 2, 3, 16, 31, 32, 33, 64, 256]);
            }
            1 => shape.push(random.below(3)),
            2 => *ggml_type = random.pick(&TYPES),
            _ => {
                (*shape, *ggml_type, *data) = (other.1, other.2, other.3);
                return format!("{name} is a copy of {}", other.0);
            }
        }
        let num_weights: usize = shape.iter().product();
        let num_bytes = num_weights.div_ceil(ggml_type.block_len()) * ggml_type.block_bytes();
        data.resize(num_bytes.min(1 << 20), 0x3c);
        format!("{name} is {ggml_type} {shape:?}")
    }

    fn change_weights(&mut self, random: &mut Random) -> String {
        let at = random.below(self.tensors.len());
        let (name, _, _, data) = &mut self.tensors[at];
        let byte = random.pick(&[0, 0x7f, 0x80, 0xff]);
        let start = random.below(data.len());
        let end = (start + 1 + random.below(64)).min(data.len());
        data[start..end].fill(byte);
        format!("{name} has {byte} from {start} to {end}")
    }
}

/// Another value, most often of the same type.
fn changed(value: &Value, random: &mut Random) -> Value {
    match (random.below(8), value) {
        (0, _) => Value::String("x".repeat(random.below(3))),
        (1, _) => Value::Array(Array::Uint(vec![random.pick(&SIZES); random.below(9)])),
        (2, _) => Value::Int(random.pick(&[-1, i64::MIN, 0, 7])),
        (_, Value::Uint(n)) if random.below(2) == 0 => Value::Uint(n.wrapping_add(random.pick(&[1, 2, u64::MAX]))),
        (_, Value::Uint(_)) => Value::Uint(random.pick(&SIZES)),
        (_, Value::Int(_)) => Value::Int(random.pick(&[-2, -1, 0, 1, 1 << 31])),
        (_, Value::Float(_)) => Value::Float(random.pick(&FLOATS)),
        (_, Value::Bool(flag)) => Value::Bool(!flag),
        (_, Value::String(text)) => Value::String(mixed(text, random)),
        (_, Value::Array(array)) => Value::Array(changed_array(array, random)),
    }
}

fn mixed(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = random.below(chars.len());
    match random.below(3) {
        0 => chars.truncate(at),
        1 => chars.insert(at.min(chars.len()), random.pick(&['{', '%', '}', '\0', 'é', '🙂', 'a'])),
        _ => chars.extend_from_within(..),
    }
    chars.into_iter().collect()
}

/// An element or the length is another.
fn changed_array(array: &Array, random: &mut Random) -> Array {
    fn change<T: Clone>(items: &[T], random: &mut Random, item: impl FnOnce(&mut Random) -> T) -> Vec<T> {
        let (mut items, at) = (items.to_vec(), random.below(items.len()));
        match random.below(4) {
            0 => items.truncate(at),
            1 => items.extend_from_within(..),
            _ if items.is_empty() => {}
            _ => items[at] = item(random),
        }
        items
    }
    match array {
        Array::Uint(items) => Array::Uint(change(items, random, |random| random.pick(&SIZES))),
        Array::Int(items) => Array::Int(change(items, random, |random| random.pick(&[-1, 0, 6, 99, i64::MAX]))),
        Array::Float(items) => Array::Float(change(items, random, |random| random.pick(&FLOATS))),
        Array::Bool(items) => Array::Bool(change(items, random, |random| random.below(2) == 0)),
        Array::String(items) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            let item = |random: &mut Random| random.pick(&["", "<1>", "a", "é", "\0", "<0x41>"]).to_owned();
            Array::String(change(&items, random, item).into_iter().collect())
        }
        Array::Array(_) => Array::Bool(Vec::new()),
    }
}

/// Flipped, overwritten, cut or repeated bytes, most often of the header.
pub(crate) fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    let header = bytes.len().min(4096);
    let at = if random.below(4) == 0 { random.below(bytes.len()) } else { random.below(header) };
    match random.below(5) {
        0 | 1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes[at] = random.next() as u8,
        3 => bytes.truncate(at),
        _ => {
            let length = random.pick(&SIZES).to_le_bytes();
            let len = length.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&length[..len]);
        }
    }
}
