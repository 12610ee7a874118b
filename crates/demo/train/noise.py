"""Makes clean requests look typed by people: case, punctuation, apostrophes, chat spelling and slips."""

import re

SHORT = {"you": "u", "are": "r", "please": "pls", "what is": "whats", "what's": "whats", "tell me": "tell me", "colour": "color", "favourite": "favorite", "do not": "dont", "okay": "ok", "grey": "gray", "who is": "whos", "to": "2"}
ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def slip(rng, word):
    """One typing slip inside a word of four letters or more."""
    at = rng.randrange(1, len(word) - 1)
    kind = rng.random()
    if kind < 0.35:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind < 0.65:
        return word[:at] + word[at + 1 :]
    if kind < 0.85:
        return word[:at] + word[at] + word[at:]
    return word[:at] + rng.choice(ALPHABET) + word[at + 1 :]


def typed(rng, text, keep=()):
    """The text as a hurried person would type it. Words in `keep` (names to be copied) are never misspelt."""
    if rng.random() < 0.35:
        return text
    if rng.random() < 0.25:
        long, short = rng.choice(list(SHORT.items()))
        text = re.sub(rf"\b{long}\b", short, text, flags=re.I)
    if rng.random() < 0.3:
        text = text.replace("colour", "color").replace("favourite", "favorite")
    if rng.random() < 0.2:
        words = text.split(" ")
        at = rng.randrange(len(words))
        if len(words[at]) > 3 and words[at].isalpha() and words[at] not in keep:
            words[at] = slip(rng, words[at])
            text = " ".join(words)
    if rng.random() < 0.25:
        text = text.replace("'", "")
    if rng.random() < 0.5:
        text = text.rstrip("?.!")
    elif rng.random() < 0.1:
        text = text.rstrip("?.!") + rng.choice(["??", "!!", "...", " ?", " !", "?!"])
    kind = rng.random()
    if kind < 0.5:
        text = text.lower()
    elif kind < 0.53:
        text = text.upper()
    return text
