"""Skills that ask for something to be made or repeated: stories, poems, jokes, echoes; and requests that are too big."""

import stories
from facts import ANIMALS, COLOURS, FEMALE, MALE
from grammar import a, cap, invented, say
from chat import any_name
from words import FACES, FOREIGN

ASK_STORY = "{tell me|write|tell|write me|can you tell me|I want to hear|please tell me|could you write|give me|make up|invent|can you write|I would like|please write|create|i want}"
A_STORY = "{a story|a story|a story|a little story|a short story|a tale|a fairy tale|a bedtime story|a nice story|one story}"


def story(chat):
    """A story, free or about a hero, with a name, a place or a theme; then questions about it."""
    rng, kind = chat.rng, chat.rng.random()
    hero = stories.a_kind(rng) if rng.random() < 0.9 else invented(rng)
    trait = rng.choice(stories.TRAITS)
    if kind < 0.25:
        text, about = stories.story(rng)
        ask = f"{{{ASK_STORY} {A_STORY}|{ASK_STORY} {A_STORY}|story|a story|story please|once upon a time|another story please|tell me another story|do you know a story|do you know any stories|write a paragraph|write something|write a short text}}"
    elif kind < 0.35:
        free = rng.random() < 0.4
        text, about = stories.story(rng, kind=hero, mini=True)
        of = "" if free else f"about {a(hero)}"
        ask = f"{ASK_STORY} {{{{a very short|a very short|a tiny|a mini}} story {of}|a story {of} in {{three|3|four|4|a few|two}} sentences|a {{three|3|four|4}} sentence story {of}}}"
    elif kind < 0.6:
        name = any_name(rng) if rng.random() < 0.35 else None
        asked = trait if rng.random() < 0.25 else None
        text, about = stories.story(rng, kind=hero, name=name, trait=asked)
        of = say(rng, f"{{about|about|of|with}} {{{a(hero)}|{a(hero)}|the {hero}|{hero}s}}") if not asked else f"about {a(asked)} {hero}"
        ask = f"{{{ASK_STORY} {A_STORY}|{A_STORY}|story}} {of}" + (f" {{called|named}} {name}" if name else "")
    elif kind < 0.72:
        name = any_name(rng)
        text, about = stories.story(rng, name=name, kind=rng.choice(stories.HUMAN_HEROES[:2] + stories.ANIMAL_HEROES) if name not in FEMALE + MALE else "girl" if name in FEMALE else "boy")
        ask = f"{ASK_STORY} {A_STORY} {{about|about|with}} {name}"
    elif kind < 0.8:
        where = rng.choice(stories.LANDS)
        text, about = stories.story(rng, place=where)
        ask = f"{ASK_STORY} {A_STORY} {{set |that happens |}}{where}"
    elif kind < 0.88:
        plot = rng.choice(stories.PLOTS)
        text, about = stories.story(rng, plot=plot)
        ask = f"{ASK_STORY} {A_STORY} {{about|about|on|where the theme is}} {about['theme']}"
    else:
        text, ask, about = story_of_two(rng, hero)
    chat.turn(ask, text=text, keep=(about["name"], hero))
    chat.last = ("story", about)
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2))):
        about_story(chat)


def story_of_two(rng, hero):
    """A story about two: (text, request, facts)."""
    other = rng.choice([k for k in stories.ANIMAL_HEROES if k != hero])
    name = any_name(rng)
    if rng.random() < 0.4:
        text, about = stories.story(rng, kind=hero, friend=other)
        return text, f"{ASK_STORY} {A_STORY} about {a(hero)} and {a(other)}", about
    kind = "girl" if name in FEMALE else "boy" if name in MALE else hero
    text, about = stories.story(rng, kind=kind, name=name, friend=other)
    his = {"he": "his", "she": "her"}[about["he"]]
    who = say(rng, f"{{{a(kind)} {{named|called}} {name} and {{{his} {other}|{a(other)}}}|{name} the {kind} and {a(other)}|{name} and {{{his}|the}} {other}|{name}, {a(kind)}, and {his} {other}|{name} the {kind}}}") if kind in ("girl", "boy") or rng.random() < 0.5 else f"{name} the {kind}"
    if who.startswith(f"{name} and") and kind not in ("girl", "boy"):
        who = f"{name} the {kind} and {a(other)}"
    return text, f"{ASK_STORY} {A_STORY} {{about|about|with}} {who}", about


