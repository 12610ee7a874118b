//! From a GGUF file to a model that serves.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::Context;
use engine::{Capacity, Engine};
use gguf::{Gguf, Metadata};
use server::{Model, ModelInfo};
use text::{ChatTemplate, Tokenizer};

use super::{
    args::{ModelArgs, ServeArgs},
    embeddings, file_type,
    summary::Summary,
    template,
};
use crate::{
    device,
    progress::{LoadBar, Work},
};

/// What the embedded model is called.
const DEMO_NAME: &str = "llcuda-demo";

/// Opens, checks and loads; the summary says what came of it.
pub(super) fn load(args: &ServeArgs) -> anyhow::Result<(Model, Summary)> {
    let (mut gguf, path) = open(&args.model)?;
    let spec = model::decoder_spec(&gguf)?;
    let metadata = text_metadata(&mut gguf);
    let gguf = Arc::new(gguf);
    let mut wanted = args.batching.wanted(args.device.default_parallel())?;
    if spec.is_encoder() {
        wanted = args.batching.wanted_of_encoder(wanted, spec.context_length);
    }
    let pooling = embeddings::pooling(&args.embeddings, &spec)?;
    // The tokenizer takes as long as the weights of a small model.
    let (text, loaded) = thread::scope(|scope| {
        let text = scope.spawn(|| text(&args.model, metadata));
        let loaded = device::load(Arc::clone(&gguf), &args.device, &wanted, &LoadBar::new(Work::Loading));
        (text.join(), loaded)
    });
    let (tokenizer, template) = text.map_err(|_| anyhow::anyhow!("the tokenizer's thread panicked"))??;
    let loaded = loaded?;
    let engine = Engine::start(loaded.executor, args.batching.engine_config())?;
    let (id, aliases) = names(&args.model, path.as_deref());
    let info = ModelInfo {
        id,
        aliases,
        path: path.map_or_else(|| "(embedded)".to_owned(), |path| path.display().to_string()),
        ftype: file_type::name(&gguf),
        num_params: gguf.tensors().iter().map(|t| t.num_weights() as u64).sum(),
        weight_bytes: gguf.weight_bytes(),
        train_context: spec.context_length,
        hidden_size: spec.hidden_size,
        chat_template: template.source().to_owned(),
    };
    let Capacity { pools, max_num_seqs, max_model_len, .. } = engine.capacity();
    let summary = Summary {
        model: info.clone(),
        arch: spec.arch,
        device: loaded.device,
        kv_bytes: loaded.kv_bytes,
        num_blocks: pools.first().num_blocks,
        max_num_seqs,
        max_model_len,
        serves: embeddings::describe(pooling, &engine.capacity()),
    };
    Ok((Model { engine, tokenizer, template, pooling, info }, summary))
}

/// The model's file and where it lies, or the demo model.
fn open(args: &ModelArgs) -> anyhow::Result<(Gguf, Option<PathBuf>)> {
    let path = args.source.path()?;
    let gguf = match &path {
        Some(path) => args.file.open(path)?,
        None => {
            let mut gguf = Gguf::from_static(demo::DEMO_GGUF).context("cannot load the demo model")?;
            args.file.apply(&mut gguf)?;
            gguf
        }
    };
    Ok((gguf, path))
}

/// Takes what the tokenizer and the template need out of the file's metadata: they keep it in their own form, and a
/// vocabulary with its merges takes tens of MiB.
fn text_metadata(gguf: &mut Gguf) -> Metadata {
    let mut taken = gguf.metadata_mut().take("tokenizer.");
    for (key, value) in gguf.metadata().iter().filter(|(key, _)| key.starts_with("general.")) {
        taken.insert(key, value.clone());
    }
    taken
}

fn text(args: &ModelArgs, metadata: Metadata) -> anyhow::Result<(Arc<Tokenizer>, Arc<ChatTemplate>)> {
    let tokenizer = Tokenizer::from_metadata(&metadata)?;
    let template = template::load(&args.template, &metadata, &tokenizer)?;
    Ok((Arc::new(tokenizer), Arc::new(template)))
}

/// The name that answers carry and the further ones: as llama-server chooses them.
fn names(args: &ModelArgs, path: Option<&Path>) -> (String, Vec<String>) {
    let mut aliases: Vec<String> = args.alias.iter().filter(|a| !a.is_empty()).cloned().collect();
    aliases.sort();
    aliases.dedup();
    let named = aliases.first().cloned().or_else(|| args.source.name(path));
    (named.unwrap_or_else(|| DEMO_NAME.to_owned()), aliases)
}
