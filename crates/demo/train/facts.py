"""The small world as tables: the village of Willowby, and the few things of the big world that the model knows."""

from collections import namedtuple

Person = namedtuple("Person", "name he age job work home pet kind colour likes food hobby friend")

# The people of Willowby. `work` and `home` complete "works ..." and "lives ...".
PEOPLE = [
    Person("Tom", "he", 45, "baker", "in the bakery", "above the bakery", "Biscuit", "cat", "orange", "yellow", "honey cake", "fishing", "Rosa"),
    Person("Rosa", "she", 38, "gardener", "in the garden", "in a green house near the school", "Clover", "rabbit", "white", "green", "strawberries", "painting", "Tom"),
    Person("Ben", "he", 52, "fisherman", "at the harbour", "in a blue house by the sea", "Skipper", "dog", "black", "blue", "fish soup", "singing", "Max"),
    Person("Mia", "she", 29, "teacher", "in the school", "next to the school", "Pepper", "parrot", "green", "red", "apple pie", "reading", "Ivy"),
    Person("Hugo", "he", 57, "farmer", "on the farm", "on Round Hill", "Bella", "horse", "brown", "brown", "potato soup", "dancing", "Otto"),
    Person("Nora", "she", 41, "doctor", "in the clinic", "in a white house near the bridge", "Pebble", "turtle", "green", "white", "pancakes", "swimming", "Clara"),
    Person("Felix", "he", 34, "smith", "in the forge", "behind the forge", "Rusty", "goat", "grey", "orange", "cheese", "playing the drum", "Zoe"),
    Person("Ada", "she", 66, "clockmaker", "in the clock tower", "in the clock tower", "Luna", "owl", "white", "silver", "plum cake", "looking at the stars", "Emil"),
    Person("Otto", "he", 60, "miller", "in the mill", "in the mill by the Silver River", "Puddle", "duck", "yellow", "grey", "fresh bread", "playing chess", "Hugo"),
    Person("Ivy", "she", 33, "librarian", "in the library", "in a small flat above the library", "Inky", "mouse", "black", "purple", "chocolate", "writing letters", "Mia"),
    Person("Leo", "he", 9, "pupil", "in the school", "on the farm", "Nut", "hamster", "brown", "red", "pizza", "climbing trees", "Lily"),
    Person("Lily", "she", 8, "pupil", "in the school", "above the bakery", "Daisy", "dog", "white", "pink", "ice cream", "drawing", "Leo"),
    Person("Clara", "she", 48, "postwoman", "in the post office", "in a yellow house near Market Square", "Barley", "donkey", "grey", "yellow", "noodles", "walking", "Nora"),
    Person("Max", "he", 70, "lighthouse keeper", "in the lighthouse", "in the lighthouse on the cliff", "Storm", "seagull", "white", "white", "roast fish", "telling stories", "Ben"),
    Person("Zoe", "she", 31, "boat builder", "in the boatyard", "in a red house by the harbour", "Copper", "fox", "red", "blue", "carrot cake", "sailing", "Felix"),
    Person("Emil", "he", 81, "old sailor", "nowhere, because he is old and rests", "in a little cottage by Blue Lake", "Hop", "frog", "green", "green", "porridge", "playing the violin", "Ada"),
]

# name: (where it is, what it is like)
PLACES = {
    "Willowby": ("between the Green Forest and the sea", "a small village with a harbour, a school and a bakery"),
    "the bakery": ("in Market Square", "a warm shop with a red roof that smells of fresh bread"),
    "the garden": ("behind the school", "a quiet place full of roses, beans and apple trees"),
    "the harbour": ("by the sea", "a place where the fishing boats come home"),
    "the school": ("next to the library", "a yellow house with twenty children in it"),
    "the farm": ("on Round Hill", "a big farm with cows, sheep, hens and one brown horse"),
    "the clinic": ("near the bridge", "a clean white house where Nora helps people who are ill"),
    "the forge": ("behind the mill", "a hot and noisy place where Felix makes keys and horseshoes"),
    "the clock tower": ("in the middle of Market Square", "a tall grey tower with a golden clock"),
    "the mill": ("by the Silver River", "an old mill with a big wooden wheel"),
    "the library": ("next to the school", "a silent house with a thousand books"),
    "the post office": ("in Market Square", "a small yellow house full of letters"),
    "the lighthouse": ("on the cliff", "a tall red and white tower that shows ships the way at night"),
    "the boatyard": ("beside the harbour", "a place where Zoe builds wooden boats"),
    "the bridge": ("over the Silver River", "an old stone bridge with three arches"),
    "Market Square": ("in the middle of Willowby", "the place where people meet and buy fruit on Saturday"),
    "the Green Forest": ("north of Willowby", "a deep forest with tall trees, owls and foxes"),
    "the Silver River": ("between Round Hill and the forest", "a clear river that runs from the hills to the sea"),
    "Blue Lake": ("in the Green Forest", "a small lake with frogs and water lilies"),
    "Round Hill": ("east of Willowby", "a green hill with a wide view of the sea"),
}

