"""`samples/poems`: a decoder that writes Tang verse, from its first characters on.

A smaller `gpt-tiny` on the quatrains and regulated poems of five or seven characters a line among
the 57,607 Tang poems of the npm package chinese-poetry 2.0.1, in simplified characters (OpenCC).
Then it learns the quatrains among them alone. A prompt stands after the token that ends a text, as
the beginning of a poem does in training. No token is longer than a character. A tenth is held out
and measured in bits per character. Needs npm and the PyPI package opencc.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

from benchmarks.common import percent

RECIPE, STEPS = "gpt-tiny", 2400
PACKAGE = "chinese-poetry@2.0.1"
SUMMARY = "Goes on with a Tang poem from its first characters, in simplified Chinese"
COMMAND = 'modelzoo run samples/poems "明月" --seed 1 --max-new-tokens 60'
EXAMPLE = 'print(model.generate("明月", max_new_tokens=30))'
DATA = [
    {
        "what": "32,513 Tang poems of four or eight lines of equal length, and 3,685 held out",
        "from": "npm chinese-poetry 2.0.1",
        "licence": "MIT, as its package.json says; the poems are over a thousand years old",
    }
]
LIMITS = (
    "The form is right more often than the sense: it counts its characters, and rhymes by luck."
)
CHANGES = {
    "hidden_dim": 160,
    "num_heads": 5,
    "max_length": 128,
    "train.length": 128,
    "train.batch_size": 32,
    "train.steps": STEPS,
    "train.validation_fraction": 0.0,
    "task_options.generation": {"do_sample": True, "temperature": 0.8, "top_p": 0.9},
}
QUATRAINS = {"train.steps": 500, "train.learning_rate": 1e-3}
_SHAPE = re.compile(
    "|".join(rf"(?:[\u3400-\u9fff]{{{n}}}[，。？！；]){{{m}}}" for n in (5, 7) for m in (4, 8))
)


def fetch(folder: Path) -> list[dict]:
    """The Tang poems of the package."""
    archive = folder / f"{PACKAGE.replace('@', '-')}.tgz"
    if not archive.exists():
        subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True)
    with tarfile.open(archive) as files:
        wanted = sorted(name for name in files.getnames() if "/quantangshi/poet.tang." in name)
        return [poem for name in wanted for poem in json.load(files.extractfile(name))]


def verses(folder: Path) -> tuple[list[str], list[str]]:
    """Poems to train on and held-out ones, two lines of verse a line."""
    from opencc import OpenCC

    simplified = OpenCC("t2s").convert
    parts: tuple[dict[str, None], dict[str, None]] = {}, {}
    for poem in fetch(folder):
        text = "".join(poem["paragraphs"])
        if not _SHAPE.fullmatch(text):
            continue
        text = simplified(text)
        pair = 2 * re.search("[，。？！；]", text).end()
        lines = "\n".join(text[at : at + pair] for at in range(0, len(text), pair)) + "\n"
        parts[hashlib.sha256(text.encode()).digest()[0] < 26][lines] = None
    return list(parts[0]), list(parts[1])


def tokenizer(poems: list[str], vocab_size: int):
    """Byte-level BPE whose merges stay within a character."""
    import tokenizers
    from tokenizers import Regex, decoders, models, pre_tokenizers, processors, trainers

    from modelzoo.registry import components
    from modelzoo.runtime import Tokenizer

    specials = list(components.task("causal-lm").special_tokens)
    found = tokenizers.Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    found.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    found.train_from_iterator(poems, trainer)
    found.add_special_tokens(specials)
    (eos,) = specials
    found.post_processor = processors.TemplateProcessing(
        single=f"{eos} $A", special_tokens=[(eos, found.token_to_id(eos))]
    )
    return Tokenizer(found)


def train(folder: Path) -> Path:
    """The model directory: first of all forms, then of quatrains."""
    import modelzoo
    from modelzoo.training.train import train

    training, _ = verses(folder)
    recipe = modelzoo.read_recipe(RECIPE, CHANGES)
    first = folder / "poems-all"
    if not (first / "model.keras").is_file():
        words = tokenizer(training, recipe.table("model")["vocab_size"])
        train(recipe, training, first, tokenizer=words, force=True)
    quatrains = [text for text in training if text.count("\n") == 2]
    recipe = modelzoo.read_recipe(RECIPE, {**CHANGES, **QUATRAINS})
    train(recipe, quatrains, folder / "poems", start=first, force=True)
    return folder / "poems"


def figures(folder: Path, bundle) -> list[dict]:
    """Bits per character of held-out poems, and the share of written ones that have a form."""
    from modelzoo import evaluate, load

    training, held_out = ([t for t in p if t.count("\n") == 2] for p in verses(folder))
    letters = sum(len(text) - text.count("\n") for text in held_out)
    found = evaluate(load(folder / "poems"), held_out)
    size = sum(len(text.encode()) for text in held_out)
    counts = Counter("".join(training))
    total, kinds = counts.total(), len(counts) + 1
    by_count = -sum(math.log2((counts[c] + 1) / (total + kinds)) for text in held_out for c in text)
    written = [
        text[:2] + bundle.generate(text[:2], max_new_tokens=90, seed=n)
        for n, text in enumerate(held_out[:50])
    ]
    formed = sum(bool(_SHAPE.fullmatch(text.replace("\n", ""))) for text in written)
    return [
        {
            "what": "bits per character of held-out quatrains, characters by their counts",
            "value": round(by_count / letters, 2),
        },
        {
            "what": "bits per character of held-out quatrains, samples/poems in float32",
            "value": round(found["bits_per_byte"] * size / letters, 2),
        },
        {
            "what": "of 50 written poems, with four or eight verses of one length, %",
            "value": percent(formed / len(written)),
        },
    ]
