"""A model made ready for small integers, before it is converted; see `calibrate` and `affine`."""

from __future__ import annotations

from itertools import count

import numpy as np

from modelzoo.exporting.quantization.precision import Mode
from modelzoo.exporting.quantization.quantize import Quantization
from modelzoo.exporting.verification.probe_media import scene_inputs
from modelzoo.exporting.verification.probe_text import calibration_texts
from modelzoo.exporting.verification.samples import Samples, info_of, signature_calls
from modelzoo.exporting.verification.verify import run_in_keras

STRENGTH = 0.4  # of smoothing; 0.3 to 0.5 were alike on SmolLM2
ROWS, LENGTH = 8, 128  # of text to calibrate with


def prepare(model, mode: Mode, how: Quantization) -> None:
    """Change a model's weights in place: for int8 no answer of it, for int4 to what 4 bits hold.

    Both: what enters the language-model head is rotated, so that 8 bits suffice for it.
    int8: channels of activations are evened out, and what follows a gate is rotated.
    int4: each matrix becomes 16 levels a block, with a scale and an offset.
    """
    from modelzoo.exporting.quantization.calibrate import blocks_of, smooth

    def precision(path):
        return how.precision(path, mode)

    if mode.name == "int8" and how.smooth and blocks_of(model):
        smooth(model, _inputs(model), STRENGTH)
    if mode.quantized and how.rotate:
        from modelzoo.exporting.quantization.rotate import rotate, rotate_head

        rotate(model, skip=lambda path: precision(path) != "int8")
        rotate_head(model, skip=lambda path: precision(path) == "float32")
    if mode.name == "int4":
        from modelzoo.exporting.quantization.affine import split_affine

        split_affine(model, how.block_size, skip=lambda path: precision(path) != "int4")


def _inputs(model):
    """Token ids (ROWS, LENGTH) of prose, or seeded ones, as the backbone takes them.

    Of a model that reads media a function that runs it over pictures and sounds.
    """
    backbone = model.backbone
    if getattr(backbone, "processing", None):
        return lambda: _run_signatures(model)
    longest = min(LENGTH, backbone.max_length or LENGTH)
    ids = _ids(model.tokenizer, ROWS * longest, backbone.vocab_size).reshape(ROWS, longest)
    return {"token_ids": ids, "decoder_token_ids": ids} if hasattr(backbone, "encode") else ids


def _run_signatures(model) -> None:
    """Everything that the model does on a device, in Keras, on what it is made for.

    Without `verify_{T}` and `score_{T}`, which are `decode` of more tokens.
    """
    sizes = (getattr(model.backbone, name, None) for name in ("vocab_size", "max_length"))
    samples = Samples(model.tokenizer, *sizes)
    signatures = {
        name: one
        for name, one in model.export_signatures().items()
        if not name.startswith(("verify_", "score_"))
    }
    infos = {name: info_of(one) for name, one in signatures.items()}
    calls = signature_calls(infos, samples)
    name, arrays = next(calls)
    for first in count():
        shown = scene_inputs(signatures[name].inputs, model.processing(), first)
        try:
            name, arrays = calls.send(run_in_keras(signatures[name], {**arrays, **shown}))
        except StopIteration:  # two rounds over the signatures
            return


def _ids(tokenizer, count: int, vocab_size: int) -> np.ndarray:
    ids: list[int] = []
    for text in calibration_texts() if tokenizer is not None else ():
        ids += [token for token in tokenizer.encode(text[:4000]) if token < vocab_size]
        if len(ids) >= count:
            break
    if not ids:
        ids = np.random.default_rng(0).integers(0, vocab_size, count).tolist()
    return np.resize(np.array(ids, np.int32), count)
