"""`samples/bible`: `gpt-tiny` writes in the manner of the King James Bible.

The five books of `benchmarks.training.kjv` are held out and measured in bits per byte.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.training import kjv

RECIPE, STEPS = "gpt-tiny", 250
SUMMARY = "Writes on in the manner of the King James Bible: a GPT of 2.6M parameters"
COMMAND = 'modelzoo run samples/bible "In the beginning" --seed 1'
EXAMPLE = 'print(model.generate("In the beginning", max_new_tokens=20))'
DATA = [
    {
        "what": "The King James Version of the Bible, 1611",
        "from": "the Debian package bible-kjv-text",
        "licence": 'public domain, as its copyright file says; it asks to keep the legend "Bible '
        'Retrieval System, Chip Chapin, Hewlett Packard Company"',
    }
]
LIMITS = "It has read one book, and makes up the rest: what it says is not a quotation."
CHANGES = {
    "train.steps": STEPS,
    "task_options.generation": {"do_sample": True, "temperature": 0.7, "top_p": 0.95},
}


def train(folder: Path) -> Path:
    """The model directory."""
    import modelzoo
    from modelzoo.training.train import train

    training, held_out = kjv.write(folder / "kjv")
    recipe = modelzoo.read_recipe(RECIPE, CHANGES)
    train(recipe, training, folder / "bible", validation=held_out, force=True)
    return folder / "bible"


def figures(folder: Path, bundle) -> list[dict]:
    """Bits per byte of the five held-out books."""
    from modelzoo import evaluate, load

    training, held_out = kjv.write(folder / "kjv")
    found = evaluate(load(folder / "bible"), held_out)
    baseline = kjv.xz_bits_per_byte(kjv.read(training), kjv.read(held_out))
    return [
        {"system": "xz -9e after the other books", "bits per byte": round(baseline, 3)},
        {"system": "samples/bible in float32", "bits per byte": round(found["bits_per_byte"], 3)},
    ]
