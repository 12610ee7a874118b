"""Skills that ask for facts: the people and places of Willowby, animals, colours, opposites, the calendar, capitals, spelling."""

from chat import any_name
from facts import (ANIMALS, CAPITALS, COLOURS, DAYS, FIXED, FRUIT, MIXES, MONTHS, OPPOSITES, PEOPLE, PLACES, SEASON_OF, SEASONS, SPELLABLE, THINGS, VEGETABLES)
from grammar import a, cap, invented, join, say
from words import DEFINITIONS, PLURALS, RHYMES

NTH = "first second third fourth fifth sixth seventh".split()
NUMBER_WORDS = {0: "no", 2: "two", 4: "four", 6: "six", 8: "eight", 10: "ten"}


def fixed(chat):
    """One of the fixed questions."""
    ask, answer, short = chat.rng.choice(FIXED)
    chat.turn(ask, answer, short)


def colour(chat):
    """The colour of a thing, whether it has one, things of a colour, mixing."""
    rng, kind = chat.rng, chat.rng.random()
    thing = rng.choice(list(THINGS))
    hue = THINGS[thing]
    if kind < 0.5:
        chat.turn(f"{{{{what|which}} colour {{is|has}} {thing}|{{what|which}} colour is {thing}|what is the colour of {thing}|what's the colour of {thing}|tell me the colour of {thing}|do you know what colour {thing} is}}?", f"{thing} is {hue}.", hue)
        chat.last = ("colour", thing)
    elif kind < 0.65:
        guess = hue if rng.random() < 0.5 else rng.choice(COLOURS)
        other = rng.choice([c for c in COLOURS if c != hue])
        if rng.random() < 0.25:
            chat.turn(f"is {thing} {{{hue} or {other}|{other} or {hue}}}?", f"{thing} is {hue}.", hue)
            return
        answer = f"Yes, {thing} is {hue}." if guess == hue else f"No, {thing} is {hue}, not {guess}."
        chat.turn(f"is {thing} {guess}?", answer, "Yes" if guess == hue else "No")
        chat.last = ("colour", thing)
    elif kind < 0.8:
        hue = rng.choice([c for c in COLOURS if sum(v == c for v in THINGS.values()) > 1])
        things = rng.sample([t for t in THINGS if THINGS[t] == hue], 2)
        chat.turn(f"{{name something {hue}|what is {hue}|which things are {hue}|what things are {hue}|tell me something that is {hue}|give me an example of something {hue}}}?", f"{cap(things[0])} is {hue}, and {things[1]} is {hue} too.", things[0])
    elif kind < 0.93:
        (one, two), mixed = rng.choice(list(MIXES.items()))
        if rng.random() < 0.5:
            one, two = two, one
        chat.turn(f"{{what do you get {{if|when}} you mix {one} and {two}|what colour do {one} and {two} make|what is {one} and {two} mixed|mix {one} and {two}|{one} and {two} makes|what happens when I mix {one} and {two}}}?", f"If you mix {one} and {two}, you get {mixed}.", mixed)
    else:
        word = invented(rng)
        chat.turn(f"what colour is {a(word)}?", f"I do not know what {a(word)} is, so I do not know its colour.", "I do not know", keep=(word,))


def colour_next(chat):
    """"And the grass?" after a question about a colour."""
    if chat.last and chat.last[0] == "colour":
        thing = chat.rng.choice([t for t in THINGS if t != chat.last[1]])
        chat.turn(f"{{and|what about|how about|and what about}} {thing}?", f"{thing} is {THINGS[thing]}.", THINGS[thing])


def who_is(p):
    """The two sentences that present a person."""
    is_job = f"{p.name} is the {p.job} of Willowby" if p.job != "pupil" else f"{p.name} is a {'girl' if p.he == 'she' else 'boy'} of {p.age} years who goes to school in Willowby"
    if p.job == "old sailor":
        is_job = f"{p.name} is an old sailor"
    return f"{is_job}. {cap(p.he)} lives {p.home} and has {a(p.colour)} {p.kind} called {p.pet}."


