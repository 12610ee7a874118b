//! The vocabulary of a file: texts, types, scores, and the way back from a text to its id.

use ahash::RandomState;
use gguf::{Array, GgufError, Metadata, Strings, Value};
use hashbrown::{HashTable, hash_table::Entry};

use crate::TextError;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";

/// What a token is for; the numbers are those of `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    /// Text.
    Normal,
    /// Stands for what the vocabulary cannot say.
    Unknown,
    /// Steers the model; never part of what a user wrote.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// Not used by the model (or of a type that no one knows).
    Unused,
    /// One byte, written `<0x0A>`.
    Byte,
}

impl TokenType {
    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            _ => Self::Unused,
        }
    }

    /// Whether users do not see the token's text.
    pub(crate) fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

/// All tokens of a model. `texts`, `types` and `scores` are equally long and not empty; no two texts are equal.
pub(crate) struct Vocab {
    pub(crate) texts: Strings,
    pub(crate) types: Vec<TokenType>,
    pub(crate) scores: Vec<f32>,
    ids: Ids,
    /// Length of the longest token text, in bytes.
    pub(crate) max_text_bytes: usize,
}

impl Vocab {
    pub(crate) fn from_metadata(metadata: &Metadata) -> Result<Self, TextError> {
        let texts = metadata.require(TOKENS, metadata.strings(TOKENS))?;
        if texts.is_empty() || u32::try_from(texts.len()).is_err() {
            return Err(TextError::vocabulary(format!("`{TOKENS}` holds {} tokens", texts.len())));
        }
        let types = match metadata.uints(TYPES)? {
            Some(numbers) => {
                at_least(TYPES, numbers.len(), texts.len())?;
                numbers[..texts.len()].iter().map(|n| TokenType::from_number(*n)).collect()
            }
            None => vec![TokenType::Normal; texts.len()],
        };
        let texts = if texts.iter().any(str::is_empty) { named(texts) } else { texts.clone() };
        let ids = Ids::new(&texts)?;
        let max_text_bytes = texts.iter().map(str::len).max().unwrap_or(0);
        Ok(Self { scores: scores(metadata, texts.len())?, texts, types, ids, max_text_bytes })
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(&self.texts, text)
    }

    /// The text of a token; empty for ids that there are none of.
    pub(crate) fn text(&self, id: u32) -> &str {
        self.texts.get(id as usize).unwrap_or_default()
    }

    /// The ids of the 256 byte tokens (`<0x00>` to `<0xFF>`), where the vocabulary has them.
    pub(crate) fn byte_ids(&self) -> Vec<Option<u32>> {
        (0..=u8::MAX).map(|byte| self.id(&format!("<0x{byte:02X}>"))).collect()
    }
}

/// An empty text would match everywhere; such rows are padding.
fn named(texts: &Strings) -> Strings {
    let name = |(id, text): (usize, &str)| if text.is_empty() { format!("[EMPTY_{id}]") } else { text.to_owned() };
    texts.iter().enumerate().map(name).collect()
}

/// The ids by text: a table of numbers, the texts lie in the vocabulary.
struct Ids {
    table: HashTable<u32>,
    /// Seeded by chance: a file cannot know which texts collide.
    hasher: RandomState,
}

impl Ids {
    fn new(texts: &Strings) -> Result<Self, TextError> {
        let hasher = RandomState::new();
        let hash = |text: &str| hasher.hash_one(text);
        let text_of = |id: u32| texts.get(id as usize).unwrap_or_default();
        let mut table = HashTable::with_capacity(texts.len());
        for (id, text) in (0..).zip(texts.iter()) {
            match table.entry(hash(text), |other| text_of(*other) == text, |other| hash(text_of(*other))) {
                Entry::Vacant(place) => drop(place.insert(id)),
                Entry::Occupied(place) => {
                    let first = place.get();
                    let what = format!("the token `{text}` stands at {first} and again at {id}");
                    return Err(TextError::vocabulary(what));
                }
            }
        }
        Ok(Self { table, hasher })
    }

    fn get(&self, texts: &Strings, text: &str) -> Option<u32> {
        let is_it = |id: &u32| texts.get(*id as usize) == Some(text);
        self.table.find(self.hasher.hash_one(text), is_it).copied()
    }
}

fn scores(metadata: &Metadata, num_tokens: usize) -> Result<Vec<f32>, TextError> {
    let scores: Vec<f32> = match metadata.get(SCORES) {
        None => return Ok(vec![0.0; num_tokens]),
        Some(Value::Array(Array::Float(v))) => v.iter().map(|x| *x as f32).collect(),
        Some(Value::Array(Array::Int(v))) => v.iter().map(|x| *x as f32).collect(),
        Some(Value::Array(Array::Uint(v))) => v.iter().map(|x| *x as f32).collect(),
        Some(other) => return Err(GgufError::invalid(SCORES, other.kind(), "an array of numbers").into()),
    };
    at_least(SCORES, scores.len(), num_tokens)?;
    match scores[..num_tokens].iter().position(|x| x.is_nan()) {
        Some(id) => Err(TextError::vocabulary(format!("the score of token {id} is not a number"))),
        None => Ok(scores[..num_tokens].to_vec()),
    }
}

fn at_least(key: &str, found: usize, needed: usize) -> Result<(), TextError> {
    if found < needed {
        return Err(TextError::vocabulary(format!("`{key}` holds {found} values for {needed} tokens")));
    }
    Ok(())
}