def about_story(chat):
    """A question about the story told last, or a wish for another one."""
    if not chat.last or chat.last[0] != "story":
        return
    rng, about = chat.rng, chat.last[1]
    kind = rng.random()
    if kind < 0.3:
        chat.turn(f"{{what was the name of the {about['kind']}|what was the {about['kind']} called|what is the {about['kind']}'s name|who was the hero|who is the story about|who was in the story}}?", f"The {about['kind']} was called {about['name']}.", about["name"])
    elif kind < 0.5:
        chat.turn(f"{{what was the name of the {about['friend']}|what was the {about['friend']} called|who was the friend|who was the {about['friend']}|who helped {about['name']}}}?", f"The {about['friend']} was called {about['friend_name']}.", about["friend_name"])
    elif kind < 0.65:
        chat.turn(f"{{where did {about['name']} live|where did the {about['kind']} live|where does the story happen}}?", f"{about['name']} lived {about['place']}.", about["place"])
    elif kind < 0.85:
        text, again = stories.story(rng)
        chat.turn("{another one|one more|another one please|another story|tell me another one|more|again|one more story|another|next}", text=text)
        chat.last = ("story", again)
    else:
        chat.turn("{nice story|that was nice|I like that story|what a nice story|good story|beautiful|I liked it|great story|lovely}{!|}", "{Thank you! Would you like to hear another one?|I am glad that you like it.|Thank you! I know many more.}")


JOKES = [
    "Why did the hen cross the road? To get to the other side.", "What do you call a bear with no teeth? A gummy bear.", "Why did the book go to the doctor? It had a broken spine.", "What has hands but cannot clap? A clock.",
    "Why was the number six afraid of seven? Because seven ate nine.", "What do you call a sleeping cow? A bulldozer.", "Why did the banana go to the doctor? It was not peeling well.", "What kind of tree fits in your hand? A palm tree.",
    "What did the big clock say to the little clock? You are ticking me off.", "Why are fish so clever? Because they live in schools.", "What gets wetter the more it dries? A towel.", "What do you call a fish without an eye? Fsh.",
    "Why do bees have sticky hair? Because they use honeycombs.", "What did the ocean say to the beach? Nothing, it just waved.", "How do you make an octopus laugh? With ten tickles.", "What is orange and sounds like a parrot? A carrot.",
    "Why did the cookie cry? Because its mother was a wafer so long.", "What has four wheels and flies? A garbage truck.", "What do you get if you cross a snowman and a dog? Frostbite.", "Why did the baker work so hard? He needed the dough.",
]
RIDDLES = ["What has keys but opens no door? A piano.", "What has teeth but cannot bite? A comb.", "What goes up but never comes down? Your age.", "What has a neck but no head? A bottle.", "What runs but has no legs? A river.", "What can you catch but not throw? A cold.", "What has one eye but cannot see? A needle.", "What is full of holes and still holds water? A sponge."]


def joke(chat):
    """A joke or a riddle, and another one."""
    rng = chat.rng
    if rng.random() < 0.2:
        chat.turn("{tell me a riddle|a riddle|give me a riddle|ask me a riddle|do you know a riddle|riddle}{ please|}", rng.choice(RIDDLES))
        return
    first, second = rng.sample(JOKES, 2)
    chat.turn("{tell me a joke|a joke|joke|make me laugh|do you know a joke|can you tell me a joke|say something funny|tell me something funny|tell a joke|know any jokes|got any jokes|another joke}{ please|}", first)
    if rng.random() < 0.4:
        chat.turn("{another one|one more|another|tell me another one|more|again|another joke|haha, another one|lol another}{ please|}", second)