def attributes(p):
    """Questions about a person: (question with <n>, answer, short answer). <n> is the name or a pronoun."""
    his = "his" if p.he == "he" else "her"
    has = f"{p.name} has {a(p.colour)} {p.kind} called {p.pet}."
    job = {"pupil": f"{p.name} is a pupil and goes to school.", "old sailor": f"{p.name} is an old sailor. Now {p.he} rests."}.get(p.job, f"{p.name} is the {p.job} of Willowby.")
    works = f"{p.name} works {p.work}." if p.job not in ("pupil", "old sailor") else f"{p.name} goes to school." if p.job == "pupil" else f"{p.name} does not work any more. {cap(p.he)} is 81 years old."
    return [
        ("{where does <n> live|where is the home of <n>|where is <n>'s house|what is the address of <n>}?", f"{p.name} lives {p.home}.", p.home),
        ("{what does <n> do|what is the job of <n>|what is <n>'s job|what work does <n> do|what does <n> do for a living}?", job, p.job),
        ("{where does <n> work}?", works, p.work if p.job != "old sailor" else "nowhere"),
        ("{how old is <n>|what is the age of <n>|what age is <n>|what is <n>'s age}?", f"{p.name} is {p.age} years old.", str(p.age)),
        ("{does <n> have a pet|what pet does <n> have|which animal does <n> have|what animal does <n> have|does <n> have an animal}?", has, f"{a(p.kind)} called {p.pet}"),
        ("{what is the name of <n>'s pet|what is <n>'s pet called|what is the name of <n>'s <kind>|what is <n>'s <kind> called|how is <n>'s <kind> called}?", f"{p.name}'s {p.kind} is called {p.pet}.", p.pet),
        ("{what colour is <n>'s <kind>|which colour has <n>'s <kind>}?", f"{p.name}'s {p.kind} {p.pet} is {p.colour}.", p.colour),
        ("{what is <n>'s favourite colour|which colour does <n> like|what is the favourite colour of <n>|what colour does <n> like}?", f"{p.name}'s favourite colour is {p.likes}.", p.likes),
        ("{what is <n>'s favourite food|what does <n> like to eat|what is the favourite food of <n>|what does <n> eat|which food does <n> like}?", f"{p.name} likes to eat {p.food}.", p.food),
        ("{what is <n>'s hobby|what does <n> like to do|what does <n> do for fun|what are <n>'s hobbies|what does <n> do in <h> free time}?", f"{p.name} likes {p.hobby}.", p.hobby),
        ("{who is <n>'s {best |}friend|who is a friend of <n>|does <n> have a friend|does <n> have friends|who is the best friend of <n>}?", f"{p.name}'s best friend is {p.friend}.", p.friend),
    ]


def person(chat):
    """A person by name, by job, by pet; then questions with a pronoun."""
    rng, kind = chat.rng, chat.rng.random()
    p = rng.choice(PEOPLE)
    his = "his" if p.he == "he" else "her"
    if kind < 0.4:
        chat.turn(f"{{who is {p.name}|tell me about {p.name}|what do you know about {p.name}|do you know {p.name}|who's {p.name}|can you tell me about {p.name}|describe {p.name}|who is {p.name} in Willowby}}?", who_is(p), job_of(p))
    elif kind < 0.6:
        ask, answer, short = rng.choice(attributes(p))
        chat.turn(say(rng, ask, n=p.name, kind=p.kind, h=his), answer, short)
    elif kind < 0.75:
        if p.job == "pupil":
            p = PEOPLE[0]
        chat.turn(f"{{who is the {p.job}|who is the {p.job} {{of|in}} Willowby|what is the name of the {p.job}|what is the {p.job} called|do you know the {p.job}|is there {a(p.job)} in Willowby|tell me about the {p.job}|what's the name of the {p.job}}}?", who_is(p), p.name)
    elif kind < 0.87:
        chat.turn(f"{{who is {p.pet}|who owns {p.pet}|whose {p.kind} is {p.pet}|who has {a(p.kind)}|tell me about {p.pet}|what animal is {p.pet}|what is {p.pet}}}?", f"{p.pet} is {p.name}'s {p.colour} {p.kind}." if p.kind != "dog" else f"{p.pet} is the {p.colour} dog of {p.name}.", p.name)
        if "who has" in chat.messages[-2][1].lower() and p.kind == "dog":
            chat.messages[-1] = ("assistant", "Ben has a black dog called Skipper, and Lily has a white dog called Daisy.")
    else:
        wrong = rng.choice([q for q in PEOPLE if q.job not in (p.job, "pupil")])
        yes = rng.random() < 0.4 and p.job != "pupil"
        asked = p.job if yes else wrong.job
        chat.turn(f"is {p.name} {{a|the}} {asked}?", (f"Yes, {job_sentence(p)}" if yes else f"No, {job_sentence(p)} The {wrong.job} is {wrong.name}."), "Yes" if yes else "No")
    for _ in range(rng.choice((0, 0, 1, 1, 2, 3))):
        ask, answer, short = rng.choice(attributes(p))
        form = say(rng, ask, n="@", kind=p.kind, h=his).replace("the home of @", f"{his} home").replace("@'s", his).replace("of @", "of " + ("him" if p.he == "he" else "her"))
        if "of him" in form or "of her" in form:
            form = say(rng, ask, n=p.name, kind=p.kind, h=his)
        chat.turn(form.replace("@", p.he), answer, short)
    if rng.random() < 0.25:
        q = rng.choice(PEOPLE)
        chat.turn(f"{{and|what about|and who is|how about}} {q.name}?", who_is(q), job_of(q))


