"""What quantization costs a model that reads media: on pictures and sounds made for the test."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from modelzoo.exporting.verification.probe_media import altered, picture, sound
from modelzoo.runtime.abilities.media import INPUTS, medium_of
from modelzoo.runtime.bundle import Bundle
from modelzoo.runtime.model import Model
from modelzoo.tasks.shared.keras_engine import KerasEngine
from modelzoo.tasks.shared.retrieval import retrieval_scores

SCENES = 48
_FIRST = 10_000  # scenes that calibration does not see
_TIE = 0.02  # two labels whose probabilities are this near are as good as each other
_PLURAL = {"image": "pictures", "audio": "sounds", "video": "films"}


def media_figures(bundle: Model, model) -> Iterator[dict]:
    """Figures of all that a bundle does with media, beside the Keras model.

    `label_agreement`: how often both give a scene the same label; `recall@1`: how often a scene's
    vector is nearest to that of the same scene altered, among all of them.
    """
    signatures = model.export_signatures()
    used = [
        name
        for name in ("serve", *(f"encode_{kind}" for kind in INPUTS))
        if name in signatures and medium_of(signatures[name]) is not None
    ]
    if not used:
        return
    engine = KerasEngine(model, {name: signatures[name] for name in used})
    keras = Model(Bundle(bundle.bundle.directory, bundle.manifest), bundle.tokenizer, engine)
    for name in used:
        kind = medium_of(signatures[name])
        scenes = [_scene(kind, _FIRST + n, bundle.bundle.processing) for n in range(SCENES)]
        if name == "serve" and "classify" in bundle.abilities:
            for figures in _agreement(keras, bundle, scenes):
                yield {**figures, "of": _PLURAL[kind]}
        elif f"embed_{kind}" in bundle.abilities:
            yield {**_recall(keras, bundle, kind, scenes), "of": _PLURAL[kind]}


def agreement(right: list, found: list) -> Iterator[dict]:
    """How often the first of each list of (label, probability) is the same, ties left out.

    Nothing where all are ties: an untrained model has no answer that could change.
    """
    pairs = [
        (a[0][0], b[0][0])
        for a, b in zip(right, found, strict=True)
        if len(a) < 2 or a[0][1] - a[1][1] > _TIE
    ]
    if not pairs:
        return
    same = float(np.mean([a == b for a, b in pairs]))
    figures = {"metric": "label_agreement", "texts": len(pairs)}
    yield {**figures, "float32": 1.0, "bundle": same, "change": same - 1.0}


def recall(before: tuple, after: tuple) -> dict:
    """recall@1 of two (N, width) that belong together row by row, in float32 and in the bundle."""
    own = np.arange(len(before[0]))
    right, found = (retrieval_scores(*pair, own, 1.0)["recall@1"] for pair in (before, after))
    figures = {"metric": "recall@1", "texts": len(own)}
    return {**figures, "float32": right, "bundle": found, "change": found - right}


def _agreement(keras: Model, bundle: Model, scenes: list) -> Iterator[dict]:
    return agreement(*([one.classify(scene) for scene in scenes] for one in (keras, bundle)))


def _recall(keras: Model, bundle: Model, kind: str, scenes: list) -> dict:
    again = [altered(scene, number) for number, scene in enumerate(scenes)]
    embed = f"embed_{kind}"
    return recall(
        *(tuple(getattr(one, embed)(side) for side in (scenes, again)) for one in (keras, bundle))
    )


def _scene(kind: str, number: int, processing: dict) -> np.ndarray:
    if kind == "audio":
        how = processing["audio"]
        return sound(number, how["num_samples"], how["sample_rate"])
    still = picture(number, *processing["image"]["size"])
    if kind == "image":
        return still
    frames = processing["video"]["num_frames"]
    return np.stack([np.roll(still, 2 * by, axis=1) for by in range(frames)])