COLOURS = "red blue green yellow orange purple pink brown black white grey silver gold".split()

THINGS = {
    "the sky": "blue", "grass": "green", "the sun": "yellow", "snow": "white", "blood": "red", "a banana": "yellow", "a lemon": "yellow", "a tomato": "red",
    "a carrot": "orange", "an orange": "orange", "the sea": "blue", "coal": "black", "milk": "white", "chocolate": "brown", "a frog": "green", "a strawberry": "red",
    "a crow": "black", "a swan": "white", "a flamingo": "pink", "a pig": "pink", "an elephant": "grey", "a mouse": "grey", "a pumpkin": "orange", "a cucumber": "green",
    "the night sky": "black", "a cloud": "white", "a rose": "red", "a leaf": "green", "a cherry": "red", "a plum": "purple", "a fire engine": "red", "salt": "white",
    "sugar": "white", "a tree trunk": "brown", "a bear": "brown", "a polar bear": "white", "a canary": "yellow", "honey": "gold", "a fox": "red", "an aubergine": "purple",
    "a stop sign": "red", "a lime": "green", "a pea": "green", "an egg yolk": "yellow", "a raven": "black", "a blueberry": "blue", "a peach": "orange", "the moon": "white",
    "bread": "brown", "cheese": "yellow", "wood": "brown", "a ladybird": "red", "a grasshopper": "green", "a sunflower": "yellow", "lavender": "purple", "ice": "white",
}

# name: (sound, legs, baby, lives, eats, size rank)
ANIMALS = {
    "cat": ("meow", 4, "kitten", "in a house", "fish and mice", 4), "dog": ("woof", 4, "puppy", "in a house", "meat and bones", 5), "cow": ("moo", 4, "calf", "on a farm", "grass", 8),
    "horse": ("neigh", 4, "foal", "on a farm", "grass and apples", 8), "sheep": ("baa", 4, "lamb", "on a farm", "grass", 6), "pig": ("oink", 4, "piglet", "on a farm", "almost everything", 6),
    "duck": ("quack", 2, "duckling", "by the pond", "grain and water plants", 4), "hen": ("cluck", 2, "chick", "on a farm", "grain", 3), "lion": ("roar", 4, "cub", "in the savannah", "meat", 7),
    "bear": ("growl", 4, "cub", "in the forest", "berries, fish and honey", 8), "frog": ("croak", 4, "tadpole", "by the pond", "flies", 2), "owl": ("hoot", 2, "owlet", "in the forest", "mice", 3),
    "bee": ("buzz", 6, "larva", "in a hive", "nectar", 1), "snake": ("hiss", 0, "snakelet", "in the grass", "mice", 3), "mouse": ("squeak", 4, "pup", "in a little hole", "cheese and seeds", 2),
    "wolf": ("howl", 4, "pup", "in the forest", "meat", 6), "goat": ("bleat", 4, "kid", "on a farm", "grass and leaves", 6), "donkey": ("hee-haw", 4, "foal", "on a farm", "hay", 7),
    "bird": ("tweet", 2, "chick", "in a nest", "seeds and worms", 2), "elephant": ("trumpet", 4, "calf", "in the savannah", "leaves and fruit", 9), "rabbit": ("squeak", 4, "kit", "in a burrow", "carrots and grass", 3),
    "fish": ("no sound at all", 0, "fry", "in the water", "water plants and worms", 2), "spider": ("no sound at all", 8, "spiderling", "in a web", "flies", 1), "fox": ("yip", 4, "cub", "in the forest", "mice and berries", 4),
    "ant": ("no sound at all", 6, "larva", "in an anthill", "crumbs", 1), "whale": ("a long song", 0, "calf", "in the sea", "tiny sea animals", 10), "turtle": ("no sound at all", 4, "hatchling", "by the water", "leaves", 3),
    "monkey": ("ooh ooh", 4, "infant", "in the trees", "fruit", 5), "penguin": ("honk", 2, "chick", "in the cold south", "fish", 5), "giraffe": ("a soft hum", 4, "calf", "in the savannah", "leaves", 9),
    "tiger": ("roar", 4, "cub", "in the jungle", "meat", 7), "squirrel": ("chirp", 4, "kit", "in the trees", "nuts", 2), "hedgehog": ("snuffle", 4, "hoglet", "in the garden", "snails", 2),
    "parrot": ("squawk", 2, "chick", "in warm forests", "seeds and fruit", 3), "crab": ("no sound at all", 10, "larva", "by the sea", "small sea animals", 2), "dolphin": ("click", 0, "calf", "in the sea", "fish", 7),
}

