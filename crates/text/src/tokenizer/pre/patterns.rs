//! The patterns of the pre-tokenizers, put together from the parts that they share.
//!
//! Their common tail `\s+(?!\S)|\s+` is written `\s+`; the step that runs a pattern supplies the look-ahead, so that
//! every pattern is one that a finite automaton can run.

/// English contractions.
macro_rules! contraction {
    () => {
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    };
}

/// The tail of the newer patterns: punctuation with the newlines behind it, blank lines, white space.
macro_rules! tail {
    () => {
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    };
}

/// The same tail, where slashes count with the newlines.
macro_rules! slash_tail {
    () => {
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
    };
}

/// A word, with the character before it.
macro_rules! word {
    () => {
        r"[^\r\n\p{L}\p{N}]?\p{L}+"
    };
}

/// A word in which a capital letter begins another; `$suffix` may follow.
macro_rules! cased_word {
    ($suffix:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $suffix,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $suffix
        )
    };
}

/// The same without Chinese characters.
macro_rules! cased_word_not_han {
    ($suffix:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]--\p{Han}]*[[\p{Ll}\p{Lm}\p{Lo}\p{M}]--\p{Han}]+",
            $suffix,
            r"|[^\r\n\p{L}\p{N}]?[[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]--\p{Han}]+[[\p{Ll}\p{Lm}\p{Lo}\p{M}]--\p{Han}]*",
            $suffix
        )
    };
}

/// ASCII punctuation that opens a word, or a word with the character before it.
macro_rules! deepseek3_word {
    () => {
        concat!(r##"[!"#$%\&'()*+,\-./:;<=>?@\[\\\]^_`{|}\~][A-Za-z]+"##, r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+")
    };
}

pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
pub(super) const LLAMA3: &str = concat!(contraction!(), "|", word!(), r"|\p{N}{1,3}", tail!());
pub(super) const MINICPM5: &str = concat!(contraction!(), "|", word!(), r"|\p{N}+", tail!());
pub(super) const QWEN2: &str = concat!(contraction!(), "|", word!(), r"|\p{N}", tail!());
pub(super) const UFAKZEKA: &str = concat!(word!(), r"|\p{N}", tail!());
pub(super) const QWEN35: &str =
    concat!(contraction!(), r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+");
pub(super) const BAILINGMOE: &str =
    concat!(contraction!(), "|", word!(), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+");
pub(super) const SEED_CODER: &str =
    concat!(contraction!(), "|", word!(), r"|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+");
pub(super) const EXAONE_MOE: &str = concat!(
    contraction!(),
    r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+"
);
pub(super) const TEKKEN: &str = concat!(cased_word!(""), r"|\p{N}", slash_tail!());
pub(super) const GPT4O: &str =
    concat!(cased_word!(concat!("(?:", contraction!(), ")?")), r"|\p{N}{1,3}", slash_tail!());
pub(super) const YOUTU: &str = concat!(cased_word!(concat!("(?:", contraction!(), ")?")), r"|\p{N}", slash_tail!());
pub(super) const KIMI_K2: &str =
    concat!(r"\p{Han}+|", cased_word_not_han!(concat!("(?:", contraction!(), ")?")), r"|\p{N}{1,3}", tail!());
pub(super) const DEEPSEEK3: &str = concat!(deepseek3_word!(), r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+");
pub(super) const SPARK: &str = concat!(deepseek3_word!(), r"| ?[\p{P}\p{S}]+|[\r\n]|\s+");

pub(super) const LINES: &str = r"[^\n]+|\n+";
pub(super) const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
pub(super) const PUNCTUATION: &str = r"[\p{P}$+<=>\^\~|]+";
pub(super) const FALCON_PUNCTUATION: &str = r"[\p{P}$+<=>\^\~|`]+";

/// Characters that Unicode normalization would replace by others are written by their numbers.
pub(super) const DEEPSEEK_LETTERS: &str = concat!(
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ\u{1F5F}-\u{1F7D}ᾀ-ᾴᾶ-ᾼ\u{1FBE}ῂ-ῄ",
    r"ῆ-ῌ\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
);
pub(super) const DEEPSEEK_PUNCTUATION: &str = r"\s?[!-/:-\~！-／：-～‘-‟　-。]+";
pub(super) const DEEPSEEK_CJK: &str = "[一-龥\u{800}-一가-\u{D7FF}]+";
pub(super) const DEEPSEEK3_CJK: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
pub(super) const YOUTU_SCRIPTS: &str = "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u{3040}-ゟ゠-ヿ]+";
pub(super) const AFMOE_SCRIPTS: &str = concat!(
    "[一-\u{9FFF}㐀-\u{4DBF}\u{F900}-\u{FAFF}\u{3040}-ゟ゠-ヿ･-ﾟ⼀-\u{2FDF}เ-\u{E7F}\u{E80}-\u{EFF}ក-\u{17FF}",
    "က-\u{109F}ꩠ-ꩿꧠ-\u{A9FF}가-\u{D7AF}ᄀ-ᇿ]+"
);
