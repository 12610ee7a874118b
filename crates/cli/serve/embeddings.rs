//! Whether and how embeddings are served: what the flags and the file say together.

use anyhow::ensure;
use engine::{Capacity, ModelKind};
use model::DecoderSpec;
use types::Pooling;

use super::args::{EmbeddingArgs, PoolingArg};

/// What the hidden states of texts become; `None` where no embeddings are asked for and the model is not made for them.
///
/// # Errors
/// When texts are to be ranked.
pub(super) fn pooling(args: &EmbeddingArgs, spec: &DecoderSpec) -> anyhow::Result<Option<Pooling>> {
    let of_file = match spec.pooling {
        None => None,
        Some(model::Pooling::None) => Some(Pooling::None),
        Some(model::Pooling::Mean) => Some(Pooling::Mean),
        Some(model::Pooling::Cls) => Some(Pooling::Cls),
        Some(model::Pooling::Last) => Some(Pooling::Last),
        Some(model::Pooling::Rank) => {
            ensure!(
                args.pooling.is_some() || !args.embedding,
                "`{}.pooling_type` says that the model ranks texts, which is not supported yet; --pooling chooses another",
                spec.arch
            );
            None
        }
    };
    let pooling = match args.pooling {
        None => of_file,
        Some(PoolingArg::None) => Some(Pooling::None),
        Some(PoolingArg::Mean) => Some(Pooling::Mean),
        Some(PoolingArg::Cls) => Some(Pooling::Cls),
        Some(PoolingArg::Last) => Some(Pooling::Last),
        Some(PoolingArg::Rank) => anyhow::bail!("--pooling rank is not supported yet; none, mean, cls and last are"),
    };
    // A file that names a pooling is made for embeddings.
    let is_served = args.embedding || spec.is_encoder() || of_file.is_some_and(|pooling| pooling != Pooling::None);
    Ok(is_served.then(|| pooling.unwrap_or(Pooling::None)))
}

/// What clients can have, in words.
pub(super) fn describe(pooling: Option<Pooling>, capacity: &Capacity) -> String {
    let embeddings = pooling.map(|pooling| {
        let kind = match pooling {
            Pooling::None => "a vector per token",
            Pooling::Mean => "mean of all tokens",
            Pooling::Cls => "first token",
            Pooling::Last => "last token",
        };
        let limit = capacity.max_embedded_tokens();
        format!("embeddings of {} numbers ({kind}), up to {limit} tokens", capacity.hidden_size)
    });
    let texts = (capacity.kind == ModelKind::Decoder).then(|| "texts".to_owned());
    texts.into_iter().chain(embeddings).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use gguf::{Gguf, Value};

    use super::*;

    /// The demo model with this pooling type.
    fn demo(pooling_type: Option<u64>) -> DecoderSpec {
        let mut gguf = Gguf::from_static(demo::DEMO_GGUF).expect("the demo model");
        let spec = model::decoder_spec(&gguf).expect("a known model");
        if let Some(n) = pooling_type {
            gguf.metadata_mut().insert(format!("{}.pooling_type", spec.arch), Value::Uint(n));
        }
        model::decoder_spec(&gguf).expect("a known model")
    }

    fn args(embedding: bool, pooling: Option<PoolingArg>) -> EmbeddingArgs {
        EmbeddingArgs { embedding, pooling, embd_normalize: 2 }
    }

    fn check(flags: (bool, Option<PoolingArg>), file: Option<u64>, expected: Option<Pooling>) {
        assert_eq!(pooling(&args(flags.0, flags.1), &demo(file)).unwrap(), expected, "{flags:?} {file:?}");
    }

    #[test]
    fn flags_win_over_the_file() {
        check((false, None), None, None);
        check((true, None), None, Some(Pooling::None));
        check((true, Some(PoolingArg::Last)), None, Some(Pooling::Last));
        // A pooling alone asks for no embeddings.
        check((false, Some(PoolingArg::Last)), None, None);
        check((false, None), Some(3), Some(Pooling::Last));
        check((false, Some(PoolingArg::Mean)), Some(3), Some(Pooling::Mean));
        check((false, None), Some(0), None);
        check((false, None), Some(4), None);
        check((true, Some(PoolingArg::Cls)), Some(4), Some(Pooling::Cls));
    }

    #[test]
    fn ranking_is_refused() {
        let fault = |flags: EmbeddingArgs, file| pooling(&flags, &demo(file)).unwrap_err().to_string();
        assert!(fault(args(true, Some(PoolingArg::Rank)), None).contains("--pooling rank is not supported yet"));
        assert!(fault(args(true, None), Some(4)).contains(".pooling_type` says that the model ranks texts"));
    }
}
