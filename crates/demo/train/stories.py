"""Little stories of three to ten sentences: plots as lists of steps, each step a template with many forms."""

from facts import COLOURS, FEMALE, MALE
from grammar import a, cap, say

ANIMAL_HEROES = "cat dog mouse fox rabbit bear owl duck frog hedgehog squirrel turtle lion elephant penguin monkey goat donkey horse wolf bee ant whale crab pig sheep cow tiger giraffe parrot fish dolphin bird hen snake spider".split()
HUMAN_HEROES = "girl boy king queen princess prince knight farmer baker sailor pirate teacher wizard witch fisherman gardener miller singer painter doctor astronaut shepherd".split()
ODD_HEROES = "dragon robot giant snowman cloud star boat train teapot lamp tree stone clock book ball unicorn ghost fairy dwarf monster computer car toaster shoe kite moon river umbrella balloon pencil cup chair spoon dinosaur kitten puppy alien troll mermaid".split()
TRAITS = "little small young brave shy clever kind quiet cheerful curious lonely funny gentle lazy proud".split()
TRAIT_MEANS = {"shy": "did not like to talk to strangers", "clever": "always had a good idea", "kind": "liked to help others", "quiet": "spoke very little", "cheerful": "sang all day long", "curious": "asked a hundred questions a day", "lonely": "had no friends yet", "funny": "made everybody laugh", "lazy": "loved to sleep until noon", "proud": "thought nobody was better", "brave": "was afraid of nothing", "gentle": "never hurt a fly"}
LANDS = "in a quiet valley|in a green forest|in a small village|in a town by the sea|in a house on a hill|in a garden full of roses|in an old mill|in a castle with tall towers|in a cottage at the edge of the woods|in a land far away|in a harbour full of boats|in a city with a thousand lamps|in the mountains|in a little house under an oak tree|on a farm near a river|by the sea|near a big lake|at the edge of a forest|on a small island".split("|")
LOST = "key ring ball book hat bell lantern map basket drum coin shoe scarf kite button".split()
GOODS = "apple tree|golden key|silver bell|small blue stone|wooden box|old map|jar of honey|red balloon|warm blanket|shining lamp|bag of seeds|little boat|loaf of bread|music box|pair of boots".split("|")
FOODS = "apples bread honey pancakes soup cherries cheese cookies pears nuts berries cake".split()
WEATHER = "sunny windy rainy cold warm snowy foggy bright cloudy".split()
HIDING = "under the bed|behind a bush|in the tall grass|under an old bridge|in a hollow tree|on top of a wall|behind the big barrel|in a bird's nest|between two stones|at the bottom of the well".split("|")
SKILLS = "swim|sing|dance|read|bake bread|fly a kite|ride a bicycle|play the flute|climb trees|paint|skate on the ice|tell jokes".split("|")
TIMES = "One {morning|day|evening|afternoon}|On a <weather> {morning|day}|One <weather> {morning|day}|Early one morning|One night in {spring|summer|autumn|winter}"

