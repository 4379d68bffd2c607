"""Decoding of image files, compared with the need of a training step.

    python -m benchmarks.house.image_files

JPEG and PNG files of 256 x 256 pixels are decoded, resized and augmented by 1, 2 and 4 threads, as
in a training that keeps nothing (`cache=False`). The training step of a recipe is timed with
batches that lie ready, that come from files, and from files that were decoded before: alone, and
with batches made ahead of the step.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.common import rounded, write_result

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
    parser = common.parser(__doc__)
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
    decoding, training = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for suffix in (".jpg", ".png"):
            examples = write(Path(scratch), suffix)
            for workers in (1, 2, 4):
                speed = decoded(examples, processing, workers)
                row = {"files": suffix, "threads": workers, "images/s": rounded(speed)}
                decoding.append(row)
        options = {"processing": processing, "batch_size": BATCH, "augment": AUGMENT}
        kept = media_classification_batches(examples, "image", **options)
        files = media_classification_batches(examples, "image", cache=False, **options)
        ready = [kept.batch(step) for step in range(8)]
        for title, stream in (
            ("that lie ready", (batch for batch in itertools.cycle(ready))),
            ("of decoded files in memory", endless(kept)),
            ("of decoded files, made ahead", ahead(endless(kept))),
            ("of files", endless(files)),
            ("of files, made ahead", ahead(endless(files))),
        ):
            speed = trained(model, stream, args.steps)
            training.append({f"{args.recipe}, batches": title, "images/s": rounded(speed)})
    write_result(
        "image_files",
        {"decoding": decoding, "training": training},
        packages=("keras", "tensorflow", "pillow"),
        folder=args.results,
    )


if __name__ == "__main__":
    main()
