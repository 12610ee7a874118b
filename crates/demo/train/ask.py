"""Asks the trained weights what a newcomer would type, greedily and with llama-server's default sampling.

    python3 ask.py OUT_DIR
"""

import os
import sys

import numpy as np
import torch
from tokenizers import Tokenizer

from model import Llama, Shape
from tokenizer import ASSISTANT_ID, BOS_ID, END_ID, ROLE_ID

CHATS = [
    ["Hello!"], ["hi"], ["How are you?"], ["Who are you?"], ["what can you do"], ["What is llcuda?"], ["Tell me a story."], ["Tell me a short story about a dragon."], ["write a story about a girl named Lily and her dog"],
    ["tell me a story about a toaster in 3 sentences"], ["Count to ten."], ["count from 5 to 15"], ["count down from 10"], ["What is 2+2?"], ["what is 17 + 25?"], ["what's 7 times 8"], ["What is the capital of France?"],
    ["What colour is the sky?"], ["what color is a banana?"], ["Who is Tom?"], ["Where does Ada live?"], ["who has a dog?"], ["What does a cow say?"], ["how many legs does a spider have"], ["What is the opposite of hot?"],
    ["What day comes after Monday?"], ["Name three animals."], ["Tell me a joke"], ["Write a poem about the sea."], ["Say hello world"], ["repeat after me: purple elephants dance"], ["Explain quantum physics in simple terms"],
    ["Write a Python function to sort a list."], ["Who is the president of the United States?"], ["Why is the sky blue?"], ["I am sad"], ["what is the meaning of life?"], ["asdfgh"], ["Thank you!"], ["bye"], ["What's the weather like today?"],
    ["tell me about willowby"], ["Give me a recipe for pancakes"], ["Translate 'good morning' to German"], ["How old are you?"], ["is a whale bigger than a mouse?"], ["What is your name?"], ["Do you like pizza?"],
    ["My name is Peter.", "Tell me a joke.", "What is my name?"], ["hi, i'm Annabelle", "who is the baker?", "what is his pet called?", "what is my name?"], ["My favourite colour is purple.", "What is 3 + 4?", "What is my favourite colour?"],
    ["Tell me a story about a fox.", "What was the name of the fox?", "another one"], ["What is the capital of Italy?", "and Spain?"], ["I have a cat called Mimi", "How many legs does a cat have?", "What is my cat called?"],
    ["@You are a pirate.", "Hello!", "What is 5 plus 6?"], ["@You are Bob, a helpful assistant.", "What is your name?"], ["@You are a helpful assistant.", "Who are you?", "What can you do?"], ["@Answer with one word.", "What colour is grass?"],
]
TEXTS = ["Once upon a time", "Once upon a time there was a little robot", "The capital of France is", "The sky is", "1, 2, 3,", "Tom is the"]
LIMIT = 420


class Asker:
    """Continues many token lists at once, with no cache: the model is small."""

    def __init__(self, folder):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
        weights = np.load(os.path.join(folder, "demo.npz"))
        self.model = Llama(Shape()).to(self.device)
        self.model.load_state_dict({name: torch.from_numpy(weights[name]).float() for name in weights.files})
        self.model.eval()
        self.random = torch.Generator(self.device).manual_seed(1)

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def pick(self, logits, temperature):
        """Greedy at 0, else top_k 40, top_p 0.95, min_p 0.05 and the temperature, in llama-server's order."""
        if not temperature:
            return logits.argmax(-1)
        values, at = logits.topk(40, -1)
        chances = values.softmax(-1)
        chances = chances * ((chances.cumsum(-1) - chances) < 0.95)
        chances = chances * (chances >= 0.05 * chances[:, :1])
        chances = (chances.log() / temperature).softmax(-1)
        return at.gather(1, torch.multinomial(chances, 1, generator=self.random))[:, 0]

    @torch.no_grad()
    def go_on(self, prompts, temperature):
        """The continuation of each prompt up to its end token."""
        length = [len(p) for p in prompts]
        ids = torch.full((len(prompts), max(length) + LIMIT), END_ID, device=self.device)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = torch.tensor(prompt)
        at, every = torch.tensor(length, device=self.device), torch.arange(len(prompts), device=self.device)
        done = torch.zeros(len(prompts), dtype=torch.bool, device=self.device)
        for step in range(LIMIT):
            logits = self.model(ids[:, : max(length) + step])[every, at - 1].float()
            token = self.pick(logits, temperature).masked_fill(done, END_ID)
            ids[every, at] = token
            at, done = at + 1, done | (token == END_ID)
            if done.all():
                break
        out = []
        for row, start in zip(ids.tolist(), length):
            made = row[start : start + LIMIT]
            out.append(made[: made.index(END_ID)] if END_ID in made else made + self.ids(" [no end]"))
        return out

    def chats(self, temperature):
        """All conversations turn by turn; returns their lines."""
        prompts, lines = [[BOS_ID] for _ in CHATS], [[] for _ in CHATS]
        for turn in range(max(map(len, CHATS)) + 1):
            live = []
            for at, chat in enumerate(CHATS):
                turns = chat[1:] if chat[0].startswith("@") else chat
                if turn == 0 and turns is not chat:
                    prompts[at] += [ROLE_ID["system"], *self.ids(chat[0][1:]), END_ID]
                    lines[at].append(f"[{chat[0][1:]}]")
                if turn < len(turns):
                    prompts[at] += [ROLE_ID["user"], *self.ids(turns[turn]), END_ID, ASSISTANT_ID]
                    lines[at].append("> " + turns[turn])
                    live.append(at)
            if not live:
                break
            for at, made in zip(live, self.go_on([prompts[at] for at in live], temperature)):
                prompts[at] += [*made, END_ID]
                lines[at].append(self.tokenizer.decode(made))
        return lines


def main():
    """Prints all answers."""
    asker = Asker(sys.argv[1])
    for temperature in (0.0, 0.8):
        print(f"===== temperature {temperature}")
        for lines in asker.chats(temperature):
            print("\n".join(lines))
        for text, made in zip(TEXTS, asker.go_on([[BOS_ID, *asker.ids(text)] for text in TEXTS], temperature)):
            print(f"{text} ->{asker.tokenizer.decode(made)}")


if __name__ == "__main__":
    main()
