//! Adapters in GGUF: pairs `NAME.lora_a` and `NAME.lora_b`.

use std::{path::Path, sync::Arc};

use gguf::Gguf;

use super::{Change, Effect, low_rank::LowRank};
use crate::{ConvertError, arch::Family, gguf_base, recipe::Recipe};

/// What a file changes in a model of this family.
pub(super) fn changes(path: &Path, family: &Family, scale: f32) -> Result<Vec<Change>, ConvertError> {
    let gguf = Arc::new(Gguf::open(path)?);
    let metadata = gguf.metadata();
    let is_adapter = metadata.str("general.type")? == Some("adapter");
    if !is_adapter || metadata.str("adapter.type")?.is_some_and(|t| t != "lora") {
        return Err(ConvertError::invalid(path, "is no LoRA adapter (its `general.type` is not `adapter`)"));
    }
    if let Some(arch) = metadata.str("general.architecture")?.filter(|a| *a != family.arch) {
        let what = format!("is an adapter for `{arch}`, but the base is `{}`", family.arch);
        return Err(ConvertError::invalid(path, what));
    }
    let alpha = metadata.float("adapter.lora.alpha")?.unwrap_or(0.0);
    let tensor = |name: String| gguf.tensor(&name).map(|info| gguf_base::tensor(&gguf, info));
    let mut changes = Vec::new();
    for info in gguf.tensors() {
        if let Some(name) = info.name.strip_suffix(".lora_a") {
            let (a, b) = (gguf_base::tensor(&gguf, info)?, tensor(format!("{name}.lora_b")).transpose()?);
            let b = b.ok_or_else(|| ConvertError::invalid(path, format!("has no `{name}.lora_b`")))?;
            // Of embeddings the first factor is stored the other way around.
            let a = if name == "token_embd.weight" { a.transposed()? } else { a };
            let mut product = LowRank::new(name, &a, &b)?;
            if name == "token_embd.weight" {
                product = product.transposed();
            }
            product.scale = if alpha == 0.0 { scale } else { scale * alpha / product.rank as f32 };
            let delta = Recipe::rename(name.to_owned(), product.into_tensor(name));
            changes.push(Change { name: name.to_owned(), effect: Effect::Add(delta) });
        } else if !info.name.ends_with(".lora_b") {
            let replaced = Recipe::rename(info.name.clone(), gguf_base::tensor(&gguf, info)?);
            changes.push(Change { name: info.name.clone(), effect: Effect::Replace(replaced) });
        }
    }
    Ok(changes)
}
