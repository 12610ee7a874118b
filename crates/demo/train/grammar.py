"""Templates with alternatives, the one text tool that all generators of the demo world share.

`{a|b|c}` picks one alternative (they nest, and one may be empty); `<key>` is replaced from the arguments.
"""

import re
from functools import lru_cache

VOWELS = "aeiou"


@lru_cache(maxsize=None)
def compiled(template):
    """Parses a template into nested tuples once: ("text", s), ("slot", key) or ("alt", sequences)."""
    parts, end = sequence(template, 0)
    assert end == len(template), f"unbalanced braces in {template!r} at {end}"
    return parts


def sequence(template, at, stops=""):
    parts, text = [], []

    def flush():
        if text:
            parts.append(("text", "".join(text)))
            text.clear()

    while at < len(template) and template[at] not in stops:
        if template[at] == "{":
            flush()
            choices = []
            while template[at] != "}":
                choice, at = sequence(template, at + 1, "|}")
                choices.append(choice)
            parts.append(("alt", tuple(choices)))
            at += 1
        elif template[at] == "<":
            flush()
            close = template.index(">", at)
            parts.append(("slot", template[at + 1 : close]))
            at = close + 1
        else:
            text.append(template[at])
            at += 1
    flush()
    return tuple(parts), at


def write(rng, parts, slots, out):
    for kind, value in parts:
        if kind == "text":
            out.append(value)
        elif kind == "slot":
            out.append(str(slots[value]))
        else:
            write(rng, value[int(rng.random() * len(value))], slots, out)


def say(rng, template, **slots):
    """One expansion of the template, with stray spaces removed."""
    out = []
    write(rng, compiled(template), slots, out)
    return tidy("".join(out))


def tidy(text):
    """Collapses spaces, also before punctuation."""
    text = re.sub(r" +", " ", text)
    return re.sub(r" ([,.!?])", r"\1", text).strip()


def cap(text):
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def a(noun):
    """The noun with its indefinite article."""
    return ("an " if noun[0].lower() in VOWELS and not noun.startswith(("uni", "one", "use")) else "a ") + noun


def join(words, last="and"):
    """"x, y and z"."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + f" {last} " + words[-1]


ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sh sl sn st str t th tr v w y z".split()
NUCLEI = "a e i o u a e i o u ai ea ee oo ou ie".split()
CODAS = ["", "", "", "b", "ck", "d", "g", "k", "l", "ll", "m", "n", "nd", "ng", "p", "r", "rt", "s", "sk", "st", "t", "x"]


def invented(rng, syllables=0):
    """A word nobody knows, so that copying does not depend on knowing the word."""
    syllables = syllables or rng.choice((1, 2, 2, 2, 3))
    return "".join(rng.choice(ONSETS) + rng.choice(NUCLEI) + (rng.choice(CODAS) if i == syllables - 1 or rng.random() < 0.3 else "") for i in range(syllables))
