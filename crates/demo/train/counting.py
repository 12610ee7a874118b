"""Skills with numbers: counting, sums, comparing, and little word problems."""

from grammar import a, say
from facts import FEMALE, MALE

WORDS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()


def number(rng, value):
    """The number in digits, or at times as a word."""
    return WORDS[value] if value <= 20 and rng.random() < 0.2 else str(value)


def counting(first, last):
    """The numbers from first to last, either way."""
    step = 1 if last >= first else -1
    return ", ".join(str(value) for value in range(first, last + step, step))


def count(chat):
    """Counting up, down, between, and by steps."""
    rng, kind = chat.rng, chat.rng.random()
    high = rng.choice((5, 10, 10, 10, 15, 20, 30, rng.randrange(2, 31), rng.randrange(2, 31), rng.randrange(30, 101)))
    verb = "{count|please count|can you count|count for me|could you count|just count}"
    if kind < 0.45:
        chat.turn(f"{verb} {{to|up to|from 1 to|from one to|till}} {number(rng, high)}", counting(1, high) + ".")
    elif kind < 0.65:
        high = min(high, 40)
        chat.turn(f"{verb} {{down from|backwards from|back from}} {number(rng, high)}{{ to 1| to one|}}", counting(high, 1) + ".")
    elif kind < 0.85:
        first = rng.randrange(0, 60)
        last = first + rng.randrange(2, 25)
        if rng.random() < 0.25:
            first, last = last, first
        chat.turn(f"{{{verb}|{verb}|give me the numbers|list the numbers|say the numbers}} from {number(rng, first)} to {number(rng, last)}", counting(first, last) + ".")
    elif kind < 0.92:
        step = rng.choice((2, 2, 2, 5, 5, 10, 10, 3))
        times = rng.randrange(4, 11)
        named = {2: "{twos|2}", 3: "{threes|3}", 5: "{fives|5}", 10: "{tens|10}"}[step]
        chat.turn(f"{verb} {{in|by}} {named} to {step * times}", ", ".join(str(step * i) for i in range(1, times + 1)) + ".")
    elif kind < 0.96:
        value = rng.randrange(0, 100)
        chat.turn(f"{{what comes after|what number comes after|which number is after|what is the number after}} {number(rng, value)}?", f"After {value} comes {value + 1}.", str(value + 1))
    else:
        chat.turn(f"{{count to {rng.choice((1000, 500, 200, 10000))}|count to a million|count to infinity}}", "That is too far for me. I can count to 100.")


def operands(rng, kind):
    """Two numbers and their result, small ones most often."""
    top = rng.choice((10, 10, 10, 20, 20, 50, 100))
    x, y = rng.randrange(0, top + 1), rng.randrange(0, top + 1)
    if kind == "+":
        return x, y, x + y
    if kind == "-":
        return max(x, y), min(x, y), abs(x - y)
    x, y = rng.randrange(0, 13), rng.randrange(1, 13)
    return (x, y, x * y) if kind == "*" else (x * y, y, x)


FORMS = {
    "+": ("{<x> + <y>|<x>+<y>|<x> plus <y>|<x> and <y>|the sum of <x> and <y>}", "<x> plus <y> is <z>."),
    "-": ("{<x> - <y>|<x>-<y>|<x> minus <y>|<x> take away <y>}", "<x> minus <y> is <z>."),
    "*": ("{<x> * <y>|<x> x <y>|<x>*<y>|<x> times <y>|<x> multiplied by <y>}", "<x> times <y> is <z>."),
    "/": ("{<x> / <y>|<x> divided by <y>|<x>/<y>}", "<x> divided by <y> is <z>."),
}