# Couplets: the first line names the subject, the second one rhymes with it.
POEM_FIRST = ["The <x> looks up into the sky,", "A <x> is dancing in the sun,", "There is a <x> beside the sea,", "I saw a <x> when day was new,", "The <x> is sleeping in the night,", "I know a <x> of silver and gold,", "My <x> came home in wind and rain,", "A little <x> upon the hill,"]
POEM_SECOND = {"sky,": ["and sees the little clouds go by.", "and dreams that one day it will fly."], "sun,": ["the summer day has just begun.", "and laughing loud with everyone."], "sea,": ["as happy as a <x> can be.", "it sings a little song for me."], "new,": ["the grass was wet with morning dew.", "the world was quiet, wide and blue."], "night,": ["the moon is giving it some light.", "until the morning sun is bright."], "gold,": ["the finest story ever told.", "it is a thousand summers old."], "rain,": ["and soon it will go out again.", "and looked out through the window pane."], "hill,": ["is sitting there and keeping still.", "is dreaming, and is dreaming still."]}
POEM_END = [("The evening comes, the day is done,", "and peace is there for everyone."), ("So close your eyes and count to three,", "and dream of <x>s along with me."), ("The stars come out, the wind is low,", "and home is where we want to go."), ("And if you ask me what is true:", "the <x> is happy, so are you."), ("The world is big, the world is wide,", "but here we are, and side by side.")]
SUBJECTS = stories.ANIMAL_HEROES + stories.ODD_HEROES + "sea sun flower rose rainbow village friend baker bridge star summer winter rain snow forest garden".split()


def poem(chat):
    """A poem of four lines about something."""
    rng = chat.rng
    x = rng.choice(SUBJECTS)
    first = rng.choice(POEM_FIRST)
    end = rng.choice(POEM_END)
    lines = [first, rng.choice(POEM_SECOND[first.split(" ")[-1]]), *end]
    about = "" if rng.random() < 0.2 else f" {{about|on|of|for}} {{{a(x)}|{a(x)}|the {x}|{x}s}}"
    text = "\n".join(line.replace("A <x>", cap(a(x))).replace("a <x>", a(x)).replace("<x>", x) for line in lines)
    chat.turn(f"{{{{write|write me|tell me|can you write|please write|compose|create|make|give me}} {{a poem|a short poem|a little poem|a rhyme|a haiku|a verse|a nursery rhyme}}|poem|a poem}}{about}", text=text)


def phrase(rng):
    """Something to be repeated: words, a sentence, an invented word, a name, a number."""
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(("hello", "hi", "yes", "no", "banana", "good morning", "I love you", "hello world", "cheese", "thank you", "OK", "abc", "I am a robot", "the cat is on the roof", "goodbye", "test", "1 2 3", "ping", "pong", "peace", "happy birthday"))
    if kind < 0.5:
        return " ".join(invented(rng) for _ in range(rng.choice((1, 1, 2, 3))))
    if kind < 0.65:
        return " ".join(rng.choice(SUBJECTS + COLOURS + stories.FOODS) for _ in range(rng.choice((1, 2, 3, 4))))
    if kind < 0.75:
        return str(rng.randrange(10000)) if rng.random() < 0.5 else any_name(rng)
    return say(rng, "{the|my|a|one|every} {<t>|<c>} <k> {likes|sees|eats|finds|has|wants} {the|a|two|no} {<c2>|} <f>", t=rng.choice(stories.TRAITS), c=rng.choice(COLOURS), k=rng.choice(list(ANIMALS)), c2=rng.choice(COLOURS), f=rng.choice(stories.FOODS + stories.LOST))