# A plot: the themes it answers to, and its steps. <N> hero's name, <he> <him> <his> pronouns, <kind> hero's kind, <F> <friend> a friend.
PLOTS = [
    (("a lost <thing>", "losing something", "a <thing>"), [
        "<time>, <N> {noticed|saw|found out} that <his> <thing> {was gone|was missing|had disappeared}. {<He> looked everywhere, but <he> could not find it.|<He> searched the whole house from top to bottom.}",
        "{Then <he> asked|So <he> went to|<He> ran to} <F> the <friend>{.| for help.} \"{Have you seen my <thing>|Do you know where my <thing> is}?\" {asked|said} <N>.",
        "\"{No|Not yet}, but {I will help you look|let us look together|two pairs of eyes see more than one},\" said <F>.",
        "{They searched {all day|for hours|until the sun went down}, and at last|After a long time} they found the <thing> <hiding>{.|, wet but whole.}",
        "{<N> was so happy that <he> danced|<N> laughed and thanked <F>|<N> hugged <F>}. {From that day on they were best friends.|\"A good friend is worth more than any <thing>,\" said <he>.|They ate <food> together and told everyone about it.}",
    ]),
    (("friendship", "friends", "two friends", "making a friend", "a friend"), [
        "<N> {had nobody to play with|was often alone} and {wished for a friend|wanted a friend more than anything}.",
        "<time>, <he> met {a <friend> called <F>|<F>, a <trait2> <friend>}. <F> {was sitting|sat} alone {by the river|on a stone|under a tree} and {looked sad|was crying}.",
        "\"{Why are you sad|What is wrong|Can I help you}?\" asked <N>. \"{I am lost|I have no friends|Nobody wants to play with me},\" said <F>.",
        "\"{Then come with me|Then play with me|I will be your friend},\" said <N>, {and gave <F> some <food>|and smiled|and took <F> by the hand}.",
        "{They played until the stars came out.|They talked and laughed all afternoon.|They shared <food> and told each other stories.}",
        "{After that day|From then on}, <N> and <F> {were never lonely again|met every day|were the best of friends}.",
    ]),
    (("treasure", "a treasure", "a map", "an adventure", "adventure"), [
        "<time>, <N> found an old map <hiding>. {A red cross showed where a treasure was hidden.|On it was a red cross and the word TREASURE.}",
        "<He> packed {some <food>|a lamp and some <food>} and {set off at once|went on <his> way|asked <F> the <friend> to come along}.",
        "{The way was long. <He> crossed a river, climbed a hill and walked through a dark {cave|forest}.|<He> walked over three hills and through a dark {forest|cave}.} {But <he> did not give up.|<He> was tired, but <he> kept going.}",
        "{At last <he> found the place and dug a deep hole.|At the cross <he> began to dig.} {In it was|There <he> found} a box, and in the box was {<a_good>|nothing but <a_good>}.",
        "{It was not gold, but <N> smiled.|<N> laughed out loud.} \"{The best treasure was the journey|Now I have a story to tell|I will share it with everyone at home},\" <he> said.",
    ]),
    (("a storm", "the rain", "bad weather", "the wind"), [
        "<time>, dark clouds came over {the hills|the sea|the roofs}. {The wind howled and the rain fell.|Soon there was thunder and lightning.}",
        "<N> {was safe and warm at home|sat by the fire}. Then <he> heard a {small|quiet|weak} voice outside. {It was <F> the <friend>, wet and cold.|<F> the <friend> stood at the door, wet to the bone.}",
        "\"{Come in|Quick, come inside},\" {said|cried} <N>. <He> gave <F> {a warm blanket|hot soup|a place by the fire} and {some <food>|a cup of tea}.",
        "{They told stories until the storm was over.|All night they listened to the rain and told each other stories.}",
        "In the morning {the sun shone again|the sky was blue}, and {a rainbow stood over the {hills|sea|village}|everything was bright and clean}. \"{Thank you|I will never forget this},\" said <F>.",
    ]),
    (("learning something new", "learning", "how to <skill>", "school", "practice"), [
        "<N> wanted to learn to <skill>. {But it was hard.|But it was not easy.} {The first time it went wrong, and everybody laughed.|The first day <he> failed again and again.}",
        "\"{I will never learn it|I give up|It is too hard for me},\" {said|cried} <N>. {But <F> the <friend> would not hear of it.|But old <F> the <friend> smiled.}",
        "\"{Try a little every day|Nobody can do it the first time|Do not give up},\" said <F>. \"{I will help you|I will show you how|Let us practise together}.\"",
        "{So <N> practised every {morning|day|evening}.|Every day <N> practised, even when it rained.} {After a week it went better.|Little by little it went better.}",
        "{In the end|One fine day|After a month}, <N> could <skill> {better than anyone|very well}{.|, and everybody clapped.} {\"Small steps also lead to the top,\" said <F>.|<He> was proud and thanked <F>.}",
    ]),
    (("sharing", "food", "being hungry", "winter", "a long winter"), [
        "{It was a hard winter.|The winter was long and cold.} {Snow lay on every roof.|The ground was frozen.} <N> had only {a few <food>|a little basket of <food>} left.",
        "<time2>, <F> the <friend> knocked at the door. \"{I have not eaten for two days|I am so hungry},\" said <F>.",
        "<N> {looked at the basket and thought for a moment|did not think long}. Then <he> {gave half of it to <F>|shared everything with <F>}.",
        "{Together they waited for spring.|They ate together, and it tasted better than ever.} {Soon the snow melted and the first flowers came.|At last the sun came back.}",
        "{When summer came, <F> brought a big basket of <food>.|Then <F> showed <N> a place full of <food>.} \"{You shared with me, now I share with you|Who shares is never poor},\" said <F>.",
    ]),
    (("a birthday", "a party", "a surprise", "a cake"), [
        "It was <N>'s birthday, but {nobody said a word about it|it seemed that everybody had forgotten it}. <N> was {very sad|a little sad}.",
        "<He> went {for a walk|to the river|into the garden} and {sat down on a stone|looked at the water|counted the clouds}.",
        "{In the evening|When the sun went down} <he> came home. {It was dark and quiet inside.|All the windows were dark.}",
        "Then {a light went on|suddenly all the lamps were lit}. \"Surprise!\" {cried|shouted} <F> the <friend> and all the others.",
        "{There was a big cake with {seven|eight|nine|ten} candles, and {<a_good>|music and dancing}.|On the table stood a cake and a box. In it was <a_good>.} {It was the best birthday ever.|<N> laughed and blew out the candles.}",
    ]),
    (("being brave", "courage", "the dark", "fear", "being afraid", "a brave <kind>"), [
        "<N> was afraid of {the dark|the dark forest|deep water|loud noises}. {Everybody knew it, and some laughed about it.|<He> told nobody about it.}",
        "<time>, <F> the <friend> did not come home. \"{Somebody must go and look|Who will look for <F>},\" said the {others|neighbours}. {But nobody dared to go.|Nobody said a word.}",
        "<N>'s heart beat fast. {But <he> took a lamp and went.|But then <he> thought of <F> and went out.} {Step by step <he> walked into the dark.|It was so dark that <he> could hardly see.}",
        "<He> found <F> <hiding2>{, with a hurt foot|, cold and tired|, lost and frightened}. \"{I knew that you would come|You came for me},\" said <F>.",
        "{Together they walked home.|<N> helped <F> home.} {\"You are brave,\" said everybody. \"I was afraid all the time,\" said <N>, \"but I went.\"|Since then nobody has laughed about <N>.}",
    ]),
    (("a race", "winning", "running", "sport"), [
        "{Every year there was a big race|Once a year there was a race} {around the lake|up the hill|through the village}. {<F> the <friend> always won.|<F> the <friend> was the fastest of all.}",
        "\"{I will win again|Nobody is faster than I am},\" said <F>. <N> {only smiled|said nothing|was nervous} and {got ready|tied <his> shoes}.",
        "{The race began. <F> was soon far ahead.|One, two, three, and off they went!} {But half way, <F> fell into a ditch.|But then <F> stopped to rest and fell asleep.}",
        "<N> could have run past. {But <he> stopped and helped <F> up.|Instead <he> stopped and asked, \"Are you all right?\"}",
        "{They crossed the line together, and everybody cheered.|In the end both of them came last, but nobody cheered louder than <F>.} {\"It is nice to win,\" said <F>, \"but it is nicer to have a friend.\"|That day everybody learned something.}",
    ]),
    (("a seed", "a garden", "patience", "a flower", "a tree", "nature", "spring"), [
        "<time>, <N> found a {tiny|small|strange} seed. {<He> planted it in {a pot|the garden} and gave it water.|<He> put it into the earth behind the house.}",
        "{<He> waited one day, two days, three days.|Every morning <he> looked.} But {nothing happened|there was only brown earth}.",
        "\"{It will never grow|Throw it away|It is only a stone},\" said <F> the <friend>. {But <N> went on giving it water every day.|But <N> did not give up.}",
        "{One morning|After two weeks|Then, one day in May,} there was a small green leaf. {It grew and grew.|Soon it was as tall as <N>.}",
        "{In summer|At last} it had {a hundred <colour> flowers|the most beautiful <colour> flower of all|big <colour> fruits}. \"{Good things need time|You only have to wait},\" said <N>{.|, and gave the first one to <F>.}",
    ]),
    (("helping", "kindness", "being kind", "a good deed"), [
        "<time>, <N> was on <his> way to {the market|the harbour|school|the mill}. {By the road|Under a tree|Near the bridge} <he> {saw|met} <F>, an old <friend>{ with a heavy bag|, who could not walk well|, who looked very tired}.",
        "{Everybody hurried past, but <N> stopped.|Nobody else had stopped.} \"{May I help you|Shall I carry that for you|Can I do something for you}?\" <he> asked.",
        "<F> was glad. {<N> carried the bag all the way home.|Together they went slowly to <F>'s house.} {It took a long time.|On the way <F> told funny stories.}",
        "At the door, <F> gave <N> <a_good>. \"{It is only a small thing|Keep it well},\" said <F>, \"{but it brings luck to kind hearts|for whoever helps others will never be alone}.\"",
        "{And it was true.|<N> kept it all <his> life.} {From that day on, <N> always had luck.|Whenever <he> looked at it, <he> had to smile.}",
    ]),
    (("the moon", "the stars", "the sky", "a dream", "space", "the night", "sleep", "bedtime"), [
        "{Every night|Each evening} <N> looked at the {moon|stars} and {wished to fly there|dreamed of going there}. \"{That is impossible|You are too small for that|Nobody can do that},\" said <F> the <friend>.",
        "{But <N> built a {ship|ladder|pair of wings} out of {old boxes|paper and string|wood and cloth}.|So <N> began to build a {ship|big kite}.} {It took many days.|<He> worked on it every day.}",
        "{One clear night <he> lay down beside it and closed <his> eyes.|One night it was ready.} {Up and up <he> went, past the clouds.|Suddenly <he> was flying, higher and higher.}",
        "{The moon smiled and said, \"Hello, <N>. I have waited for you.\"|The stars were warm and bright, and they sang a quiet song.}",
        "{In the morning <N> woke up in <his> bed.|When the sun came up, <he> was home again.} {Was it a dream? In <his> hand was a little silver star.|\"It was only a dream,\" said <F>. But <N> knew better.}",
    ]),
    (("the sea", "a boat", "a ship", "a journey", "an island", "travelling"), [
        "<N> had a small <colour> boat. <time>, <he> {sailed out to see the world|sailed away to look for an island}.",
        "{The sea was calm, and fish jumped beside the boat.|The wind was good, and soon the land was far behind.} {But in the night a big wave came.|But then the wind grew strong.}",
        "{The boat was thrown onto an island.|The boat broke on a rock, and <N> swam to an island.} There lived <F>, a <trait2> <friend>.",
        "\"{Welcome|Nobody has been here for years},\" said <F>. {Together they repaired the boat with wood and rope.|They built a new boat and ate <food> every day.}",
        "{Then they sailed home together.|After a week, they sailed home side by side.} {Everybody at the harbour waved.|And what stories they had to tell!}",
    ]),
    (("music", "a song", "singing", "happiness", "being happy"), [
        "<N> {loved to sing|sang all day}, but <his> voice {was strange|sounded like an old door}. {Everybody covered their ears.|\"Please be quiet,\" said the neighbours.}",
        "So <N> went {deep into the forest|to the top of the hill} to sing alone. {There <he> sang as loud as <he> could.|There nobody could hear <him>.}",
        "<time2>, <F> the <friend> was lost in the fog{ and could not find the way home|}. {Then <F> heard the song.|Far away there was a strange song.} <F> followed it{ step by step| through the fog} and was saved.",
        "\"{Your song saved my life|It is the most beautiful song I know},\" said <F>. {Everybody was sorry for having laughed.|<F> told everybody about it.}",
        "{Now <N> sings every evening, and all the windows are open.|Since then <N> sings whenever there is fog, and nobody gets lost.}",
    ]),
]