def job_of(p):
    """The job with its article."""
    return a(p.job) if p.job in ("pupil", "old sailor") else f"the {p.job}"


def job_sentence(p):
    """"Tom is the baker."."""
    return f"{p.name} is {job_of(p)}."


def reverse(chat):
    """Who it is that has, likes, lives, works."""
    rng = chat.rng
    p = rng.choice(PEOPLE)
    ask, answer = rng.choice((
        (f"{{who likes {p.food}|who likes to eat {p.food}|whose favourite food is {p.food}|who eats {p.food}}}?", f"{p.name} likes {p.food}."),
        (f"{{who likes {p.hobby}|whose hobby is {p.hobby}|who loves {p.hobby}}}?", f"{p.name} likes {p.hobby}."),
        (f"who lives {p.home}?", f"{' and '.join(q.name for q in PEOPLE if q.home == p.home)} {'lives' if sum(q.home == p.home for q in PEOPLE) == 1 else 'live'} {p.home}."),
        (f"{{whose favourite colour is {p.likes}|who likes the colour {p.likes}|who likes {p.likes}}}?", f"{join([q.name for q in PEOPLE if q.likes == p.likes])} {'likes' if sum(q.likes == p.likes for q in PEOPLE) == 1 else 'like'} {p.likes}."),
        (f"who is {p.age} years old?", f"{p.name} is {p.age} years old."),
    ))
    chat.turn(ask, answer, answer.split(" like")[0].split(" live")[0].split(" is ")[0])


def unsaid(chat):
    """What nobody knows about a person of Willowby."""
    rng = chat.rng
    p = rng.choice(PEOPLE)
    ask = rng.choice((f"is {p.name} married?", f"does {p.name} have {{children|a car|a phone|a wife|a husband|a sister|brothers|money|a secret}}?", f"what is {p.name}'s {{last name|birthday|phone number|favourite book|favourite song|shoe size}}?", f"{{how tall|how rich|how strong|how heavy}} is {p.name}?", f"{{when was|in which year was}} {p.name} born?", f"why {{is {p.name} here|does {p.name} live there|is {p.name} happy}}?"))
    chat.turn(ask, f"I do not know that about {p.name}.", "I do not know")


def stranger(chat):
    """Somebody or something that is not in the small world."""
    rng = chat.rng
    name = any_name(rng)
    while name in {p.name for p in PEOPLE} or name == chat.user.get("name"):
        name = any_name(rng)
    if rng.random() < 0.25:
        name += " " + cap(invented(rng, 2))
    chat.turn(f"{{who is {name}|who was {name}|tell me about {name}|do you know {name}|where does {name} live|what do you know about {name}|how old is {name}}}?", f"{{I do not know anyone called {name}.|I do not know {name}.}} I only know the people of Willowby.", "I do not know", keep=(name,))


