//! The tokens with a role: which begin and end texts, which end an answer.

use gguf::Metadata;
use types::TokenId;

use super::{
    Kind,
    pre::PreTokenizer,
    vocab::{TokenType, Vocab},
};
use crate::TextError;

/// A role that files give by key or, lacking it, by the name of the token.
struct Role {
    /// `tokenizer.ggml.KEY_token_id`; a later one wins.
    keys: &'static [&'static str],
    /// The likeliest first.
    names: &'static [&'static str],
}

const END_OF_TURN: Role = Role {
    keys: &["eot"],
    names: &[
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
    ],
};
const END_OF_MESSAGE: Role = Role { keys: &["eom"], names: &["<|eom_id|>"] };
const FIM_PREFIX: Role = Role {
    keys: &["fim_pre", "prefix"],
    names: &[
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<｜fim▁begin｜>",
        "<PRE>",
        "▁<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    ],
};
const FIM_SUFFIX: Role = Role {
    keys: &["fim_suf", "suffix"],
    names: &[
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<｜fim▁hole｜>",
        "<SUF>",
        "▁<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ],
};
const FIM_MIDDLE: Role = Role {
    keys: &["fim_mid", "middle"],
    names: &[
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<｜fim▁end｜>",
        "<MID>",
        "▁<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ],
};
const FIM_PAD: Role = Role { keys: &["fim_pad"], names: &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"] };
const FIM_REPO: Role =
    Role { keys: &["fim_rep"], names: &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"] };
const FIM_FILE: Role = Role { keys: &["fim_sep"], names: &["<|file_sep|>"] };
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
/// Control tokens of gpt-oss that are part of what the answer's parser reads.
const RENDERED: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// The tokens that mark the parts of a text whose middle is to be filled in; a model that was not trained to do so has
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FimTokens {
    /// What stands before the gap follows.
    pub prefix: Option<TokenId>,
    /// What stands behind the gap follows.
    pub suffix: Option<TokenId>,
    /// What fills the gap follows.
    pub middle: Option<TokenId>,
    /// Ends an answer.
    pub pad: Option<TokenId>,
    /// The name of a repository follows.
    pub repo: Option<TokenId>,
    /// The name of a file follows.
    pub file: Option<TokenId>,
}

/// Ids by role. Every id lies within the vocabulary.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpecialTokens {
    pub(crate) bos: Option<TokenId>,
    pub(crate) eos: Option<TokenId>,
    pub(crate) eot: Option<TokenId>,
    pub(crate) unknown: Option<TokenId>,
    pub(crate) separator: Option<TokenId>,
    pub(crate) fim: FimTokens,
    /// Ascending.
    pub(crate) eog: Vec<TokenId>,
    /// Ascending.
    pub(crate) suppressed: Vec<TokenId>,
    pub(crate) add_bos: bool,
    pub(crate) add_eos: bool,
    pub(crate) add_separator: bool,
}

/// What a kind of tokenizer assumes where the file says nothing.
struct Defaults {
    bos: Option<u32>,
    eos: Option<u32>,
    unknown: Option<u32>,
    separator: Option<u32>,
    add_bos: bool,
    add_eos: bool,
    add_separator: bool,
}

impl Defaults {
    fn of(kind: Kind, pre: Option<&PreTokenizer>) -> Self {
        let none = Self {
            bos: None,
            eos: None,
            unknown: None,
            separator: None,
            add_bos: pre.is_some_and(|p| p.add_bos),
            add_eos: false,
            add_separator: pre.is_some_and(|p| p.add_separator),
        };
        match kind {
            Kind::Spm => Self { bos: Some(1), eos: Some(2), unknown: Some(0), add_bos: true, ..none },
            Kind::WordPiece => Self {
                bos: Some(101),
                unknown: Some(100),
                separator: Some(102),
                add_bos: true,
                add_separator: true,
                ..none
            },
            Kind::Unigram => Self { eos: Some(1), unknown: Some(2), add_eos: true, ..none },
            Kind::Bpe => none,
        }
    }
}

impl SpecialTokens {
    /// Reads the roles, and corrects the types of tokens that files often mistype. `pre` is the pre-tokenizer's row.
    pub(crate) fn new(
        metadata: &Metadata,
        vocab: &mut Vocab,
        kind: Kind,
        pre: Option<&PreTokenizer>,
    ) -> Result<Self, TextError> {
        let defaults = Defaults::of(kind, pre);
        let keys = Keys { metadata, num_tokens: vocab.len() };
        let begin = if kind == Kind::WordPiece { keys.id("cls", defaults.bos)? } else { defaults.bos };
        let always_bos = pre.is_some_and(|p| p.always_bos);
        let mut special = Self {
            bos: keys.id("bos", begin)?.map(TokenId),
            eos: keys.id("eos", defaults.eos)?.map(TokenId),
            eot: keys.role(vocab, &END_OF_TURN)?,
            unknown: keys.id("unknown", defaults.unknown)?.map(TokenId),
            // The key is misspelt in the format.
            separator: keys.id("seperator", defaults.separator)?.map(TokenId),
            fim: FimTokens {
                prefix: keys.role(vocab, &FIM_PREFIX)?,
                suffix: keys.role(vocab, &FIM_SUFFIX)?,
                middle: keys.role(vocab, &FIM_MIDDLE)?,
                pad: keys.role(vocab, &FIM_PAD)?,
                repo: keys.role(vocab, &FIM_REPO)?,
                file: keys.role(vocab, &FIM_FILE)?,
            },
            eog: Vec::new(),
            suppressed: keys.suppressed()?,
            add_bos: always_bos || keys.flag("add_bos_token", defaults.add_bos)?,
            add_eos: keys.flag("add_eos_token", defaults.add_eos)?,
            add_separator: keys.flag("add_sep_token", defaults.add_separator)?,
        };
        let message = keys.role(vocab, &END_OF_MESSAGE)?;
        special.eog = special.ends(vocab, message);
        special.check(metadata)?;
        Ok(special)
    }

    /// The tokens that end answers. Those known by name become control tokens, unless they mean something else here.
    fn ends(&self, vocab: &mut Vocab, message: Option<TokenId>) -> Vec<TokenId> {
        let FimTokens { pad, repo, file, .. } = self.fim;
        let mut eog: Vec<u32> =
            [self.eos, self.eot, message, pad, repo, file].into_iter().flatten().map(|t| t.0).collect();
        let by_name: Vec<u32> = named(vocab, END_OF_GENERATION).collect();
        for id in &by_name {
            vocab.types[*id as usize] = TokenType::Control;
        }
        eog.extend(by_name);
        for id in named(vocab, RENDERED).collect::<Vec<_>>() {
            vocab.types[id as usize] = TokenType::UserDefined;
        }
        for (id, meaning) in exceptions(vocab, &eog) {
            eog.retain(|end| *end != id);
            vocab.types[id as usize] = meaning;
        }
        eog.sort_unstable();
        eog.dedup();
        eog.into_iter().map(TokenId).collect()
    }

    fn check(&mut self, metadata: &Metadata) -> Result<(), TextError> {
        for (add, id, flag, key) in [
            (&mut self.add_bos, self.bos, "add_bos_token", "bos"),
            (&mut self.add_eos, self.eos, "add_eos_token", "eos"),
            (&mut self.add_separator, self.separator, "add_sep_token", "seperator"),
        ] {
            let asked = metadata.get(&format!("tokenizer.ggml.{flag}")).is_some();
            if *add && id.is_none() && asked {
                return Err(TextError::vocabulary(format!(
                    "`tokenizer.ggml.{flag}` is true, but `tokenizer.ggml.{key}_token_id` is not set"
                )));
            }
            *add &= id.is_some();
        }
        Ok(())
    }
}

/// Tokens that end answers by name, but not in this vocabulary, and what they are instead.
fn exceptions(vocab: &Vocab, eog: &[u32]) -> Vec<(u32, TokenType)> {
    let ends = |name: &str| vocab.id(name).filter(|id| eog.contains(id));
    let calls = ends("<|call|>").or(ends("<|calls|>")).is_some();
    let mut exceptions = Vec::new();
    // gpt-oss and solar-open: `<|end|>` ends a message of several.
    if calls && (ends("<|return|>").is_some() || ends("<|flush|>").is_some()) {
        exceptions.extend(ends("<|end|>").map(|id| (id, TokenType::UserDefined)));
    }
    // gemma 4: `</s>` is an HTML tag there.
    if ends("<|tool_response>").is_some() {
        exceptions.extend(ends("</s>").map(|id| (id, TokenType::Normal)));
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

    /// The token with a role. One that is known by its name alone is a control token, whatever the file says.
    fn role(&self, vocab: &mut Vocab, role: &Role) -> Result<Option<TokenId>, TextError> {
        let mut found = None;
        for key in role.keys {
            found = self.id(key, found)?;
        }
        if found.is_none() {
            found = named(vocab, role.names).next();
            if let Some(id) = found {
                vocab.types[id as usize] = TokenType::Control;
            }
        }
        Ok(found.map(TokenId))
    }

    /// Tokens that are never to be chosen.
    fn suppressed(&self) -> Result<Vec<TokenId>, TextError> {
        let ids = self.metadata.uints("tokenizer.ggml.suppress_tokens")?.unwrap_or_default();
        let in_range = |id: &u32| (*id as usize) < self.num_tokens;
        let mut ids: Vec<TokenId> =
            ids.iter().filter_map(|id| u32::try_from(*id).ok()).filter(in_range).map(TokenId).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, TextError> {
        Ok(self.metadata.bool(&format!("tokenizer.ggml.{name}"))?.unwrap_or(default))
    }
}
