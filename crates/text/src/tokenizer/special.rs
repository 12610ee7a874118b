//! The tokens with a role: which begin and end texts, which end an answer.

use gguf::Metadata;
use types::TokenId;

use super::{
    Kind,
    vocab::{TokenType, Vocab},
};
use crate::TextError;

/// Names of the token that ends a turn, the likeliest first; where the file does not say which it is.
const END_OF_TURN: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
];
const END_OF_MESSAGE: &[&str] = &["<|eom_id|>"];
/// Names of tokens that end an answer in whichever vocabulary they stand (the list is llama.cpp's).
const END_OF_GENERATION: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];
const FILL_IN_MIDDLE_PAD: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FILL_IN_MIDDLE_REPO: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const FILL_IN_MIDDLE_FILE: &[&str] = &["<|file_sep|>"];
/// Control tokens of gpt-oss that are part of what the answer's parser reads.
const RENDERED: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Ids by role. Every id lies within the vocabulary.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpecialTokens {
    pub(crate) bos: Option<TokenId>,
    pub(crate) eos: Option<TokenId>,
    pub(crate) eot: Option<TokenId>,
    pub(crate) unknown: Option<TokenId>,
    pub(crate) separator: Option<TokenId>,
    /// Ascending.
    pub(crate) eog: Vec<TokenId>,
    /// Control tokens whose text users see. Ascending.
    pub(crate) rendered: Vec<TokenId>,
    pub(crate) add_bos: bool,
    pub(crate) add_eos: bool,
}

/// What a kind of tokenizer assumes where the file says nothing.
struct Defaults {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    separator: Option<u32>,
    add_bos: bool,
    add_eos: bool,
}

impl Defaults {
    fn of(kind: Kind, add_bos: bool) -> Self {
        let none = Self { bos: None, eos: None, unknown: None, separator: None, add_bos, add_eos: false };
        match kind {
            Kind::Spm => Self { bos: Some(1), eos: Some(2), unknown: Some(0), add_bos: true, ..none },
            Kind::WordPiece => Self { bos: Some(101), unknown: Some(100), separator: Some(102), add_bos: true, ..none },
            Kind::Unigram => Self { eos: Some(1), unknown: Some(2), add_eos: true, ..none },
            Kind::Bpe => none,
        }
    }
}

impl SpecialTokens {
    /// Reads the roles, and corrects the types of tokens that files often mistype. `add_bos` is the pre-tokenizer's
    /// default.
    pub(crate) fn new(metadata: &Metadata, vocab: &mut Vocab, kind: Kind, add_bos: bool) -> Result<Self, TextError> {
        let defaults = Defaults::of(kind, add_bos);
        let keys = Keys { metadata, num_tokens: vocab.len() };
        let begin = if kind == Kind::WordPiece { keys.id("cls", defaults.bos)? } else { defaults.bos };
        let end = keys.id("eos", defaults.eos)?;
        let turn = keys.id("eot", None)?.or_else(|| named(vocab, END_OF_TURN).next());
        let message = keys.id("eom", None)?.or_else(|| named(vocab, END_OF_MESSAGE).next());
        let mut special = Self {
            bos: keys.id("bos", begin)?.map(TokenId),
            eos: end.map(TokenId),
            eot: turn.map(TokenId),
            unknown: keys.id("unknown", defaults.unknown)?.map(TokenId),
            // The key is misspelt in the format.
            separator: keys.id("seperator", defaults.separator)?.map(TokenId),
            add_bos: keys.flag("add_bos_token", defaults.add_bos)?,
            add_eos: keys.flag("add_eos_token", defaults.add_eos)?,
            ..Self::default()
        };
        let mut eog: Vec<u32> = [end, turn, message].into_iter().flatten().collect();
        for (key, names) in
            [("fim_pad", FILL_IN_MIDDLE_PAD), ("fim_rep", FILL_IN_MIDDLE_REPO), ("fim_sep", FILL_IN_MIDDLE_FILE)]
        {
            eog.extend(keys.id(key, None)?.or_else(|| named(vocab, names).next()));
        }
        let by_name: Vec<u32> = named(vocab, END_OF_GENERATION).collect();
        for id in by_name.iter().copied().chain(turn).chain(message) {
            vocab.types[id as usize] = TokenType::Control;
        }
        eog.extend(by_name);
        special.rendered = named(vocab, RENDERED).map(TokenId).collect();
        for not_an_end in exceptions(vocab, &eog) {
            eog.retain(|id| *id != not_an_end);
            special.rendered.push(TokenId(not_an_end));
        }
        special.rendered.sort_unstable();
        eog.sort_unstable();
        eog.dedup();
        special.eog = eog.into_iter().map(TokenId).collect();
        special.check(metadata)?;
        Ok(special)
    }

    fn check(&mut self, metadata: &Metadata) -> Result<(), TextError> {
        for (add, id, name) in [(&mut self.add_bos, self.bos, "bos"), (&mut self.add_eos, self.eos, "eos")] {
            let asked = metadata.get(&format!("tokenizer.ggml.add_{name}_token")).is_some();
            if *add && id.is_none() && asked {
                return Err(TextError::vocabulary(format!(
                    "`tokenizer.ggml.add_{name}_token` is true, but `tokenizer.ggml.{name}_token_id` is not set"
                )));
            }
            *add &= id.is_some();
        }
        Ok(())
    }
}

/// Tokens that end answers by name, but not in this vocabulary.
fn exceptions(vocab: &Vocab, eog: &[u32]) -> Vec<u32> {
    let ends = |name: &str| vocab.id(name).filter(|id| eog.contains(id));
    let calls = ends("<|call|>").or(ends("<|calls|>")).is_some();
    let mut exceptions = Vec::new();
    // gpt-oss and solar-open: `<|end|>` ends a message of several.
    if calls && (ends("<|return|>").is_some() || ends("<|flush|>").is_some()) {
        exceptions.extend(ends("<|end|>"));
    }
    // gemma 4: `</s>` is an HTML tag there.
    if ends("<|tool_response>").is_some() {
        exceptions.extend(ends("</s>"));
    }
    exceptions
}

fn named<'a>(vocab: &'a Vocab, names: &'a [&str]) -> impl Iterator<Item = u32> + 'a {
    names.iter().filter_map(|name| vocab.id(name))
}

struct Keys<'a> {
    metadata: &'a Metadata,
    num_tokens: usize,
}

impl Keys<'_> {
    /// The id under `tokenizer.ggml.NAME_token_id`; one that is out of range is as good as none.
    fn id(&self, name: &str, default: Option<u32>) -> Result<Option<u32>, TextError> {
        let found = self.metadata.uint(&format!("tokenizer.ggml.{name}_token_id"))?;
        let in_range = |id: &u32| (*id as usize) < self.num_tokens;
        Ok(found.and_then(|id| u32::try_from(id).ok()).filter(in_range).or(default.filter(in_range)))
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, TextError> {
        Ok(self.metadata.bool(&format!("tokenizer.ggml.{name}"))?.unwrap_or(default))
    }
}