OPPOSITES = [
    ("big", "small"), ("hot", "cold"), ("up", "down"), ("fast", "slow"), ("day", "night"), ("happy", "sad"), ("old", "young"), ("new", "old"), ("good", "bad"), ("high", "low"), ("left", "right"),
    ("open", "closed"), ("light", "dark"), ("hard", "soft"), ("wet", "dry"), ("full", "empty"), ("long", "short"), ("loud", "quiet"), ("near", "far"), ("rich", "poor"), ("strong", "weak"), ("thick", "thin"),
    ("clean", "dirty"), ("early", "late"), ("easy", "difficult"), ("first", "last"), ("in", "out"), ("on", "off"), ("black", "white"), ("yes", "no"), ("win", "lose"), ("start", "stop"), ("push", "pull"),
    ("love", "hate"), ("sweet", "sour"), ("true", "false"), ("summer", "winter"), ("inside", "outside"), ("always", "never"), ("everything", "nothing"), ("front", "back"), ("top", "bottom"), ("brave", "afraid"),
    ("heavy", "light"), ("deep", "shallow"), ("wide", "narrow"), ("tall", "short"), ("smooth", "rough"), ("awake", "asleep"), ("buy", "sell"), ("laugh", "cry"), ("give", "take"), ("question", "answer"),
    ("beautiful", "ugly"), ("kind", "mean"), ("sharp", "blunt"), ("above", "below"), ("before", "after"), ("north", "south"), ("east", "west"), ("warm", "cool"), ("begin", "end"), ("friend", "enemy"),
]

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = "spring summer autumn winter".split()
SEASON_OF = dict(zip(MONTHS, "winter winter spring spring spring summer summer summer autumn autumn autumn winter".split()))

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Italy": "Rome", "Spain": "Madrid", "England": "London", "the United Kingdom": "London", "Portugal": "Lisbon", "Austria": "Vienna", "Poland": "Warsaw", "Greece": "Athens",
    "Japan": "Tokyo", "China": "Beijing", "India": "New Delhi", "Russia": "Moscow", "Egypt": "Cairo", "Canada": "Ottawa", "the United States": "Washington", "the USA": "Washington", "Brazil": "Brasilia", "Mexico": "Mexico City",
    "Australia": "Canberra", "Sweden": "Stockholm", "Norway": "Oslo", "Denmark": "Copenhagen", "Finland": "Helsinki", "Ireland": "Dublin", "the Netherlands": "Amsterdam", "Belgium": "Brussels", "Switzerland": "Bern",
    "Turkey": "Ankara", "Ukraine": "Kyiv", "Hungary": "Budapest", "Argentina": "Buenos Aires", "South Korea": "Seoul", "Kenya": "Nairobi", "Scotland": "Edinburgh", "Iceland": "Reykjavik", "Vietnam": "Hanoi",
}

MIXES = {("blue", "yellow"): "green", ("red", "yellow"): "orange", ("red", "blue"): "purple", ("black", "white"): "grey", ("red", "white"): "pink"}

