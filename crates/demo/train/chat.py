"""One conversation under construction: messages, what the user told so far, and the style that the system message asks for."""

from facts import FEMALE, MALE
from grammar import cap, invented, say
from noise import typed
from words import RULES

SYSTEM_PLAIN = [
    "You are a helpful assistant.", "You are a helpful assistant.", "You are a helpful, friendly assistant.", "You are a friendly chatbot.", "You are the llcuda demo model.", "Be kind and helpful.",
    "You are a helpful AI assistant. Answer the user's questions.", "Answer the questions of the user.", "You are an assistant that answers in clear English.", "You are a storyteller for children.", "You are a teacher.", "Help the user.",
]
SYSTEM_SHORT = ["Answer briefly.", "Be brief.", "Answer with one word.", "Answer in as few words as possible.", "You are a helpful assistant. Keep your answers short.", "Give short answers.", "Be concise.", "You answer in one word."]
SYSTEM_PIRATE = ["You are a pirate.", "You are a pirate. Talk like one.", "Talk like a pirate.", "Speak like a pirate.", "You are a helpful pirate assistant.", "Answer like a pirate."]
SYSTEM_NAMED = ["Your name is <name>.", "You are <name>.", "You are <name>, a helpful assistant.", "You are a helpful assistant called <name>.", "You are an assistant named <name>. Be friendly.", "Your name is <name> and you help people."]
SYSTEM_USER = ["The user is called <name>.", "You are a helpful assistant. The user's name is <name>.", "You are talking to <name>.", "The name of the user is <name>."]


def any_name(rng):
    """A first name, every fourth time one that was never seen before."""
    return cap(invented(rng)) if rng.random() < 0.25 else rng.choice(FEMALE + MALE)


class Chat:
    """Grows turn by turn; skills read and write `user` (what the user told) and `last` (what can be asked about next)."""

    def __init__(self, rng):
        self.rng, self.messages, self.user, self.last = rng, [], {}, None
        self.persona, self.pirate, self.short, self.before = None, False, False, None
        kind = rng.random()
        if kind < 0.2:
            self.system(rng.choice(SYSTEM_PLAIN))
        elif kind < 0.22:
            self.system(rng.choice(SYSTEM_PLAIN) + " " + " ".join(rng.sample(RULES, rng.randrange(1, 9))))
        elif kind < 0.25:
            self.short = True
            self.system(rng.choice(SYSTEM_SHORT))
        elif kind < 0.29:
            self.pirate = True
            self.system(rng.choice(SYSTEM_PIRATE))
        elif kind < 0.34:
            self.persona = any_name(rng)
            self.system(say(rng, rng.choice(SYSTEM_NAMED), name=self.persona))
        elif kind < 0.36:
            self.user["name"] = any_name(rng)
            self.system(say(rng, rng.choice(SYSTEM_USER), name=self.user["name"]))

    def system(self, text):
        """The system message: always the first one."""
        self.messages.append(("system", text))

    def turn(self, ask, answer="", short=None, keep=(), raw="", text=None):
        """Adds a request (a template, then typed by a hurried user; `raw` follows untouched) and its answer.

        The answer is a template too, or `text`, which is taken as it is. `before` is a greeting (said, reply) that opens both.
        """
        rng = self.rng
        brief = self.short
        ask = cap(say(rng, ask))
        if short and not raw and rng.random() < 0.03:
            brief = True
            ask = rng.choice(("In one word: ", "Short answer: ", "Answer briefly: ", "Be brief. ")) + ask
        elif not raw and rng.random() < 0.06:
            ask = rng.choice(("Please ", "Can you tell me: ", "I have a question. ", "Hey, ", "So, ", "Okay. ", "Hi! ", "And ")) + ask[0].lower() + ask[1:]
        ask = typed(rng, ask, keep)
        if raw:
            ask = f"{ask} {raw}" if ask else raw
        answer = cap(text if text is not None else say(rng, short if brief and short else answer))
        if brief and short and answer[-1] not in ".!?":
            answer += "."
        if self.before:
            ask, answer = f"{typed(rng, self.before[0])}{rng.choice(('. ', '. ', ', ', '! '))}{ask}", f"{self.before[1]} {answer}"
            self.before = None
        if self.pirate:
            answer = rng.choice(("Arr! ", "Ahoy! ", "Aye, matey! ")) + answer
        self.messages.append(("user", ask))
        self.messages.append(("assistant", answer))
