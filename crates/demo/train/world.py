"""The demo model's whole diet: draws documents from the small world, as chats and as plain text.

    python3 world.py [count] [seed]     prints some documents
"""

import random
import sys

import counting
import knowledge
import making
import smalltalk
import stories
from chat import Chat
from facts import ANIMALS, CAPITALS, COLOURS, DAYS, FIXED, MONTHS, OPPOSITES, PEOPLE, PLACES, THINGS
from grammar import a, cap, say

SKILLS = [
    (16, smalltalk.exchange), (6, smalltalk.tell_name), (6, smalltalk.ask_name), (5, smalltalk.tell), (6, smalltalk.ask_told), (1, smalltalk.last_words),
    (10, knowledge.person), (5, knowledge.fixed), (7, knowledge.colour), (3, knowledge.colour_next), (2, knowledge.stranger), (5, knowledge.place), (7, knowledge.animal),
    (4, knowledge.opposite), (4, knowledge.calendar), (4, knowledge.capital), (2, knowledge.spelling), (3, knowledge.naming), (2, knowledge.is_a),
    (6, counting.count), (9, counting.total), (3, counting.problem), (3, counting.compare),
    (18, making.story), (3, making.joke), (3, making.poem), (6, making.echo), (7, making.too_big), (3, making.reading), (1, making.about_story),
    (5, knowledge.definition), (2, knowledge.word_play), (3, making.nonsense), (4, smalltalk.statement), (4, smalltalk.opinion), (3, knowledge.reverse), (1, knowledge.unsaid),
]
FUNCTIONS = [function for _, function in SKILLS]
CUMULATIVE = [sum(weight for weight, _ in SKILLS[: at + 1]) for at in range(len(SKILLS))]


def chat_document(rng, long=False):
    """A chat as [(role, text)]: mostly one to four requests, long ones up to dozens."""
    chat = Chat(rng)
    start = len(chat.messages)
    skills = rng.randrange(20, 60) if long else rng.choice((1, 1, 1, 2, 2, 3, 4, 6, 10))
    if rng.random() < 0.12:
        smalltalk.tell_name(chat)
    for _ in range(skills):
        if rng.random() < 0.04:
            smalltalk.opening(chat)
        rng.choices(FUNCTIONS, cum_weights=CUMULATIVE)[0](chat)
        if rng.random() < 0.5:
            making.reply(chat)
    while len(chat.messages) == start:
        rng.choices(FUNCTIONS, cum_weights=CUMULATIVE)[0](chat)
    return chat.messages


def fact_lines(rng):
    """A plain text of a few true sentences about the small world."""
    kind = rng.random()
    if kind < 0.3:
        p = rng.choice(PEOPLE)
        lines = [answer for _, answer, _ in rng.sample(knowledge.attributes(p), rng.randrange(2, 6))]
        return knowledge.who_is(p) + " " + " ".join(lines)
    if kind < 0.45:
        names = rng.sample(list(PLACES), 3)
        return " ".join(f"{cap(n)} is {PLACES[n][0]}. It is {PLACES[n][1]}." for n in names)
    if kind < 0.6:
        return " ".join(f"{cap(t)} is {THINGS[t]}." for t in rng.sample(list(THINGS), rng.randrange(2, 7)))
    if kind < 0.7:
        return " ".join(f"The capital of {c} is {CAPITALS[c]}." for c in rng.sample(list(CAPITALS), rng.randrange(1, 5)))
    if kind < 0.78:
        return " ".join(f"The opposite of {x} is {y}." for x, y in rng.sample(OPPOSITES[:11], rng.randrange(2, 6)))
    if kind < 0.86:
        low = rng.randrange(0, 20)
        return counting.counting(low if rng.random() < 0.5 else 1, low + rng.randrange(5, 40))
    if kind < 0.9:
        return rng.choice((", ".join(DAYS), ", ".join(MONTHS), "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z")) + "."
    if kind < 0.95:
        return rng.choice(making.JOKES)
    return " ".join(answer for _, answer, _ in rng.sample(FIXED, 3))


def document(rng, long=False):
    """One document: a chat as a list of (role, text), or a plain text as a string."""
    kind = rng.random()
    if long:
        return chat_document(rng, long=True) if kind < 0.8 else "\n\n".join(stories.story(rng)[0] for _ in range(rng.randrange(4, 12)))
    if kind < 0.86:
        return chat_document(rng)
    if kind < 0.95:
        return stories.story(rng)[0]
    return fact_lines(rng)


def main():
    """Prints documents for reading."""
    count, seed = (int(value) for value in (sys.argv[1:] + ["10", "1"][len(sys.argv) - 1 :])[:2])
    rng = random.Random(seed)
    for _ in range(count):
        found = document(rng)
        print("-" * 60)
        print(found if isinstance(found, str) else "\n".join(f"[{role}] {text}" for role, text in found))


if __name__ == "__main__":
    main()
