//! Leaves layers out of a model.

use std::collections::{BTreeMap, BTreeSet};

use gguf::{Array, Gguf, Metadata, Value, ValueType};

use crate::{QuantizeError, tensor_role::layer};

/// Which layers stay, and which numbers they get.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pruning {
    /// New numbers by old ones; empty when all layers stay as they are.
    numbers: BTreeMap<usize, usize>,
}

impl Pruning {
    /// Leaves out `pruned`.
    ///
    /// # Errors
    /// [`QuantizeError::Prune`] when there is no such layer, or none would stay.
    pub(crate) fn new(gguf: &Gguf, pruned: &BTreeSet<usize>) -> Result<Self, QuantizeError> {
        if pruned.is_empty() {
            return Ok(Self::default());
        }
        let all: BTreeSet<usize> = gguf.tensors().iter().filter_map(|t| layer(&t.name)).collect();
        if let Some(&missing) = pruned.difference(&all).next() {
            return Err(QuantizeError::Prune { layer: missing, num_layers: all.len() });
        }
        let numbers: BTreeMap<usize, usize> =
            all.difference(pruned).enumerate().map(|(new, &old)| (old, new)).collect();
        match (numbers.is_empty(), all.first()) {
            (true, Some(&layer)) => Err(QuantizeError::Prune { layer, num_layers: all.len() }),
            _ => Ok(Self { numbers }),
        }
    }

    /// The name that a tensor gets; `None` when it is left out.
    pub(crate) fn name(&self, name: &str) -> Option<String> {
        match layer(name) {
            Some(old) if !self.numbers.is_empty() => {
                let rest = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'))?.1;
                Some(format!("blk.{}.{rest}", self.numbers.get(&old)?))
            }
            _ => Some(name.to_owned()),
        }
    }

    /// Corrects the number of layers, and lists that have a value for each.
    pub(crate) fn apply(&self, metadata: &mut Metadata) {
        let arch = metadata.str("general.architecture").ok().flatten().map(str::to_owned);
        let Some(arch) = arch.filter(|_| !self.numbers.is_empty()) else { return };
        let count_key = format!("{arch}.block_count");
        let num_layers = metadata.uint(&count_key).ok().flatten().unwrap_or(0) as usize;
        let prefix = format!("{arch}.");
        let lists: Vec<(String, Value, Option<ValueType>)> = metadata
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix))
            .filter_map(|(key, value)| Some((key.to_owned(), self.kept(value, num_layers)?, metadata.value_type(key))))
            .collect();
        for (key, value, value_type) in lists {
            let value_type = value_type.unwrap_or_else(|| ValueType::of(&value));
            metadata.insert_as(key, value, value_type);
        }
        metadata.insert_as(count_key, Value::Uint(self.numbers.len() as u64), ValueType::U32);
    }

    /// A list of `num_layers` values without those of the layers that are left out; `None` for anything else.
    fn kept(&self, value: &Value, num_layers: usize) -> Option<Value> {
        fn pick<T: Clone>(numbers: &BTreeMap<usize, usize>, values: &[T], num_layers: usize) -> Option<Vec<T>> {
            (values.len() == num_layers).then(|| numbers.keys().filter_map(|old| values.get(*old).cloned()).collect())
        }
        let Value::Array(array) = value else { return None };
        let array = match array {
            Array::Uint(values) => Array::Uint(pick(&self.numbers, values, num_layers)?),
            Array::Int(values) => Array::Int(pick(&self.numbers, values, num_layers)?),
            Array::Float(values) => Array::Float(pick(&self.numbers, values, num_layers)?),
            Array::Bool(values) => Array::Bool(pick(&self.numbers, values, num_layers)?),
            Array::String(_) | Array::Array(_) => return None,
        };
        Some(Value::Array(array))
    }
}