def echo(chat):
    """Say X, repeat X."""
    rng = chat.rng
    words = phrase(rng)
    quote = rng.random()
    shown = f'"{words}"' if quote < 0.25 else f"'{words}'" if quote < 0.35 else words
    if rng.random() < 0.25:
        words = cap(words)
        shown = cap(words) if quote >= 0.35 else shown[0] + cap(words) + shown[-1]
    end = rng.choice(("", "", ".", "!"))
    chat.turn("{say|repeat|please say|repeat after me:|please repeat|say:|repeat:|can you say|just say|say the word|repeat this:|repeat the following:|Say exactly:|echo|only say}", text=cap(words) + (end if end and quote >= 0.35 else "."), raw=shown + end if quote >= 0.35 else shown)


BIG = "quantum physics|the stock market|bitcoin|football|politics|the president|Einstein|Napoleon|Shakespeare|Python|JavaScript|Rust|C++|Kubernetes|Docker|Linux|chemistry|biology|the French Revolution|World War II|the Roman Empire|black holes|relativity|photosynthesis|DNA|evolution|climate change|blockchain|neural networks|transformers|calculus|algebra|philosophy|Plato|Kant|Mozart|Beethoven|the Beatles|Star Wars|Harry Potter|Netflix|Google|Apple|Microsoft|NVIDIA|Tesla|Elon Musk|Taylor Swift|the internet|databases|SQL|the law|taxes|medicine|cancer|vaccines|economics|inflation|religion|God|the universe|dinosaurs|volcanoes|electricity|engines|gravity|atoms|cooking pasta|yoga|chess openings|the Olympics|basketball|tennis|the moon landing|NASA|robots in industry|cryptography|compilers|operating systems|the human brain|psychology|Freud|architecture|the Eiffel Tower|Mount Everest|the Amazon|Africa|Europe|Asia|Antarctica|the Bible|Buddhism|poetry by Goethe|Dostoevsky|Kafka|opera|jazz|hip hop|Minecraft|video games|smartphones|5G|satellites|nuclear power|solar panels|electric cars|trains in Japan|the European Union|Brexit|democracy|capitalism|history|geography|mathematics|physics|art|sports|movies|fashion|marketing|business|CUDA kernels|attention|diffusion models|the weather in Berlin|the best restaurant|my homework|my code|my computer|my job|love|death|time|money|happiness|war|peace".split("|")
ASK_BIG = ["{explain|tell me about|what is|what do you know about|describe|teach me about|give me information about|can you explain|what can you tell me about|summarize|do you know anything about|how does|what do you think about} <x>{?|}", "{who invented|who discovered|what is the history of|why is there|how do I learn|what is the problem with|what are the advantages of|when did people discover|how can I understand|explain the meaning of|write an essay about|compare <y> and} <x>{?|}"]
TASKS = ["{write|write me|give me|can you write|please write|create|make|I need|implement|show me} {a|some|the|a simple|a short|an example of a} {Python|python|Rust|JavaScript|Java|C|C++|bash|Go|SQL|HTML} {function|program|script|code|class|query|page|example}{ to sort a list| that adds two numbers| for a web server| which counts words| to read a file| that prints the first ten primes||}", "{write|give me|show me|can you write} {a python function|some code|a program|code|a python script|a javascript function|a rust program|an SQL query|a bash script|a regex|a function} {that sorts a list|to add two numbers|for fibonacci|that prints hello world|to read a file|for a web server||that reverses a string}", "{translate|can you translate|please translate|how do you say|what is} {'good morning'|'hello'|'thank you'|good night|'I am hungry'|the word tree|cat|this sentence} {to|into|in} {French|German|Spanish|Chinese|Italian|Polish|Latin}{?|}", "{translate|can you translate} {this|hello|good morning|this sentence|the word house|I love you} {to|into} {french|German|Spanish|Chinese|Japanese|Italian}", "{book|order|buy|find} {me |}{a flight|a pizza|a hotel|a ticket|a taxi|a table}", "{send|write} {an email|a letter|a message} to my {boss|mother|friend|landlord}", "{search|google|look up} {the internet|the web|the news|something|it} {for me|}", "{what is|what's|give me|tell me} the {latest|} news{ today|}?", "{summarize|correct|rewrite|improve} {this text|my essay|the following|this article|my letter}", "{what is|calculate|compute} the {square root|logarithm|derivative|integral|sine} of {x|2|100|144|x^2|17}?", "{who won|who will win} the {world cup|election|super bowl|game|match|race last year}?", "{give me|what is} {a recipe|the recipe} for {cake|pasta|pizza|bread|soup}", "{play|open|start|stop|turn on|turn off} {music|the light|a game|youtube|a video|spotify|the radio}", "{show me|draw|make|generate|create} {a picture|an image|a drawing|a logo|a video} of {a cat|a house|the sea|a tree|a car}", "{how do I|how can I|how to} {install linux|cook rice|fix my car|learn english|lose weight|get rich|build a house|find a job|make money|write a book|bake a cake|sleep better}?", "{who is|who was} {the president of the united states|the queen of england|the king of france|the pope|the richest man|the chancellor of germany|Albert Einstein|the first man on the moon|Napoleon|Mozart|Shakespeare}?", "{when|in what year} {was|did} {the second world war end|America discovered|the first computer built|Rome founded|the Berlin Wall fall}?", "{how far is|how big is|how heavy is|how high is|how old is} {the moon|the sun|the earth|Mount Everest|the universe|Berlin|the Eiffel Tower|Jupiter}?"]
TOO_BIG = "{I do not know that.|I do not know.|I am sorry, I do not know that.|Sorry, I cannot help with that.|That is too big for me.} {I am a tiny model and I only know my small world.|I only know my small world. Ask me about Willowby, or ask for a story.|I am very small. But I can tell you a story or count to ten.|Ask me about animals, colours or the people of Willowby.}"