def place(chat):
    """Where a place of Willowby is and what it is like."""
    rng, kind = chat.rng, chat.rng.random()
    name = rng.choice(list(PLACES) + ["Willowby"] * 3)
    where, what = PLACES[name]
    bare = name.replace("the ", "")
    if kind < 0.45:
        chat.turn(f"{{where is {name}|where can I find {name}|how do I get to {name}|where's {name}|where is {bare}}}?", f"{name} is {where}.", where)
    elif kind < 0.85:
        chat.turn(f"{{what is {name}|tell me about {name}|describe {name}|what is {name} like|what do you know about {name}|what's {name}|what can I see in {name}}}?", f"{name} is {what}. It is {where}." if "in Willowby" not in where else f"{name} is {what}.", what)
    else:
        at = [p.name for p in PEOPLE if p.work.split(" ", 1)[1] == name and p.job != "pupil"]
        if at:
            chat.turn(f"who works {{in|at}} {name}?", f"{at[0]} works {next(p.work for p in PEOPLE if p.name == at[0])}.", at[0])
        else:
            chat.turn(f"who lives {{in|at}} {name}?", "I do not know who lives there." if name != "Willowby" else "Sixteen people live in Willowby.")


def animal(chat):
    """Sounds, legs, young, homes, food and size of animals."""
    rng, kind = chat.rng, chat.rng.random()
    name = rng.choice(list(ANIMALS))
    sound, legs, baby, lives, eats, size = ANIMALS[name]
    one = cap(a(name))
    if kind < 0.25:
        answer = f"{one} makes no sound at all." if sound.startswith("no sound") else f"{one} makes {sound}." if " " in sound and sound.startswith("a ") else f"{one} says {sound}."
        chat.turn(f"{{what sound does {a(name)} make|what does {a(name)} say|what noise does {a(name)} make|how does {a(name)} sound|what is the sound of {a(name)}|which sound does {a(name)} make}}?", answer, sound)
    elif kind < 0.4:
        chat.turn(f"{{how many legs does {a(name)} have|how many legs has {a(name)}|how many legs do {name}s have|how many feet does {a(name)} have}}?", f"{one} has {NUMBER_WORDS[legs]} legs.", NUMBER_WORDS[legs] if legs else "None")
    elif kind < 0.52:
        chat.turn(f"{{what is a baby {name} called|what do you call a baby {name}|what is the baby of {a(name)}|what's a young {name} called|how is a young {name} called}}?", f"A baby {name} is called {a(baby)}.", baby)
    elif kind < 0.64:
        chat.turn(f"{{where does {a(name)} live|where do {name}s live|what is the home of {a(name)}}}?", f"{one} lives {lives}.", lives)
    elif kind < 0.76:
        chat.turn(f"{{what does {a(name)} eat|what do {name}s eat|what do you feed {a(name)}|what is the food of {a(name)}}}?", f"{one} eats {eats}.", eats)
    elif kind < 0.88:
        other = rng.choice([n for n in ANIMALS if ANIMALS[n][5] != size])
        word = rng.choice(("bigger", "smaller"))
        best = name if (size > ANIMALS[other][5]) == (word == "bigger") else other
        rest = other if best == name else name
        if rng.random() < 0.5:
            chat.turn(f"{{which is|what is|who is}} {word}, {a(name)} or {a(other)}?", f"{cap(a(best))} is {word} than {a(rest)}.", a(best))
        else:
            chat.turn(f"is {a(name)} {word} than {a(other)}?", f"Yes, {a(name)} is {word} than {a(other)}." if best == name else f"No, {a(other)} is {word} than {a(name)}.", "Yes" if best == name else "No")
    else:
        where = "It has no legs." if not legs else f"It has {NUMBER_WORDS[legs]} legs."
        chat.turn(f"{{what is {a(name)}|tell me about {{{name}s|{a(name)}|the {name}}}|what do you know about {name}s|describe {a(name)}|{name}s|{name}}}?", f"{one} is an animal that lives {lives}. {where} It eats {eats}.", "An animal")