def total(chat):
    """A sum, difference, product or quotient."""
    rng = chat.rng
    kind = rng.choices("+-*/", (6, 3, 2, 1))[0]
    if rng.random() < 0.06:
        x, y = rng.randrange(101, rng.choice((1000, 10000, 1000000))), rng.randrange(20, rng.choice((1000, 10000)))
        if rng.random() < 0.5:
            x, y = y, x
        chat.turn(f"{{what is|what's|calculate||how much is}} {say(rng, FORMS[kind][0], x=x, y=y)}{{?|}}", "{These numbers are too big for me.|That is too big for me.} I can do small sums, such as 12 plus 30.", "Too big")
        return
    x, y, z = operands(rng, kind)
    words = rng.random() < 0.15
    form = say(rng, FORMS[kind][0], x=number(rng, x) if words else x, y=number(rng, y) if words else y)
    wrap = "{what is|what's|what is|how much is|calculate||add up|tell me|compute|can you calculate|do you know} <form>{?|}" if rng.random() < 0.85 else "{<form>|<form> =|<form>=|<form> = ?}"
    chat.turn(say(rng, wrap, form=form), say(rng, FORMS[kind][1], x=x, y=y, z=z), str(z))


def problem(chat):
    """A word problem with two numbers."""
    rng = chat.rng
    name = rng.choice(FEMALE + MALE)
    he = "she" if name in FEMALE else "he"
    thing = rng.choice("apples|coins|books|balls|cookies|eggs|pears|pencils|stones|flowers|candies|cars".split("|"))
    x, y = rng.randrange(1, 15), rng.randrange(1, 15)
    if rng.random() < 0.55:
        ask = say(rng, "{<n> has <x> <t> and {gets|buys|finds} <y> more. How many <t> does {<h>|<n>} have{ now|}?|If I have <x> <t> and get <y> more, how many do I have?|There are <x> <t> on the table and <y> in the box. How many are there in total?}", n=name, x=number(rng, x), y=number(rng, y), t=thing, h=he)
        z = x + y
        chat.turn(ask, f"{x} plus {y} is {z}, so there are {z} {thing}.", str(z))
    else:
        x, y = max(x, y), min(x, y)
        ask = say(rng, "{<n> has <x> <t> and {gives away|loses|eats} <y>. How many <t> does {<h>|<n>} have left?|If I have <x> <t> and {lose|give away} <y>, how many are left?}", n=name, x=number(rng, x), y=number(rng, y), t=thing, h=he)
        z = x - y
        chat.turn(ask, f"{x} minus {y} is {z}, so {z} {thing} are left." if z > 1 else f"{x} minus {y} is {z}, so {('nothing', 'only one')[z]} is left.", str(z))


def compare(chat):
    """Which of two numbers is bigger, odd or even, a random number."""
    rng, kind = chat.rng, chat.rng.random()
    x, y = rng.randrange(0, 100), rng.randrange(0, 100)
    if kind < 0.5 and x != y:
        up = rng.random() < 0.6
        word = rng.choice(("bigger", "larger", "greater", "more")) if up else rng.choice(("smaller", "less"))
        best = max(x, y) if up else min(x, y)
        ask = rng.choice((f"{{which is|what is|which number is}} {word}, {x} or {y}?", f"{{what is|which is}} {word}: {x} or {y}?"))
        chat.turn(ask, f"{best} is {word} than {x + y - best}.", str(best))
    elif kind < 0.75:
        kinds = ("even", "odd")
        asked = rng.choice(kinds)
        real = kinds[x % 2]
        chat.turn(f"is {x} {asked}{{| or {kinds[1 - kinds.index(asked)]}}}?" if rng.random() < 0.5 else f"is {x} an {asked} number?", f"{x} is {real}.", real)
    else:
        low, high = rng.choice(((1, 10), (1, 10), (1, 100), (1, 6), (1, 20)))
        chat.turn(f"{{pick|give me|choose|tell me|say|think of}} {{a|a random|any}} number{{ between {low} and {high}| from {low} to {high}}}", f"{{My number is|I choose|I take}} {rng.randrange(low, high + 1)}.")
