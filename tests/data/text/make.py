"""Makes the references of the text crate's tests: small vocabularies, and what other programs make of texts.

    pip install sentencepiece tokenizers gguf numpy
    python make.py

The same texts come out on every run. Vocabularies are trained here, on words made here.
"""

import json
import random
import re
import tempfile
from pathlib import Path

import gguf
import sentencepiece as spm
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

HERE = Path(__file__).parent

# Characters that have long been in Unicode, so that all programs agree on their classes.
RANGES = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x300, 0x36F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA),
    (0x621, 0x64A), (0x660, 0x669), (0x905, 0x939), (0x93E, 0x94D), (0xE01, 0xE3A), (0x1E00, 0x1EFF), (0x1F00, 0x1F15),
    (0x2000, 0x200F), (0x2010, 0x2027), (0x2030, 0x205E), (0x20A0, 0x20B5), (0x2150, 0x2188), (0x2190, 0x21FF),
    (0x2460, 0x24FF), (0x3000, 0x303F), (0x3041, 0x3096), (0x30A1, 0x30FF), (0x4E00, 0x4E80), (0xAC00, 0xAC80),
    (0xFB00, 0xFB06), (0xFF01, 0xFF5E), (0x1F600, 0x1F64F), (0x10400, 0x1044F), (0x1D400, 0x1D433),
]
PARTS = [
    " ", "  ", "   ", " " * 23, "\n", "\n\n", "\r\n", "\t", " \n ", "\u00a0", "\u3000", "hello", " world", "Hello", "HTMLParser",
    "it's", "It'S", "WE'LL", "don't", "'re", "'", "123", "1234567", " 42", "3.14", "1,000", "12ab", "½", "Ⅷ", "٣٤",
    "e\u0301", "naïve", "Größe", "ﬁ", "ｆｕｌｌ", "中文", "日本語", "カタカナ", "한국어", "русский", "עברית", "العربية",
    "हिन्दी", "ไทย", "🙂", "👩‍👩‍👧", "🇩🇪", "...", "!?", "()", "</s>", "foo_bar", "x = y + z;", "//", "a/b", "$5", "^~|`",
    "<sentinel:12>", "IMGIMGABZ", "...\n", "!\r\n", "/\n", "ſ", "'ſ", "\u0378", "ǅ", "ʰ", "，。", "“q”", "\u2581",
]
LETTERS = [
    "abcdefghijklmnopqrstuvwxyz", "etaoinshrdlu", "ÀÉÎõüßñ", "αβγδεζηθικλμ", "абвгдежзиклмн", "いろはにほへと", "日本語中文字",
]


def any_text(rng, num_parts):
    """Known parts and any characters."""
    def part():
        if rng.random() < 0.6:
            return rng.choice(PARTS)
        first, last = rng.choice(RANGES)
        return "".join(chr(rng.randint(first, last)) for _ in range(rng.randint(1, 4)))
    return "".join(part() for _ in range(rng.randint(0, num_parts)))


def corpus(rng):
    """Sentences of made-up words, the shorter ones often."""
    words = ["".join(rng.choice(rng.choice(LETTERS[:2])) for _ in range(rng.randint(1, 8))) for _ in range(400)]
    words += ["".join(rng.choice(letters) for _ in range(rng.randint(1, 5))) for letters in LETTERS[2:] for _ in range(40)]
    words += ["hello", "world", "Hello", "naïve", "Größe", "русский", "日本語", "123", "42", "3.14"] * 3
    return [" ".join(words[min(int(rng.expovariate(0.006)), len(words) - 1)] for _ in range(rng.randint(3, 12)))
            for _ in range(3000)]


def write_vocab(path, model, tokens, scores, types, more):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    if scores is not None:
        writer.add_token_scores(scores)
    writer.add_token_types(types)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_cases(name, cases):
    lines = ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases)
    (HERE / f"{name}.json").write_text(f"[\n{lines}\n]\n")