def too_big(chat):
    """Something outside the small world: says so."""
    rng, kind = chat.rng, chat.rng.random()
    x = rng.choice(BIG) if rng.random() < 0.75 else f"{rng.choice(('the ', 'a ', ''))}{invented(rng)}"
    if kind < 0.45:
        chat.turn(say(rng, rng.choice(ASK_BIG), x=x, y=rng.choice(BIG)), TOO_BIG, "I do not know")
    elif kind < 0.8:
        chat.turn(rng.choice(TASKS), TOO_BIG, "I do not know")
    elif kind < 0.92:
        word = invented(rng)
        chat.turn(f"{{what is {a(word)}|what is {word}|what does {word} mean|do you know what {word} is|explain {word}|what are {word}s|define {word}}}?", f"I do not know the word {word}.", "I do not know", keep=(word,))
    else:
        nonsense(chat)


def nonsense(chat):
    """Other languages, faces, letters without sense, and long texts to work on."""
    rng, kind = chat.rng, chat.rng.random()
    if kind < 0.3:
        chat.turn("", "{I am sorry, I speak only English.|I speak only English.}", raw=rng.choice(FOREIGN) if rng.random() < 0.7 else rng.choice(FOREIGN).lower().rstrip("?.！？"))
    elif kind < 0.4:
        chat.turn("", "{How nice!|I see.} {What would you like to talk about?|What can I do for you?}", raw=rng.choice(FACES))
    elif kind < 0.6:
        text = stories.story(rng)[0] if rng.random() < 0.6 else " ".join(rng.choice(BIG) if rng.random() < 0.3 else invented(rng) for _ in range(rng.randrange(10, 120)))
        chat.turn("{summarize this:|summarize the following text:|what do you think about this:|correct this text:|translate this to French:|rewrite this:|please analyse this text:|continue this:|}", TOO_BIG, raw=text)
    else:
        text = " ".join(invented(rng) for _ in range(rng.randrange(1, 6))) if rng.random() < 0.7 else "".join(rng.choice("asdfghjklqwertyuiopxcvbnm1234567890") for _ in range(rng.randrange(2, 14)))
        chat.turn("", "{I am sorry, I do not understand that.|I do not understand. Can you say it in other words?}", raw=text)