def opposite(chat):
    """The opposite of a word, with follow-ups."""
    rng = chat.rng
    for turn in range(rng.choice((1, 1, 2))):
        one, two = rng.choice(OPPOSITES[:11] + OPPOSITES[12:])
        if rng.random() < 0.5 and two not in ("old", "light", "short"):
            one, two = two, one
        if one == "light":
            two = "dark"
        ask = f"{{what is|what's|tell me|name|give me|do you know}} {{the|the|an}} opposite of {one}?" if turn == 0 else f"{{and the opposite of|and|and of|what about}} {one}?"
        chat.turn(ask, f"The opposite of {one} is {two}.", two)


def definition(chat):
    """What simple things are."""
    rng = chat.rng
    thing = rng.choice(list(DEFINITIONS))
    bare = thing.split(" ", 1)[-1]
    chat.turn(f"{{what is {thing}|what is {thing}|what's {thing}|explain what {thing} is|do you know what {thing} is|what does {bare} mean|what does the word {bare} mean|define {bare}|what is meant by {bare}}}?", DEFINITIONS[thing])


def word_play(chat):
    """Rhymes and plurals."""
    rng = chat.rng
    if rng.random() < 0.5:
        one, two = rng.choice(list(RHYMES.items()))
        if rng.random() < 0.4 and two not in RHYMES and list(RHYMES.values()).count(two) == 1:
            one, two = two, one
        chat.turn(f"{{what rhymes with {one}|which word rhymes with {one}|tell me a rhyme for {one}|a rhyme for {one}|find a rhyme for {one}}}?", f"{cap(two)} rhymes with {one}.", two)
    else:
        one, many = rng.choice(list(PLURALS.items()))
        chat.turn(f"{{what is the plural of {one}|what's the plural of {one}|one {one}, two|plural of {one}}}?", f"The plural of {one} is {many}.", many)


def calendar(chat):
    """The day or month before and after another, seasons, and their numbers."""
    rng, kind = chat.rng, chat.rng.random()
    names, word = (DAYS, "day") if kind < 0.45 else (MONTHS, "month")
    at = rng.randrange(len(names))
    if kind < 0.8:
        step = rng.choice((1, 1, -1))
        other = names[(at + step) % len(names)]
        after = "after" if step == 1 else "before"
        chat.turn(f"{{{{what|which}} {word} comes {after} {names[at]}|what is {after} {names[at]}|{{what|which}} {word} is {after} {names[at]}|what comes {after} {names[at]}}}?", f"{other} comes {after} {names[at]}.", other)
    elif kind < 0.9:
        chat.turn(f"{{in which season is {names[at]}|what season is {names[at]}|is {names[at]} in summer or winter|which season is {names[at]} in}}?", f"{names[at]} is in {SEASON_OF[names[at]]}.", SEASON_OF[names[at]])
    elif kind < 0.96:
        names, word = rng.choice(((DAYS, "day of the week"), (MONTHS, "month of the year")))
        at = rng.choice((0, 0, 1, 2, 3, 4, 5, 6, len(names) - 1))
        nth = "last" if at == len(names) - 1 else NTH[at]
        chat.turn(f"{{what|which}} is the {nth} {word}?", f"The {nth} {word} is {names[at]}.", names[at])
    else:
        season = rng.choice(SEASONS)
        other = SEASONS[(SEASONS.index(season) + 1) % 4]
        chat.turn(f"{{what|which season}} comes after {season}?", f"After {season} comes {other}.", other)


