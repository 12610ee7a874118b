//! What a LoRA adapter changes.

use std::collections::BTreeMap;

use gguf::Gguf;

const LORA_A: &str = ".lora_a";
const LORA_B: &str = ".lora_b";

/// A LoRA adapter: `W + scale * B * A` for each of its matrices.
pub(crate) struct Adapter {
    /// `adapter.lora.alpha`.
    pub(crate) alpha: Option<f32>,
    /// The smallest and largest rank of its pairs.
    pub(crate) ranks: Option<(usize, usize)>,
    /// Pairs for each kind of matrix, e.g. `attn_q.weight`.
    pub(crate) targets: BTreeMap<String, usize>,
    /// The model that it was trained for, where the file says.
    pub(crate) base: Option<String>,
    /// Matrices that lack one of their two halves.
    pub(crate) halves: Vec<String>,
}

impl Adapter {
    /// The adapter that a file holds; `None` when it holds something else.
    pub(crate) fn of(gguf: &Gguf) -> Option<Self> {
        let text = |key| gguf.metadata().str(key).ok().flatten();
        if text("general.type") != Some("adapter") && text("adapter.type") != Some("lora") {
            return None;
        }
        let mut adapter = Self {
            alpha: gguf.metadata().float("adapter.lora.alpha").ok().flatten(),
            ranks: None,
            targets: BTreeMap::new(),
            base: text("general.base_model.0.name").or_else(|| text("general.basename")).map(str::to_owned),
            halves: Vec::new(),
        };
        for tensor in gguf.tensors() {
            let (matrix, other) = match (tensor.name.strip_suffix(LORA_A), tensor.name.strip_suffix(LORA_B)) {
                (Some(matrix), _) => (matrix, LORA_B),
                (_, Some(matrix)) => (matrix, LORA_A),
                _ => continue,
            };
            if gguf.tensor(&format!("{matrix}{other}")).is_none() {
                adapter.halves.push(tensor.name.clone());
            } else if other == LORA_B {
                // A is `[rank, columns]`; GGUF lists the columns first.
                adapter.add(matrix, tensor.shape.get(1).copied().unwrap_or(1));
            }
        }
        Some(adapter)
    }

    fn add(&mut self, matrix: &str, rank: usize) {
        let (least, most) = self.ranks.unwrap_or((rank, rank));
        self.ranks = Some((least.min(rank), most.max(rank)));
        *self.targets.entry(kind(matrix)).or_insert(0) += 1;
    }

    /// What the product is multiplied with: alpha / rank, where both are one number.
    pub(crate) fn scale(&self) -> Option<f32> {
        let (least, most) = self.ranks?;
        self.alpha.filter(|_| least == most).map(|alpha| alpha / least as f32)
    }
}

/// `blk.3.attn_q.weight` is an `attn_q.weight`.
fn kind(matrix: &str) -> String {
    let rest = matrix.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    rest.filter(|(layer, _)| layer.bytes().all(|b| b.is_ascii_digit())).map_or(matrix, |(_, kind)| kind).to_owned()
}

#[cfg(test)]
mod tests {
    use gguf::{Builder, Gguf, Value};

    use super::Adapter;

    #[test]
    fn an_adapters_pairs_are_counted() {
        let file = Builder::new()
            .value("general.type", Value::String("adapter".into()))
            .value("adapter.type", Value::String("lora".into()))
            .value("adapter.lora.alpha", Value::Float(32.0))
            .tensor_f32("blk.0.attn_q.weight.lora_a", &[4, 8], &[0.0; 32])
            .tensor_f32("blk.0.attn_q.weight.lora_b", &[8, 6], &[0.0; 48])
            .tensor_f32("blk.1.attn_q.weight.lora_a", &[4, 8], &[0.0; 32])
            .tensor_f32("blk.1.attn_q.weight.lora_b", &[8, 6], &[0.0; 48])
            .tensor_f32("output.weight.lora_b", &[8, 6], &[0.0; 48]);
        let adapter = Adapter::of(&Gguf::from_bytes(file.build()).unwrap()).unwrap();
        assert_eq!((adapter.alpha, adapter.ranks, adapter.scale()), (Some(32.0), Some((8, 8)), Some(4.0)));
        assert_eq!(adapter.targets.into_iter().collect::<Vec<_>>(), [("attn_q.weight".to_owned(), 2)]);
        assert_eq!(adapter.halves, ["output.weight.lora_b"]);
        let model = Builder::new().tensor_f32("a", &[1], &[0.0]);
        assert!(Adapter::of(&Gguf::from_bytes(model.build()).unwrap()).is_none());
    }
}