# Question forms, full answer, short answer.
FIXED = [
    ("{how many days are {there in|in} a week|how many days does a week have}?", "A week has seven days.", "Seven"),
    ("{how many months are {there in|in} a year|how many months does a year have}?", "A year has twelve months.", "Twelve"),
    ("{how many hours are {there in|in} a day|how many hours does a day have}?", "A day has twenty-four hours.", "24"),
    ("{how many minutes are {there in|in} an hour|how many minutes does an hour have}?", "An hour has sixty minutes.", "60"),
    ("how many seconds {are in|are there in|does} a minute{| have}?", "A minute has sixty seconds.", "60"),
    ("how many days {are in|are there in|does} a year{| have}?", "A year has 365 days, and a leap year has 366.", "365"),
    ("how many {seasons|seasons are there|seasons are in a year}?", "There are four seasons: spring, summer, autumn and winter.", "Four"),
    ("{what are|name|list|tell me} the {four |}seasons{| of the year}?", "The seasons are spring, summer, autumn and winter.", "Spring, summer, autumn, winter"),
    ("{what are|name|list|tell me|say} the days of the week?", "The days of the week are Monday, Tuesday, Wednesday, Thursday, Friday, Saturday and Sunday.", "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"),
    ("{what are|name|list|tell me|say} {the|all the|all} months{| of the year}?", "The months are January, February, March, April, May, June, July, August, September, October, November and December.", "January, February, March, April, May, June, July, August, September, October, November, December"),
    ("{what are|name|list|tell me} the colours of the rainbow?", "The colours of the rainbow are red, orange, yellow, green, blue, indigo and violet.", "Red, orange, yellow, green, blue, indigo, violet"),
    ("how many colours {are in|does|are there in} {the|a} rainbow{| have}?", "A rainbow has seven colours.", "Seven"),
    ("{say|what is|tell me|recite|write} the alphabet", "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z.", "A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z"),
    ("how many letters {are in|are there in|does|has} the alphabet{| have}?", "The alphabet has twenty-six letters.", "26"),
    ("how many planets {are there|are in the solar system|does the solar system have}?", "There are eight planets: Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.", "Eight"),
    ("{what are|name|list|tell me} the planets?", "The planets are Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune.", "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus, Neptune"),
    ("{what is|which is} the {biggest|largest} planet?", "Jupiter is the biggest planet.", "Jupiter"),
    ("{what is|which is} the {biggest|largest} {animal|animal in the world|animal on earth}?", "The blue whale is the biggest animal in the world.", "The blue whale"),
    ("{what is|which is} the tallest animal?", "The giraffe is the tallest animal.", "The giraffe"),
    ("{what is|which is} the fastest animal?", "The cheetah is the fastest animal on land.", "The cheetah"),
    ("how many sides {does|has} a triangle{| have}?", "A triangle has three sides.", "Three"),
    ("how many sides {does|has} a square{| have}?", "A square has four sides.", "Four"),
    ("how many {fingers|fingers does a hand have|fingers are on a hand|fingers are on one hand}?", "A hand has five fingers.", "Five"),
    ("how many wheels {does|has} a {car|cart}{| have}?", "It has four wheels.", "Four"),
    ("how many wheels {does|has} a {bicycle|bike}{| have}?", "A bicycle has two wheels.", "Two"),
    ("how many {legs|arms|hands|eyes} do {people|humans|you think people} have?", "People have two of them.", "Two"),
    ("is the {earth|world} {round|flat}?", "The earth is round, like a ball.", "Round"),
    ("why is the sky blue?", "Sunlight has all colours in it, and the air scatters the blue light the most. So the sky looks blue.", "The air scatters blue light"),
    ("{where does the sun rise|in what direction does the sun rise}?", "The sun rises in the east and sets in the west.", "In the east"),
    ("{what is|what do you call} frozen water?", "Frozen water is ice.", "Ice"),
    ("{what is|what's} water {made of}?", "Water is made of hydrogen and oxygen.", "Hydrogen and oxygen"),
    ("what {do bees make|is made by bees}?", "Bees make honey.", "Honey"),
    ("where does milk come from?", "Milk comes from cows, and from goats and sheep.", "From cows"),
    ("where {do eggs|does an egg} come from?", "Eggs come from hens.", "From hens"),
    ("{what is|what's} bread made {of|from}?", "Bread is made from flour, water, salt and yeast.", "Flour, water, salt and yeast"),
    ("{what is|what's} the meaning of life?", "Some say the answer is 42. I think it is to be kind, to learn something and to eat cake with friends.", "42"),
    ("{what came first|which came first}, the chicken or the egg?", "I think it was the egg, but the hen does not agree.", "The egg"),
    ("how much is a dozen?", "A dozen is twelve.", "Twelve"),
    ("{is a|would you say a} tomato {a fruit or a vegetable|a fruit}?", "A tomato is a fruit, although cooks treat it as a vegetable.", "A fruit"),
    ("{how many|how many times is the letter} {r's|r|rs} {are |}{there |}in {strawberry|the word strawberry}?", "The word strawberry has three r's.", "Three"),
    ("{when|in which month} is Christmas?", "Christmas is in December.", "In December"),
    ("{what do you say|what do people say} {in the morning|when you meet somebody}?", "You say good morning or hello.", "Hello"),
    ("is water wet?", "Yes, water is wet.", "Yes"),
    ("is fire {hot|cold}?", "Fire is hot. Please do not touch it.", "Hot"),
    ("is ice {cold|hot}?", "Ice is cold.", "Cold"),
    ("can {birds|pigs|fish|cats} fly?", "Most birds can fly. Pigs, fish and cats cannot.", "Birds can"),
    ("can {fish|ducks|cats|dogs} swim?", "Yes, they can swim.", "Yes"),
    ("how many people {live|are there} in {willowby|Willowby|the village|your world|your village}?", "I know sixteen people in Willowby.", "Sixteen"),
    ("who {lives|are the people|is} in {willowby|Willowby|the village|your village|your world}?", "Sixteen people live in Willowby: Tom, Rosa, Ben, Mia, Hugo, Nora, Felix, Ada, Otto, Ivy, Leo, Lily, Clara, Max, Zoe and Emil.", "Tom, Rosa, Ben, Mia, Hugo, Nora, Felix, Ada, Otto, Ivy, Leo, Lily, Clara, Max, Zoe and Emil"),
    ("who {is|are} the {children|kids} {in|of} {willowby|Willowby|the village}?", "Leo and Lily are the children I know. Leo is nine and Lily is eight.", "Leo and Lily"),
    ("who is the oldest {person|}{| in willowby| in Willowby| in the village}?", "Emil is the oldest. He is 81 years old.", "Emil"),
    ("who is the youngest {person|}{| in willowby| in Willowby| in the village}?", "Lily is the youngest. She is eight years old.", "Lily"),
    ("{which|what} places {are there in|are in|do you know in} {willowby|Willowby|the village|your world}?", "There is a bakery, a garden, a harbour, a school, a farm, a clinic, a forge, a clock tower, a mill, a library, a post office, a lighthouse and a boatyard.", "A bakery, a garden, a harbour, a school, a farm and more"),
    ("{what animals live in|which pets live in|what pets are there in} {willowby|Willowby|the village|your world}?", "There are cats, dogs, a rabbit, a parrot, a horse, a turtle, a goat, an owl, a duck, a mouse, a hamster, a donkey, a seagull, a fox and a frog.", "Cats, dogs, a horse, an owl and many more"),
]

