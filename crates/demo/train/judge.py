"""Measures the finished GGUF file on questions whose answers are known, greedily and with llama-server's default sampling.

    python3 judge.py GGUF
"""

import random
import sys

import numpy as np

import knowledge
import stories
from chat import any_name
from counting import counting
from facts import ANIMALS, CAPITALS, FEMALE, OPPOSITES, PEOPLE, THINGS
from grammar import a, cap, say
from reference import Reference

LIMIT = 400


def pick(rng, logits, temperature):
    """The best token at temperature 0, else a draw by top_k 40, top_p 0.95, min_p 0.05 and the temperature."""
    if not temperature:
        return int(logits.argmax())
    order = np.argsort(-logits)[:40]
    chances = np.exp(logits[order] - logits[order[0]])
    chances /= chances.sum()
    kept = (np.cumsum(chances) - chances < 0.95) & (chances >= 0.05 * chances[0])
    chances = np.where(kept, chances, 0) ** (1 / temperature)
    return int(rng.choices(order, weights=chances)[0])


def answer(model, rng, messages, temperature=0.0):
    """The model's answer; None if it did not end by itself."""
    model.reset()
    for token in model.encode(model.render(messages)):
        logits = model.step(token)
    made = []
    while len(made) < LIMIT:
        made.append(pick(rng, logits, temperature))
        if made[-1] == model.meta["tokenizer.ggml.eos_token_id"]:
            return model.tokenizer.decode(made[:-1])
        logits = model.step(made[-1])
    return None


def questions(rng):
    """Groups of (question, answer that must be given word for word)."""
    people = [(say(rng, ask, n=p.name, kind=p.kind, h="his" if p.he == "he" else "her"), right) for p in PEOPLE for ask, right, _ in knowledge.attributes(p)]
    return {
        "sums to 20": [(f"What is {x} + {y}?", f"{x} plus {y} is {x + y}.") for x in range(21) for y in range(21 - x)],
        "sums of two numbers to 100": [(f"What is {x} + {y}?", f"{x} plus {y} is {x + y}.") for x, y in ((rng.randrange(101), rng.randrange(101)) for _ in range(100))],
        "differences to 20": [(f"What is {x} - {y}?", f"{x} minus {y} is {x - y}.") for x in range(0, 21, 2) for y in range(x + 1)],
        "times tables to 12": [(f"What is {x} times {y}?", f"{x} times {y} is {x * y}.") for x in range(1, 13) for y in range(1, 13, 2)],
        "counting up to 2..30": [(f"Count to {n}.", counting(1, n) + ".") for n in range(2, 31)],
        "counting down from 2..30": [(f"Count down from {n}.", counting(n, 1) + ".") for n in range(2, 31)],
        "facts about people": people,
        "who is": [(f"Who is {p.name}?", knowledge.who_is(p)) for p in PEOPLE],
        "colours of things": [(f"What colour is {t}?", f"{cap(t)} is {hue}.") for t, hue in THINGS.items()],
        "animal babies": [(f"What is a baby {n} called?", f"A baby {n} is called {a(facts[2])}.") for n, facts in ANIMALS.items()],
        "capitals": [(f"What is the capital of {land}?", f"The capital of {land} is {city}.") for land, city in CAPITALS.items()],
        "opposites": [(f"What is the opposite of {one}?", f"The opposite of {one} is {two}.") for one, two in OPPOSITES if one not in ("new", "light")],
    }


def judge_facts(model, rng):
    """How many of each group are right."""
    for name, group in questions(rng).items():
        wrong = [(ask, made) for ask, right in group if (made := answer(model, rng, [{"role": "user", "content": ask}])) != right]
        print(f"{name}: {len(group) - len(wrong)} of {len(group)}", *wrong[:2])


def judge_memory(model, rng, temperature, count=40):
    """A name told, something else asked, the name asked."""
    good = 0
    for _ in range(count):
        name = any_name(rng)
        messages = [{"role": "user", "content": f"Hi, my name is {name}."}]
        for ask in ("Tell me a joke.", "What is my name?"):
            messages += [{"role": "assistant", "content": answer(model, rng, messages, temperature) or ""}, {"role": "user", "content": ask}]
        good += name in (answer(model, rng, messages, temperature) or "")
    print(f"temperature {temperature}: name remembered {good} of {count}")


def judge_stories(model, rng, temperature, count=40):
    """Stories that end, are about the asked hero, keep the asked name, and have two different names."""
    ended = hero = named = length = 0
    for _ in range(count):
        kind, name = rng.choice(stories.ANIMAL_HEROES + stories.ODD_HEROES), rng.choice(FEMALE)
        text = answer(model, rng, [{"role": "user", "content": f"Tell me a story about {a(kind)} named {name}."}], temperature)
        ended += text is not None
        hero += f" {kind}" in (text or "")
        named += (text or "").count(name) >= 2
        length += len((text or "").split(". "))
    print(f"temperature {temperature}: stories ended {ended}, about the hero {hero}, with the name {named} of {count}; {length / count:.1f} sentences")


def main():
    """Prints one line a group."""
    model, rng = Reference(sys.argv[1]), random.Random(7)
    judge_facts(model, rng)
    for temperature in (0.0, 0.8):
        judge_memory(model, rng, temperature)
        judge_stories(model, rng, temperature)


if __name__ == "__main__":
    main()