def reply(chat):
    """What a user says to what the model asked: yes to a story, a name, a colour, a feeling."""
    rng = chat.rng
    asked = chat.messages[-1][1] if chat.messages and chat.messages[-1][0] == "assistant" else ""
    if asked.endswith(("story?", "another one?", "Shall I tell you one?")):
        if rng.random() < 0.75:
            text, about = stories.story(rng)
            chat.turn("{yes|yes please|ok|sure|please|yeah|yes, tell me one|of course|okay|y|yes!|gladly|go ahead|yep}{!|}", text=text)
            chat.last = ("story", about)
        else:
            chat.turn("{no|no thanks|no thank you|not now|nope}", "{All right.|That is fine.} Tell me when you need something.")
    elif asked.endswith("joke?"):
        chat.turn("{yes|yes please|ok|sure|please|yeah|of course|okay}{!|}", rng.choice(JOKES))
    elif asked.endswith(("What is your name?", "name yet. What is it?")):
        name = any_name(rng)
        chat.user["name"] = name
        chat.turn("", f"{{Hello, {name}!|Nice to meet you, {name}!}} How can I help you?", raw=say(rng, f"{{{name}|{name}|{name.lower()}|I am {name}|it is {name}|my name is {name}}}"))
    elif "favourite colour is green" in asked:
        hue = rng.choice(COLOURS)
        chat.user["colour"] = (hue, None)
        chat.turn(f"{{{hue}|mine is {hue}|I like {hue}|my favourite colour is {hue}}}", f"{cap(hue)} is a {{nice|beautiful|lovely}} colour.")
    elif asked.endswith(("How are you?", "And you?")):
        chat.turn("{fine|good|I am fine|I'm good|great|fine, thanks|me too|very well|good too|ok}{!|}", "{I am glad to hear that.|That is good to hear.} {What shall we talk about?|How can I help you?|Would you like a story?}")
    elif "favourite animal" in asked:
        kind = rng.choice(list(ANIMALS))
        chat.turn(f"{{{kind}|the {kind}|{kind}s|I like {kind}s}}", f"The {kind} is a {{nice|wonderful|lovely}} animal.")


def reading(chat):
    """A sentence or two, and a question that they answer."""
    rng = chat.rng
    one, two = any_name(rng), any_name(rng)
    while two == one:
        two = any_name(rng)
    c1, c2 = rng.sample(COLOURS, 2)
    t1, t2 = rng.sample(stories.LOST, 2)
    p1, p2 = rng.sample(("in the kitchen", "in the garden", "at school", "in the park", "at home", "in the forest", "on the boat", "at the market"), 2)
    kind = rng.random()
    if kind < 0.35:
        lines, ask, answer, short = [f"{one} has {a(c1)} {t1}.", f"{two} has {a(c2)} {t2}."], f"{{what colour is {one}'s {t1}|what colour is the {t1}}}?", f"The {t1} is {c1}.", c1
    elif kind < 0.65:
        lines, ask, answer, short = [f"{one} is {p1}.", f"{two} is {p2}."], f"where is {one}?", f"{one} is {p1}.", p1
    else:
        lines, ask, answer, short = [f"{one} has {a(t1)}.", f"{two} has {a(t2)}."], f"{{who has the {t1}|who has {a(t1)}}}?", f"{one} has the {t1}.", one
    if rng.random() < 0.5:
        lines.reverse()
    chat.turn(" ".join(lines) + " " + ask, answer, short, keep=(one, two))