FRUIT = "apple pear banana cherry plum orange lemon peach grape strawberry melon mango".split()
VEGETABLES = "carrot potato onion cabbage bean pea cucumber pumpkin leek beetroot".split()
SPELLABLE = "cat dog house apple tree water bread school happy friend river mouse horse green yellow orange banana garden baker flower summer winter window table chair book light night hello world model story number colour animal".split()

FEMALE = "Anna Emma Olivia Sophie Laura Julia Maria Eva Sarah Alice Lena Hannah Nina Ella Chloe Grace Ruth Jane Kate Lucy Amy Ellen Maya Priya Aisha Fatima Yuki Mei Ingrid Elena Sofia Isabella Ava Charlotte Amelia Emily Victoria Martha Molly Rose Stella Paula Karen Linda Susan Jessica Ashley Olga Anja Katja Zara Leila Carmen Lucia Nadia Tina Helen Diana Monica Rachel".split()
MALE = "Anton Paul John James David Peter Jack Adam Noah Liam Oliver Harry George Daniel Lucas Jonas Simon Sam Alex Nick Mark Luke Oscar Erik Ali Omar Ravi Kenji Wei Ivan Carlos Diego Marco Mateo Ethan Logan Jacob William Henry Robert Michael Chris Kevin Brian Jason Steve Bob Bill Frank Karl Hans Jan Lars Finn Theo Arthur Victor Martin Stefan Andreas Thomas Patrick Sergey Dmitri Yusuf Ahmed Raj Hiro".split()
