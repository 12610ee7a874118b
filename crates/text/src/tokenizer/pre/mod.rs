//! Pre-tokenizers: how a text is cut into words before BPE. One row of [`PRE_TOKENIZERS`] each.
//!
//! The names are those that `tokenizer.ggml.pre` may hold; the patterns are those of the models' own `tokenizer.json`.

#[cfg(test)]
mod document;
mod patterns;
mod split;

use patterns as p;
pub(crate) use split::Splitter;

use crate::{TextError, nearest};

/// How BPE writes a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alphabet {
    /// One character a byte.
    Bytes,
    /// The text itself, with `▁` for spaces and `<0x0A>` for the bytes of what has no token.
    Raw,
}

/// One cut of the words that the step before left; what a step matches stands alone, and so does what lies between.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// A pattern.
    Match(&'static str),
    /// A pattern that ends in `\s+`, and means `\s+(?!\S)|\s+`: of white space before a word, the last character is
    /// left to the word.
    Words(&'static str),
    /// The same, where white space that ends in a newline is another part of the pattern and stays whole.
    WordsAndLines(&'static str),
    /// The same, where white space is cut into runs of 512, 256, ... 4, 2, 1.
    WordsAndRuns(&'static str),
    /// Digits in threes, counted from the right.
    Thousands(Thousands),
}

/// Which digits are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thousands {
    /// All.
    Always,
    /// All, without parting them from what stands before their first whole group or behind their last.
    Inside,
    /// Those that no letter follows; others are left to the next step.
    BeforeWordEnd,
}

/// A row of the table.
#[derive(Debug)]
pub(crate) struct PreTokenizer {
    /// Its names.
    pub(crate) names: &'static [&'static str],
    /// The cuts, in order.
    pub(crate) steps: &'static [Step],
    /// How words are written.
    pub(crate) alphabet: Alphabet,
    /// Words that are tokens are taken whole, whatever the merges say.
    pub(crate) ignore_merges: bool,
    /// Texts begin with BOS unless the file says otherwise.
    pub(crate) add_bos: bool,
    /// Texts begin with BOS whatever the file says.
    pub(crate) always_bos: bool,
    /// The parts of a pair of texts are separated unless the file says otherwise.
    pub(crate) add_separator: bool,
    /// Runs of newlines that are a token are taken whole.
    pub(crate) whole_newlines: bool,
}

impl PreTokenizer {
    const fn new(names: &'static [&'static str], steps: &'static [Step]) -> Self {
        Self {
            names,
            steps,
            alphabet: Alphabet::Bytes,
            ignore_merges: false,
            add_bos: false,
            always_bos: false,
            add_separator: false,
            whole_newlines: false,
        }
    }

    const fn raw(mut self) -> Self {
        self.alphabet = Alphabet::Raw;
        self
    }

    const fn ignore_merges(mut self) -> Self {
        self.ignore_merges = true;
        self
    }

    const fn add_bos(mut self) -> Self {
        self.add_bos = true;
        self
    }

    const fn always_bos(mut self) -> Self {
        self.always_bos = true;
        self
    }

    const fn add_separator(mut self) -> Self {
        self.add_separator = true;
        self
    }

    const fn whole_newlines(mut self) -> Self {
        self.whole_newlines = true;
        self
    }
}

use Step::{Match, Thousands as Digits, Words, WordsAndLines, WordsAndRuns};