def sentence_piece(name, gguf_model, texts, more, **options):
    """Trains, writes the vocabulary and what sentencepiece makes of texts."""
    with tempfile.TemporaryDirectory() as folder:
        prefix = f"{folder}/m"
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(corpus(random.Random(7))), model_prefix=prefix, num_threads=1,
            minloglevel=2, character_coverage=0.9995, **options)
        trained = spm.SentencePieceProcessor(model_file=f"{prefix}.model")
        proto = Path(f"{prefix}.model").read_bytes()
    ids = range(trained.vocab_size())
    kind = lambda i: (gguf.TokenType.UNKNOWN if trained.is_unknown(i) else gguf.TokenType.CONTROL if trained.is_control(i)
                      else gguf.TokenType.BYTE if trained.is_byte(i) else gguf.TokenType.NORMAL)
    write_vocab(HERE / f"{name}.gguf", gguf_model, [trained.id_to_piece(i) for i in ids],
                [trained.get_score(i) for i in ids], [int(kind(i)) for i in ids], lambda writer: more(writer, proto))
    write_cases(name, [{"text": text, "ids": trained.encode(text)} for text in texts])


def charsmap(proto):
    from sentencepiece import sentencepiece_model_pb2 as pb2
    model = pb2.ModelProto()
    model.ParseFromString(proto)
    return model.normalizer_spec.precompiled_charsmap


# What sentencepiece's own rules do to some characters: compatibility forms, composition, odd spaces, nothing for some.
RULES = [("ﬁ", "fi"), ("ｆ", "f"), ("ｕ", "u"), ("ｌ", "l"), ("e\u0301", "é"), ("½", "1/2"), ("Ⅷ", "VIII"),
         ("\u3000", " "), ("\u00a0", " "), ("\t", " "), ("\n", " "), ("\r", " "), ("\u200b", " "), ("…", "..."), ("\u200d", "")]


def unigram(texts):
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        hexes = lambda text: " ".join(f"{ord(c):X}" for c in text)
        rules.write("".join(f"{hexes(a)}\t{hexes(b)}\n" for a, b in RULES))
        rules.flush()

        def more(writer, proto):
            writer.add_add_space_prefix(True)
            writer.add_remove_extra_whitespaces(True)
            writer.add_precompiled_charsmap(charsmap(proto))
        sentence_piece("unigram", "t5", texts, more, model_type="unigram", vocab_size=500, pad_id=0, eos_id=1,
                       unk_id=2, bos_id=-1, normalization_rule_tsv=rules.name)


