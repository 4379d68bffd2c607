"""Two prompts of each of nine kinds, written for the benchmark of drafts.

The first four kinds copy from their prompt, the last four do not; a question on a text is between.
"""

from __future__ import annotations

import re

ASK, ANSWER = "<ask>", "<answer>"  # what `written` puts a model's own marks for

CHARTER = (
    "The garden society of Millbrook owns forty plots behind the old brewery. A plot is rented for "
    "one year, from the first of March, and costs sixty euros, water included. Each member works "
    "two Saturdays a year on the common paths and the compost. Sheds may be up to three metres "
    "long, and fires are allowed only in the stone ring near the gate. Who leaves a plot untended "
    "for two months gets a letter from the board, and after a third month the plot goes to the "
    "next person on the waiting list, which has twenty-three names at present."
)
MIGRATION = (
    "Arctic terns fly farther than any other bird. They nest near the Arctic in the northern "
    "summer, and when it ends they fly to the pack ice of the Antarctic, where summer begins. In "
    "2010 a study with tiny light sensors followed eleven birds and found journeys of 71,000 "
    "kilometres a year on average. The terns do not take the shortest way: they follow winds that "
    "spiral over the Atlantic, and rest for about a month in the middle of the North Atlantic, "
    "where the water is rich in food. A tern may live for thirty years, so its flights add up to "
    "three journeys to the Moon and back."
)
INVENTORY = """\
class Inventory:
    def __init__(self, capacity):
        self.capacity = capacity
        self.counts = {}

    def add(self, name, amount=1):
        if sum(self.counts.values()) + amount > self.capacity:
            raise ValueError("the inventory is full")
        self.counts[name] = self.counts.get(name, 0) + amount

    def remove(self, name, amount=1):
        if self.counts.get(name, 0) < amount:
            raise KeyError(name)
        self.counts[name] -= amount
"""
ROMAN = """\
def to_roman(number):
    values = [(10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]
    result = ""
    for value, letters in values:
        while number >= value:
            result += letters
            number -= value
    return result
"""


def written(text: str, marks: tuple[str, str]) -> str:
    """A prompt with a model's marks of a user's turn: what opens it, and what ends it.

    >>> written(PROMPTS["chat"][1], ("<user>", "</user>"))
    '<user>How do I keep tomatoes fresh for a week?</user>'
    """
    return text.replace(ASK, marks[0]).replace(ANSWER, marks[1])


def prompt_ids(tokenizer, text: str) -> list[int]:
    """The ids of a prompt whose control tokens are control tokens, as llama.cpp reads them."""
    control = {tokenizer.id_to_token(id): id for id in tokenizer.special_ids}
    parts = re.split(f"({'|'.join(map(re.escape, control))})", text)
    ids = ([control[part]] if part in control else tokenizer.encode(part) for part in parts)
    return [*tokenizer.prefix, *(id for some in ids for id in some)]


def _asked(text: str) -> str:
    return f"{ASK}{text}{ANSWER}"


def _code(task: str, code: str) -> str:
    return _asked(f"{task}\n\n```python\n{code}```")


_QUOTE = "Repeat the following text word for word.\n\n"
_DOCSTRING = "Add a docstring to this Python code and give back the whole code."
_EDIT = "Rename the variables of this Python code to longer names and give back the whole code."
_SUMMARY = "Summarize the following text in two sentences.\n\n"
_FRENCH = "Translate into French: "

PROMPTS = {
    "quote": [_asked(_QUOTE + CHARTER), _asked(_QUOTE + MIGRATION)],
    "docstring": [_code(_DOCSTRING, INVENTORY), _code(_DOCSTRING, ROMAN)],
    "edit": [_code(_EDIT, INVENTORY), _code(_EDIT, ROMAN)],
    "summary": [_asked(_SUMMARY + CHARTER), _asked(_SUMMARY + MIGRATION)],
    "question": [
        _asked(CHARTER + "\n\nWhat does a plot cost, and where are fires allowed?"),
        _asked(MIGRATION + "\n\nHow far do the birds fly in a year, and where do they rest?"),
    ],
    "code": [
        "import csv\nimport sys\n\n\ndef read_table(path):\n",
        'class Queue:\n    """First in, first out."""\n\n    def __init__(self):\n',
    ],
    "story": [
        "The night train to Trieste was almost empty when",
        "Nobody in the valley remembered who had built the bridge, but",
    ],
    "chat": [
        _asked("Why is the sky blue in the day and red in the evening?"),
        _asked("How do I keep tomatoes fresh for a week?"),
    ],
    "French": [
        _asked(_FRENCH + "The library opens at nine, and the children may borrow three books."),
        _asked(_FRENCH + "My sister has lost her keys, so we will be late for dinner."),
    ],
}