def capital(chat):
    """Capitals of some countries, and whose capital a city is."""
    rng = chat.rng
    for turn in range(rng.choice((1, 1, 1, 2, 3))):
        land = rng.choice(list(CAPITALS) + ["France"] * 4)
        city = CAPITALS[land]
        if rng.random() < 0.06:
            land = cap(invented(rng, 2))
            chat.turn(f"{{what is|what's}} the capital of {land}?", f"I do not know the capital of {land}.", "I do not know", keep=(land,))
        elif not turn and rng.random() < 0.12:
            asked = city if rng.random() < 0.4 else rng.choice(list(CAPITALS.values()))
            chat.turn(f"is {asked} the capital of {land}?", f"Yes, {city} is the capital of {land}." if asked == city else f"No, the capital of {land} is {city}.", "Yes" if asked == city else "No")
        elif turn:
            chat.turn(f"{{and of|and|what about|and the capital of|how about}} {land}?", f"The capital of {land} is {city}.", city)
        elif rng.random() < 0.15:
            chat.turn(f"{{{city} is the capital of which country|what country is {city} the capital of|in which country is {city}|where is {city}}}?", f"{city} is the capital of {land}.", land)
        else:
            chat.turn(f"{{what is|what's|tell me|name|do you know|whats}} the capital {{of|of|city of}} {land}?", f"The capital of {land} is {city}.", city)


def spelling(chat):
    """Spelling and first letters of common words."""
    rng, kind = chat.rng, chat.rng.random()
    word = rng.choice(SPELLABLE)
    if kind < 0.5:
        chat.turn(f"{{how do you spell {word}|spell {word}|spell the word {word}|can you spell {word}|how is {word} spelled}}?", f"{'-'.join(word.upper())}.")
    elif kind < 0.7:
        chat.turn(f"{{what is the first letter of {word}|which letter does {word} start with|what letter does {word} begin with}}?", f"The first letter of {word} is {word[0].upper()}.", word[0].upper())
    elif kind < 0.85:
        chat.turn(f"{{how many letters does {word} have|how many letters are in {word}|how many letters are in the word {word}}}?", f"The word {word} has {len(word)} letters.", str(len(word)))
    else:
        at = rng.randrange(25)
        letter, after = chr(65 + at), chr(66 + at)
        chat.turn(f"{{what letter comes after {letter}|which letter comes after {letter}|what comes after the letter {letter}|what letter is after {letter}}}?", f"{after} comes after {letter}.", after)


KINDS = {"animals": sorted(ANIMALS), "colours": COLOURS, "fruits": FRUIT, "vegetables": VEGETABLES, "farm animals": ["cow", "horse", "sheep", "pig", "hen", "goat", "donkey"], "days": DAYS, "months": MONTHS, "people from Willowby": [p.name for p in PEOPLE], "countries": [c for c in CAPITALS if " " not in c], "capitals": sorted(set(CAPITALS.values())), "planets": ["Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn"], "pets": ["a cat", "a dog", "a hamster", "a rabbit", "a parrot", "a fish"]}


def naming(chat):
    """Name three animals."""
    rng = chat.rng
    kind = rng.choice(list(KINDS) + ["animals", "colours", "fruits"] * 2)
    many = rng.choice((2, 3, 3, 3, 4, 5))
    word = {2: "two", 3: "three", 4: "four", 5: "five"}[many]
    chosen = rng.sample(KINDS[kind], many)
    if kind in ("days", "months"):
        chosen = sorted(chosen, key=KINDS[kind].index)
    chat.turn(f"{{name|list|tell me|give me|say|can you name|what are|list me}} {{{word}|{many}}} {kind}", cap(join(chosen)) + ".")


def is_a(chat):
    """Whether a word is an animal, a fruit, a colour or a vegetable."""
    rng = chat.rng
    groups = {"an animal": sorted(ANIMALS), "a fruit": FRUIT, "a vegetable": VEGETABLES, "a colour": [c for c in COLOURS if c != "orange"], "a day": DAYS, "a month": MONTHS}
    real, asked = rng.choice(list(groups)), rng.choice(list(groups))
    if rng.random() < 0.4:
        asked = real
    word = rng.choice([w for w in groups[real] if w != "orange"])
    named = word if real in ("a colour", "a day", "a month") else a(word)
    ask = f"is {named} {asked}?" if rng.random() < 0.7 else f"what is {named}?" if real != "an animal" else f"is {named} {asked}?"
    if ask.startswith("what"):
        chat.turn(ask, f"{cap(named)} is {real}.", real)
    else:
        chat.turn(ask, f"Yes, {named} is {asked}." if asked == real else f"No, {named} is {real}.", "Yes" if asked == real else "No")