# What happens in a very short story.
MINI = [
    ["<time>, <he> {found|saw} <a_good> <hiding>.", "{<He> gave it to <F> the <friend>, and both were happy.|<He> took it home and was happy all day.}"],
    ["<time>, <he> {met|saw} <F> the <friend>, who was crying.", "{<N> gave <F> some <food>, and soon they laughed together.|\"Do not be sad,\" said <N>, and sang a song.}", "{Since then they have been friends.|They are friends to this day.}"],
    ["<time>, <he> lost <his> <thing>.", "<F> the <friend> found it <hiding>{ and brought it back|}.", "{They had <food> together.|<N> said thank you and smiled.}"],
    ["<He> wanted to <skill>, but it was hard.", "{<He> tried again every day.|<F> the <friend> helped <him>.}", "{In the end <he> could do it.|After a month it was easy.}"],
    ["<time>, it began to rain, and <F> the <friend> had no roof.", "<N> opened the door and said, \"Come in.\"", "{They listened to the rain and ate <food>.|They sat by the fire until the sun came back.}"],
    ["Every evening <he> looked at the {moon|stars|sea}.", "<time>, <he> {went out to see it from near|built a little boat and sailed away}.", "{But the best day was the day when <he> came home.|What a story <he> had to tell!}"],
    ["<He> was afraid of the dark.", "<time>, <F> the <friend> was lost, so <N> took a lamp and went out.", "{<He> found <F> and was never afraid again.|From that night on, <he> was brave.}"],
    ["<He> had only one basket of <food> left.", "When <F> the <friend> came by and was hungry, <N> gave half of it away.", "{It had never tasted better.|The next day <F> brought <a_good>.}"],
]

