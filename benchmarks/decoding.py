"""Does decoding keep up with training? Images a second by 1, 2 and 4 threads, beside a step's need.

    python benchmarks/decoding.py

writes JPEG and PNG files of 256 x 256 pixels, and decodes, resizes and augments them as a training
does that keeps nothing (`cache=False`). Beside it stands how many images a second the training step
of a recipe takes when its batches lie ready, and how many it gets when they come from files, or
from files that were decoded before: alone, and with batches made ahead of the step.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE, COUNT, BATCH = 256, 256, 32
AUGMENT = {"crop": 0.2, "flip": 0.5, "color": 0.2}


def write(folder: Path, suffix: str) -> list[dict]:
    """Pictures with the grain that photographs have: noise over shapes."""
    from PIL import Image

    from modelzoo.exporting.verification.probe_media import picture

    found = []
    for number in range(COUNT):
        path = folder / f"{number}{suffix}"
        Image.fromarray(picture(number, SIDE, SIDE)).save(path, quality=90)
        found.append({"image": path, "label": number % 2})
    return found


def decoded(examples, processing, workers: int) -> float:
    """Images a second through `MediaRows` and `augmenter`."""
    from modelzoo.data.augment import augmenter
    from modelzoo.data.media_rows import MediaRows, preparer

    rows = MediaRows(examples, "image", preparer("image", processing), workers, cache=False)
    alter = augmenter("image", AUGMENT, workers)
    begun, generator = time.monotonic(), np.random.default_rng(0)
    for start in range(0, COUNT, BATCH):
        alter(rows[np.arange(start, start + BATCH)], generator)
    return COUNT / (time.monotonic() - begun)


def trained(model, batches, steps: int) -> float:
    """Images a second through `fit`, of an endless iterator of batches."""
    model.fit(batches, steps_per_epoch=2, epochs=1, shuffle=False, verbose=0)  # traced
    begun = time.monotonic()
    model.fit(batches, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0)
    return steps * BATCH / (time.monotonic() - begun)


def endless(batches):
    return (batches.batch(step) for step in itertools.count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="vit-tiny", help="whose training step is timed")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=30, help="of each timing")
    args = parser.parse_args()

    import modelzoo
    from modelzoo.data.media_classification import media_classification_batches
    from modelzoo.data.media_rows import ahead
    from modelzoo.recipe import parse_set

    model = modelzoo.build(
        args.recipe, **{"task_options.labels": ["0", "1"], **parse_set(args.set)}
    )
    processing = model.processing()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"# {cores} cores; {COUNT} files of {SIDE} x {SIDE} to {processing['image']['size']}")
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in (".jpg", ".png"):
            examples = write(Path(scratch), suffix)
            for workers in (1, 2, 4):
                speed = decoded(examples, processing, workers)
                print(f"decode {suffix}, {workers} threads {speed:>22,.0f} images/s", flush=True)
        options = {"processing": processing, "batch_size": BATCH, "augment": AUGMENT}
        kept = media_classification_batches(examples, "image", **options)
        files = media_classification_batches(examples, "image", cache=False, **options)
        ready = [kept.batch(step) for step in range(8)]
        for title, stream in (
            ("training, batches lie ready", (batch for batch in itertools.cycle(ready))),
            ("training, decoded files in memory", endless(kept)),
            ("training, decoded files, made ahead", ahead(endless(kept))),
            ("training, files", endless(files)),
            ("training, files, made ahead", ahead(endless(files))),
        ):
            speed = trained(model, stream, args.steps)
            print(f"{title:<36} {speed:>6,.0f} images/s", flush=True)


if __name__ == "__main__":
    main()
