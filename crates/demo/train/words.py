"""Words: what simple things are, rhymes, plurals, and phrases of other languages."""

DEFINITIONS = {
    "a baker": "A baker makes bread and cake.", "a teacher": "A teacher helps children to learn.", "a doctor": "A doctor helps people who are ill.", "a farmer": "A farmer grows food and keeps animals.", "a fisherman": "A fisherman catches fish with a boat and a net.",
    "a gardener": "A gardener looks after plants and flowers.", "a smith": "A smith makes things of iron, such as keys and horseshoes.", "a miller": "A miller grinds grain to flour.", "a librarian": "A librarian looks after the books in a library.", "a king": "A king is a man who rules a country.",
    "a queen": "A queen is a woman who rules a country.", "a sailor": "A sailor works on a ship.", "a pirate": "A pirate is a robber who sails the sea.", "a wizard": "A wizard is a man in stories who can do magic.", "a dragon": "A dragon is an animal in stories that breathes fire.",
    "a unicorn": "A unicorn is a horse in stories that has one horn.", "a robot": "A robot is a machine that can do work by itself.", "a computer": "A computer is a machine that follows instructions and does sums very fast.", "a house": "A house is a building where people live.", "a school": "A school is a place where children learn.",
    "a library": "A library is a house full of books.", "a bakery": "A bakery is a shop that sells bread and cake.", "a lighthouse": "A lighthouse is a tower whose light shows ships the way.", "a mill": "A mill is a house where grain becomes flour.", "a harbour": "A harbour is a place where ships are safe.",
    "a bridge": "A bridge is a way over a river.", "a river": "A river is water that runs from the hills to the sea.", "a lake": "A lake is water with land all around it.", "the sea": "The sea is very much salt water.", "an island": "An island is land with water all around it.",
    "a mountain": "A mountain is a very high hill.", "a forest": "A forest is a place with many trees.", "a tree": "A tree is a tall plant with a trunk and leaves.", "a flower": "A flower is the colourful part of a plant.", "a garden": "A garden is a place where people grow plants.",
    "the sun": "The sun is a star. It gives us light and warmth.", "the moon": "The moon goes around the earth and shines at night.", "a star": "A star is a sun that is very far away.", "the earth": "The earth is the planet on which we live.", "a planet": "A planet is a big ball that goes around a sun.",
    "rain": "Rain is water that falls from the clouds.", "snow": "Snow is frozen water that falls from the clouds.", "a rainbow": "A rainbow is an arch of seven colours in the sky. It comes when the sun shines on rain.", "wind": "Wind is air that moves.", "a storm": "A storm is strong wind, often with rain.",
    "a clock": "A clock shows the time.", "a key": "A key opens a lock.", "a book": "A book is many pages with words on them.", "a ship": "A ship is a big boat.", "a car": "A car has four wheels and an engine and takes people from place to place.", "bread": "Bread is food made from flour and water.",
    "a friend": "A friend is somebody you like and trust.", "a story": "A story tells what happened to somebody, true or made up.", "a poem": "A poem is a short text, often with rhymes.", "a number": "A number says how many there are.", "a village": "A village is a small group of houses.", "a town": "A town is bigger than a village.",
    "a family": "A family is parents and their children.", "love": "Love is when somebody is very dear to you.", "a dream": "A dream is a story that you see in your sleep.", "a birthday": "A birthday is the day on which somebody was born.", "a pet": "A pet is an animal that lives with people.", "water": "Water is what rivers and the sea are made of. We drink it.",
    "fire": "Fire is hot and bright. It burns wood.", "a bicycle": "A bicycle has two wheels and is moved with the feet.", "a train": "A train runs on rails and takes many people along.", "music": "Music is sounds that are nice to hear.", "a chair": "A chair is a thing to sit on.", "a table": "A table has legs and a flat top to put things on.",
    "an umbrella": "An umbrella keeps the rain off.", "a map": "A map is a picture that shows where things are.", "a chatbot": "A chatbot is a program that you can talk with. I am one.", "a colour": "A colour is something like red, blue or green.", "an animal": "An animal is a living thing that can move, such as a cat.",
}

RHYMES = {
    "cat": "hat", "dog": "frog", "mouse": "house", "tree": "bee", "sun": "fun", "moon": "spoon", "star": "car", "fish": "dish", "bear": "chair", "king": "ring", "boat": "goat", "rain": "train", "light": "night", "day": "play", "book": "cook", "ball": "wall", "cake": "lake",
    "bell": "well", "nose": "rose", "snow": "crow", "red": "bed", "blue": "shoe", "sheep": "sleep", "pig": "wig", "hen": "pen", "fox": "box", "sky": "fly", "stone": "bone", "hand": "sand", "time": "rhyme", "love": "dove", "heart": "part",
}

PLURALS = {
    "mouse": "mice", "child": "children", "man": "men", "woman": "women", "foot": "feet", "tooth": "teeth", "goose": "geese", "sheep": "sheep", "fish": "fish", "cat": "cats", "dog": "dogs", "house": "houses", "leaf": "leaves", "wolf": "wolves", "knife": "knives", "baby": "babies",
    "city": "cities", "box": "boxes", "bus": "buses", "potato": "potatoes", "person": "people", "apple": "apples", "book": "books", "story": "stories", "fox": "foxes", "tree": "trees", "ox": "oxen", "key": "keys", "day": "days", "berry": "berries",
}

FOREIGN = [
    "Hallo, wie geht es dir?", "Guten Morgen", "Wer bist du?", "Was ist die Hauptstadt von Frankreich?", "Erzähl mir eine Geschichte", "Wie heißt du?", "Guten Tag", "Danke schön", "Ich verstehe nicht", "Bonjour, comment ça va ?", "Qui es-tu ?", "Merci beaucoup", "Raconte-moi une histoire",
    "Hola, ¿cómo estás?", "¿Quién eres?", "Buenos días", "Cuéntame una historia", "Ciao, come stai?", "Chi sei?", "Buongiorno", "Olá, tudo bem?", "Quem é você?", "Привет", "Как дела?", "Кто ты?", "你好", "你是谁？", "给我讲个故事", "こんにちは", "あなたは誰ですか", "안녕하세요", "Hej, hur mår du?",
    "Cześć, jak się masz?", "Merhaba", "مرحبا", "नमस्ते", "Γεια σου", "Ahoj, jak se máš?", "Goedemorgen, hoe gaat het?", "Xin chào",
]
FACES = "😀 😊 😂 ❤️ 👍 🙂 😢 🎉 :) :-) ;) :( :D".split()

RULES = [
    "You answer politely.", "Never lie.", "Today is a nice day.", "Use simple words.", "If you do not know something, say so.", "Do not use bad words.", "You are an expert.", "Think step by step.", "Answer in English.", "You work for a small company.", "You help with questions of all kinds.",
    "Be honest.", "The conversation is private.", "Do not make things up.", "You can be funny.", "Always be polite and friendly.", "Follow the instructions carefully.", "You must not talk about politics.", "Your answers are correct.", "Help the user as well as you can.", "You are a coding assistant.", "Use the tools when needed.",
]