/// All pre-tokenizers.
pub(crate) static PRE_TOKENIZERS: &[PreTokenizer] = &[
    PreTokenizer::new(
        &["default"],
        &[Match(p::PUNCTUATION), Words(p::GPT2), Match(r"\p{N}+"), Match("[0-9][0-9][0-9]")],
    ),
    PreTokenizer::new(
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        &[WordsAndLines(p::LLAMA3)],
    )
    .ignore_merges()
    .add_bos(),
    PreTokenizer::new(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[WordsAndLines(p::LLAMA3)]),
    PreTokenizer::new(&["jais-2"], &[WordsAndRuns(p::LLAMA3)]),
    PreTokenizer::new(&["minicpm5"], &[Match(r"\p{N}{1,3}"), WordsAndLines(p::MINICPM5)]).ignore_merges(),
    PreTokenizer::new(
        &["qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"],
        &[WordsAndLines(p::QWEN2)],
    ),
    PreTokenizer::new(&["qwen35"], &[WordsAndLines(p::QWEN35)]),
    PreTokenizer::new(&["laguna"], &[Match(p::LINES), WordsAndLines(p::QWEN2)]),
    PreTokenizer::new(&["ufakzeka"], &[WordsAndLines(p::UFAKZEKA)]),
    PreTokenizer::new(&["bailingmoe", "bailingmoe2", "llada-moe"], &[WordsAndLines(p::BAILINGMOE)]),
    PreTokenizer::new(&["seed-coder"], &[WordsAndLines(p::SEED_CODER)]),
    PreTokenizer::new(&["exaone-moe"], &[WordsAndLines(p::EXAONE_MOE)]),
    PreTokenizer::new(
        &[
            "gpt-2",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v2-es",
            "jina-v2-de",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
        ],
        &[Words(p::GPT2)],
    ),
    PreTokenizer::new(&["jina-v1-en", "jina-v2-code", "roberta-bpe"], &[Words(p::GPT2)]).add_separator(),
    PreTokenizer::new(
        &["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[Match(r"\p{N}"), Words(p::GPT2)],
    ),
    PreTokenizer::new(&["falcon"], &[Match(p::FALCON_PUNCTUATION), Words(p::GPT2), Match("[0-9][0-9][0-9]")]),
    PreTokenizer::new(
        &["chameleon"],
        &[
            Match("<sentinel:[0-9]+>"),
            Match("(?:IMGIMG)[A-I]{1,4}Z"),
            Match(r"[\t\n]|    |  "),
            Match(r"\p{N}"),
            Match(r"[\p{P}!-/:-@\[-`{-~]"),
            Words(p::GPT2),
        ],
    )
    .add_bos(),
    PreTokenizer::new(
        &["deepseek-llm"],
        &[
            Match("[\r\n]"),
            Match(p::DEEPSEEK_LETTERS),
            Match(p::DEEPSEEK_PUNCTUATION),
            Match(r"\s+$"),
            Match(p::DEEPSEEK_CJK),
            Match(r"\p{N}+"),
        ],
    ),
    PreTokenizer::new(
        &["deepseek-coder"],
        &[Match("[\r\n]"), Match(r"\s?\p{L}+"), Match(r"\s?\p{P}+"), Match(p::DEEPSEEK_CJK), Match(r"\p{N}")],
    ),
    PreTokenizer::new(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[Match(r"\p{N}{1,3}"), Match(p::DEEPSEEK3_CJK), WordsAndLines(p::DEEPSEEK3)],
    ),
    PreTokenizer::new(
        &["spark2_5"],
        &[Match(r"\p{N}{1,3}"), Match(p::DEEPSEEK3_CJK), Words(p::SPARK), Match(r"\p{N}")],
    ),
    PreTokenizer::new(&["afmoe"], &[Digits(Thousands::Always), Match(p::AFMOE_SCRIPTS), WordsAndLines(p::DEEPSEEK3)]),
    PreTokenizer::new(&["youtu"], &[Match(p::YOUTU_SCRIPTS), WordsAndLines(p::YOUTU)]).ignore_merges(),
    PreTokenizer::new(&["tekken"], &[WordsAndLines(p::TEKKEN)]).ignore_merges().add_bos(),
    PreTokenizer::new(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[WordsAndLines(p::GPT4O)]),
    PreTokenizer::new(&["granite-embed-multi-97m"], &[WordsAndLines(p::GPT4O)]).ignore_merges(),
    PreTokenizer::new(&["tiny_aya", "cohere2moe"], &[Digits(Thousands::BeforeWordEnd), WordsAndLines(p::GPT4O)]),
    PreTokenizer::new(&["kimi-k2"], &[WordsAndLines(p::KIMI_K2)]),
    PreTokenizer::new(&["superbpe"], &[Match(r"\p{N}+"), Digits(Thousands::Inside)]),
    PreTokenizer::new(&["poro-chat", "bloom", "gpt3-finnish"], &[Match(p::BLOOM)]),
    PreTokenizer::new(&["viking"], &[Match(p::BLOOM), Match(r"\p{N}")]),
    PreTokenizer::new(&["gemma4", "granite-embed-multi-311m"], &[Match(p::LINES)]).raw().always_bos().whole_newlines(),
    PreTokenizer::new(&["sarvam-moe"], &[Match(p::LINES)]).raw(),
];

/// The row with this name.
///
/// # Errors
/// [`TextError::UnknownPreTokenizer`], which tells the nearest name and all names.
pub(crate) fn find(name: &str) -> Result<&'static PreTokenizer, TextError> {
    PRE_TOKENIZERS.iter().find(|row| row.names.contains(&name)).ok_or_else(|| {
        let mut names: Vec<&str> = PRE_TOKENIZERS.iter().flat_map(|row| row.names).copied().collect();
        names.sort_unstable();
        let nearest = nearest::nearest(name, &names).unwrap_or("default").to_owned();
        TextError::UnknownPreTokenizer { found: name.to_owned(), nearest, supported: names.join(", ") }
    })
}