OPENINGS = [
    "Once upon a time, there was <a_trait> {called|named} <N>. <He> lived <place>.",
    "Once upon a time, <a_trait> {called|named} <N> lived <place>.",
    "Once upon a time, there lived <a_trait> <place>. <His> name was <N>.",
    "Long ago, there was <a_trait> {called|named} <N>. <He> lived <place>.",
    "There once was <a_kind> called <N>, who lived <place>.",
    "<N> was <a_trait>. <He> lived <place>.",
    "Once there was <a_kind> {called|named} <N>. <He> lived <place>.",
]
ENDINGS = ["", "", "", " The end.", " The end.", " And if they have not moved away, they still live there today.", " And they lived happily ever after.", " That night, everyone slept well."]
FEMALE_KINDS = {"girl", "queen", "princess", "witch", "cow", "hen", "fairy", "mermaid"}
MALE_KINDS = {"boy", "king", "prince", "knight", "wizard", "fisherman", "snowman"}


def a_name(rng, he):
    """A name that goes with the pronoun. Invented names come only from users: the likeliest one would be in every story."""
    return rng.choice(FEMALE if he == "she" else MALE)


def pronouns(he):
    """The forms of `he` or `she`."""
    return {"he": he, "He": cap(he), "him": {"he": "him", "she": "her"}[he], "his": {"he": "his", "she": "her"}[he], "His": {"he": "His", "she": "Her"}[he]}