def word_piece(texts):
    rng = random.Random(7)
    words = sorted({word for line in corpus(rng) for word in line.lower().split()})
    chars = sorted({c for word in words for c in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("!?.,'()/") + chars + [f"##{c}" for c in chars]
    pieces += [w for w in words if 1 < len(w) < 5] + [f"##{w}" for w in words if 1 < len(w) < 4]
    pieces = list(dict.fromkeys(pieces))
    cases = []
    for lowercase in (True, False):
        model = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
        model.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        model.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        cases += [{"text": text, "lowercase": lowercase, "ids": model.encode(text).ids} for text in texts]
    special = lambda p: p.startswith("[") and len(p) > 1
    in_file = lambda p: p if special(p) else p[2:] if p.startswith("##") else "\u2581" + p

    def more(writer):
        writer.add_unk_token_id(1)
        writer.add_uint32("tokenizer.ggml.cls_token_id", 2)
        writer.add_sep_token_id(3)
    kinds = [int(gguf.TokenType.UNKNOWN if p == "[UNK]" else gguf.TokenType.CONTROL if special(p) else gguf.TokenType.NORMAL)
             for p in pieces]
    write_vocab(HERE / "word_piece.gguf", "bert", [in_file(p) for p in pieces], None, kinds, more)
    write_cases("word_piece", cases)


# The patterns as the models' own files have them. A name stands for all that share its row.
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SLASH_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
WORD = r"|[^\r\n\p{L}\p{N}]?\p{L}+"
LLAMA3 = SHORT + WORD + r"|\p{N}{1,3}" + TAIL
QWEN2 = SHORT + WORD + r"|\p{N}" + TAIL
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def cased(short, no=""):
    head = r"[^\r\n\p{L}\p{N}]?"
    return f"{head}[{UPPER}{no}]*[{LOWER}{no}]+{short}|{head}[{UPPER}{no}]+[{LOWER}{no}]*{short}"


GPT4O = cased(SHORT + "?") + r"|\p{N}{1,3}" + SLASH_TAIL
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
             r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CJK = "[一-龥\u3040-ゟ゠-ヿ]+"
BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"



def constant(name):
    """A pattern of patterns.rs."""
    source = (HERE / "../../../crates/text/src/tokenizer/pre/patterns.rs").read_text()
    literals = re.search(name + r": &str =(.*?);\n", source, re.S).group(1)
    text = "".join(re.findall(r'r"(.*?)"', literals, re.S))
    return re.sub(r"\\u\{([0-9A-F]+)\}", lambda m: chr(int(m.group(1), 16)), text)


PATTERNS = {
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "llama-bpe": [LLAMA3],
    "dbrx": [LLAMA3],
    "jais-2": [LLAMA3.replace(r"\s+(?!\S)|\s+", "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
                              + r"|\s{1,2}(?!\S)|\s{1}")],
    "minicpm5": [r"\p{N}{1,3}", SHORT + WORD + r"|\p{N}+" + TAIL],
    "qwen2": [QWEN2],
    "qwen35": [SHORT + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "laguna": [r"[^\n]+|[\n]+", QWEN2],
    "ufakzeka": [WORD[1:] + r"|\p{N}" + TAIL],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
    "seed-coder": [SHORT + WORD + r"|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "exaone-moe": [SHORT + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
                   r"|\s*[\r\n]|\s+(?!\S)|\s+"],
    "gpt-2": [GPT2],
    "roberta-bpe": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}",
                  r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    # The letters are a long list; the table's own copy of it is taken.
    "deepseek-llm": ["[\r\n]", constant("DEEPSEEK_LETTERS"), constant("DEEPSEEK_PUNCTUATION"), r"\s+$",
                     "[一-龥\u0800-一가-\ud7ff]+", r"\p{N}+"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u0800-一가-\ud7ff]+", r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", CJK, DEEPSEEK3],
    "spark2_5": [r"\p{N}{1,3}", CJK, DEEPSEEK3.replace(r"[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+", r"[\p{P}\p{S}]+|[\r\n]"), r"\p{N}"],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + CJK, cased(SHORT + "?") + r"|\p{N}" + SLASH_TAIL],
    "tekken": [cased("") + r"|\p{N}" + SLASH_TAIL],
    "gpt-4o": [GPT4O],
    "granite-embed-multi-97m": [GPT4O],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", GPT4O],
    "kimi-k2": [r"[\p{Han}]+|" + cased(SHORT + "?", r"&&[^\p{Han}]") + r"|\p{N}{1,3}" + TAIL],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "bloom": [BLOOM],
    "viking": [BLOOM, r"\p{N}"],
    "gemma4": [r"[^\n]+|[\n]+"],
    "sarvam-moe": [r"[^\n]+|[\n]+"],
}


def pre_tokenized(texts):
    """How each row cuts each text: the number of characters of each word."""
    rows = {}
    for name, patterns in PATTERNS.items():
        cut = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(p), "isolated") for p in patterns])
        rows[name] = [[len(word) for word, _ in cut.pre_tokenize_str(text)] for text in texts]
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in rows.items())
    (HERE / "pre.json").write_text(f'{{"texts": {json.dumps(texts)},\n"words": {{\n{lines}\n}}}}\n')


def main():
    texts = lambda seed, count, parts: [any_text(random.Random(seed + i), parts) for i in range(count)]
    spm_options = dict(model_type="bpe", vocab_size=700, byte_fallback=True, normalization_rule_name="identity",
                       remove_extra_whitespaces=False, split_digits=True)
    sentence_piece("spm", "llama", texts(1000, 200, 12), lambda writer, _: writer.add_add_space_prefix(True), **spm_options)
    unigram(texts(2000, 200, 12))
    word_piece(texts(3000, 150, 12))
    pre_tokenized(texts(4000, 150, 14))


if __name__ == "__main__":
    main()
