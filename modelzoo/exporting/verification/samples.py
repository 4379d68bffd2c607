"""Inputs to verify a signature with: real text where there is a tokenizer. numpy only.

T tokens of a signature's static length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from modelzoo.exporting.verification.probe_media import sound
from modelzoo.runtime.engines.base import SignatureInfo, enlarged
from modelzoo.signature import Signature

TEXTS = (
    "The river was low that summer, and the boys walked across it without getting their knees "
    "wet. On the far side stood a mill that nobody had used since 1953.",
    "清晨的雾还没有散,渔船已经出海了。老人坐在码头上,一边补网,一边数着远处的灯。",
    "She asked him three questions: where he came from, what he wanted, and why now? "
    "他只回答了第一个:“从北方来。”",
    "def area(radius):\n    return 3.14159 * radius ** 2  # square metres\n",
)


class Samples:
    """Token ids of the built-in sentences, or seeded ones where there is no tokenizer.

    Args:
        tokenizer: a `runtime.Tokenizer`, or None.
        vocab_size: of the model; ids stay below it.
        max_length: of the model; positions stay below it.
    """

    def __init__(self, tokenizer, vocab_size: int | None, max_length: int | None = None):
        self.vocab_size = vocab_size or 1
        self.max_length = max_length
        self.pad = 0 if tokenizer is None else tokenizer.roles.get("pad", 0)
        self._texts = [self._ids(tokenizer, number) for number in range(len(TEXTS))]

    def _ids(self, tokenizer, number: int) -> list[int]:
        ids = [] if tokenizer is None else tokenizer.encode(TEXTS[number])
        ids = [token for token in ids if token < self.vocab_size]
        return ids or np.random.default_rng(number).integers(0, self.vocab_size, 40).tolist()

    def tokens(self, count: int, first: int = 0) -> list[int]:
        """Exactly `count` ids: the sentences one after another, from the `first` on."""
        ids: list[int] = []
        while len(ids) < count:
            ids += self._texts[first % len(self._texts)]
            first += 1
        return ids[:count]


def inputs_for(
    info: SignatureInfo,
    samples: Samples,
    known: Mapping[str, np.ndarray],
    *,
    start: int = 0,
    share: float = 1.0,
    first: int = 0,
) -> tuple[dict[str, np.ndarray], int]:
    """Inputs of one call of a signature.

    Args:
        known: tensors that earlier signatures gave: an encoder's memory, a state.
        start: the position of the first token.
        share: how much of T holds tokens; the rest is padding.
        first: the sentence to begin with.

    Returns:
        The arrays, and how many tokens they hold.
    """
    steps = "positions" in info.inputs  # a decoder: -1 says that there is no token
    length = info.inputs["token_ids"].shape[-1] if "token_ids" in info.inputs else 0
    count = max(1, round(share * length)) if length else 0
    ids = samples.tokens(start + count, first)[start:]
    if steps and not length:  # an image, whose vectors fill all its positions
        count = info.inputs["positions"].shape[-1]
    rng = np.random.default_rng(first)
    arrays = {}
    for name, tensor in info.inputs.items():
        before = grown(known.get(name), tensor.shape) if name in info.outputs else known.get(name)
        if before is not None and before.shape == tensor.shape:
            value = before
        elif name == "token_ids":
            value = ids + [-1 if steps else samples.pad] * (length - count)
        elif name.endswith("_token_ids"):  # another text: a decoder's, or a second tower's
            value = samples.tokens(tensor.shape[-1], first)
        elif name == "positions":
            value = np.arange(start, start + tensor.shape[-1])
        elif name.endswith("mask"):
            value = np.arange(tensor.shape[-1]) < (count or tensor.shape[-1])
        elif name == "segment_ids":
            value = np.arange(tensor.shape[-1]) >= count // 2
        elif name in ("images", "frames"):
            value = rng.integers(0, 256, tensor.shape)
        elif name == "audio":
            # Tones and not white noise, for which a Whisper multiplies float32's own rounding.
            heard = round(share * tensor.shape[-1])
            value = np.pad(sound(first, heard), (0, tensor.shape[-1] - heard))
        elif name == "num_samples":
            value = round(share * info.inputs["audio"].shape[-1])
        elif name in info.outputs or not np.issubdtype(np.dtype(tensor.dtype), np.floating):
            value = 0  # a state that nothing has been written to
        else:
            value = rng.normal(0, 0.1, tensor.shape)
        value = np.asarray(value)
        arrays[name] = np.broadcast_to(value, tensor.shape).astype(tensor.dtype)
    return arrays, count


def grown(state: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """A state in a window of this or a larger size; `None` where it does not fit."""
    if state is None or state.ndim != len(shape) or np.greater(state.shape, shape).any():
        return None
    return enlarged(state, shape)


def info_of(signature: Signature) -> SignatureInfo:
    """A model's own signature, as `signature_calls` takes it; its cache is a state."""
    state = {key: spec for key, spec in signature.inputs.items() if key.startswith("kv_cache")}
    return SignatureInfo(signature.inputs, state)


def signature_calls(
    signatures: Mapping[str, SignatureInfo], samples: Samples
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The calls that a verification makes: (signature, inputs), to be answered with outputs.

    A generator: send it each call's outputs, which later signatures of the same round read. A
    round with half-empty inputs is followed by one with full ones.
    """
    for first, share in enumerate((0.6, 1.0)):
        known: dict[str, np.ndarray] = {}
        start = 0
        for name, info in signatures.items():
            windows = [t.shape[2] for key, t in info.inputs.items() if key.startswith("kv_cache_k")]
            taken = next((k for k in ("token_ids", "positions") if k in info.inputs), None)
            length = info.inputs[taken].shape[-1] if taken else 0
            if windows:
                end = min([*windows, samples.max_length or windows[0]])
                start = max(0, min(start, end - length))
            arrays, count = inputs_for(info, samples, known, start=start, share=share, first=first)
            outputs = yield name, arrays
            known = {**known, **arrays, **outputs}
            known.pop("token_ids", None)
            known.pop("positions", None)
            if "positions" in info.inputs:
                start += count