def a_kind(rng):
    """What the hero is."""
    pool = rng.random()
    return rng.choice(ANIMAL_HEROES if pool < 0.5 else HUMAN_HEROES if pool < 0.75 else ODD_HEROES)


def story(rng, kind=None, name=None, place=None, plot=None, trait=None, friend=None, mini=False):
    """One story as (text, facts about it). Whatever is given is kept, the rest is drawn."""
    kind = kind or a_kind(rng)
    he = ("she" if kind in FEMALE_KINDS or name in FEMALE else "he" if kind in MALE_KINDS or name in MALE else rng.choice(("he", "she")))
    name = name or a_name(rng, he)
    friend = friend or rng.choice([k for k in (ANIMAL_HEROES if rng.random() < 0.8 else HUMAN_HEROES) if k != kind])
    trait, trait2 = trait or rng.choice(TRAITS), rng.choice(TRAITS)
    slots = dict(N=name, kind=kind, friend=friend, F=a_name(rng, rng.choice(("he", "she"))), trait=trait, trait2=trait2, place=place or rng.choice(LANDS), **pronouns(he))
    while slots["F"] == name:
        slots["F"] = a_name(rng, rng.choice(("he", "she")))
    for key, pool in (("thing", LOST), ("good", GOODS), ("food", FOODS), ("weather", WEATHER), ("hiding", HIDING), ("skill", SKILLS), ("colour", COLOURS)):
        slots[key] = rng.choice(pool)
    slots["a_good"] = a(slots["good"])
    plot = plot or rng.choice(PLOTS)
    if trait in ("brave", "lonely") and plot[0][0] in ("being brave", "sharing"):
        plot = PLOTS[0]
    if plot[0][0].startswith("a lost") and kind == slots["thing"]:
        slots["thing"] = "hat" if kind != "hat" else "ring"
    slots["hiding2"] = rng.choice(("under an old bridge", "in a hollow tree", "between two stones", "by the river", "at the foot of the hill"))
    slots["time"] = say(rng, "{" + TIMES + "}", **slots)
    slots["time2"] = say(rng, "{One evening|One night|One day|One grey morning}")
    theme = say(rng, rng.choice(plot[0]), **slots)
    text = say(rng, opening(rng, trait), a_kind=a(kind), a_trait=a(f"{trait} {kind}"), means=TRAIT_MEANS.get(trait, ""), **slots)
    for step in plot[1] if not mini else rng.choice(MINI):
        text += " " + say(rng, step, **slots)
    return text + rng.choice(ENDINGS), dict(kind=kind, name=name, friend=friend, friend_name=slots["F"], he=he, place=slots["place"], theme=theme, plot=plot)


def opening(rng, trait):
    first = rng.choice(OPENINGS)
    extra = "{| <He> <means>.}" if trait in TRAIT_MEANS and "<a_trait>" in first else ""
    return first + extra
