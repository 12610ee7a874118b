//! WordPiece (`bert`): words are taken from the front, the longest token first.

use gguf::Metadata;
use tokenizers::{
    Model as _, NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer as _, models::wordpiece::WordPiece as Model, normalizers::BertNormalizer,
    pre_tokenizers::bert::BertPreTokenizer,
};

use super::vocab::{TokenType, Vocab};
use crate::{Cancelled, TextError};

const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";

/// Normalizer and words of BERT.
pub(crate) struct WordPiece {
    normalizer: BertNormalizer,
    model: Model,
}

impl WordPiece {
    pub(crate) fn new(metadata: &Metadata, vocab: &Vocab, unknown: Option<u32>) -> Result<Self, TextError> {
        let unknown = unknown.ok_or_else(|| TextError::vocabulary("a WordPiece vocabulary needs an unknown token"))?;
        let lowercase = metadata.bool(LOWERCASE)?.unwrap_or(true);
        let strip_accents = metadata.bool(STRIP_ACCENTS)?.unwrap_or(lowercase);
        // In a GGUF, tokens that begin a word carry `▁` and the others lost their `##`.
        let names = vocab.texts.iter().zip(&vocab.types).enumerate().map(|(id, (text, kind))| {
            let name = match (text.strip_prefix('▁'), kind) {
                (Some(start), _) => start.to_owned(),
                (None, TokenType::Normal) => format!("##{text}"),
                (None, _) => text.clone(),
            };
            (name, id as u32)
        });
        let model = Model::builder()
            .vocab(names.collect::<ahash::AHashMap<_, _>>())
            .unk_token(vocab.texts[unknown as usize].clone())
            .build()
            .map_err(|e| TextError::vocabulary(e.to_string()))?;
        Ok(Self { normalizer: BertNormalizer::new(true, true, Some(strip_accents), lowercase), model })
    }

    /// Appends the tokens of `text`.
    pub(crate) fn encode(&self, cancelled: &Cancelled, text: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        let failed = |e: tokenizers::Error| TextError::Encode(e.to_string());
        let mut normalized = NormalizedString::from(text);
        self.normalizer.normalize(&mut normalized).map_err(failed)?;
        cancelled.check()?;
        let mut words = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut words).map_err(failed)?;
        for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
            cancelled.check()?;
            out.extend(self.model.tokenize(word).map_err(failed)?.iter().map(|t| t.id));
        }
        Ok(())
    }
}
