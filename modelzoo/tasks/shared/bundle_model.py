"""A bundle in the place of a Keras model: what `Task.evaluate` asks, answered by its signatures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from modelzoo.backbones.contrastive import INPUTS
from modelzoo.errors import ModelzooError
from modelzoo.recipe import Recipe
from modelzoo.registry.of_recipe import task_of
from modelzoo.runtime.abilities.sources import media_inputs, media_kinds
from modelzoo.runtime.engines.base import plan_steps
from modelzoo.runtime.engines.static_shapes import Size, plan_calls, sizes_of
from modelzoo.runtime.model import Model

__all__ = ["BundleModel"]


class BundleModel:
    """Answers batches of arrays as the Keras model of the same recipe does, on the device engine.

    Rows go through the signatures one by one, or as many together as a signature takes. A model
    that writes reads one token after another through `decode`, as it does on a device.

    Args:
        bundle: what `runtime.load` gives.
        recipe: of its lock file.

    Raises:
        ModelzooError: a bundle whose signatures give no figures of its task.

    Call: the inputs of the task's batches -> its outputs, as arrays.
    """

    def __init__(self, bundle: Model, recipe: Recipe):
        self.bundle, self.recipe, self.tokenizer = bundle, recipe, bundle.tokenizer
        self.engine, self.task = bundle.engine, task_of(recipe)
        signatures = self.engine.signatures
        self.kinds = [kind for kind in INPUTS if f"encode_{kind}" in signatures]
        self._frame = self.processing().get("caption") or {"image_tokens": 0, "in_text": False}
        longest, base = None, bundle.embedding_signature or ""
        if "decode" in signatures:
            self._answer: Callable[[Mapping], Any] = self._written
            longest = plan_steps(signatures).max_length
        elif "serve" in signatures:
            self._answer, base = self._served, "serve"
        elif "contrastive" in self.processing():
            self._answer = self._compared
        elif base == "embed":
            self._answer = self._embedded
        else:
            raise ModelzooError(
                f"the signatures of a bundle give no figures of the task {recipe.task}",
                where=bundle.bundle.directory,
                next_step="measure the model directory that it was exported from",
            )
        if base in signatures and "token_ids" in signatures[base].inputs:
            longest = sizes_of(signatures, base)[-1].length
        elif "encode" in signatures and "token_ids" in signatures["encode"].inputs:
            longest = min(longest or 2**31, signatures["encode"].inputs["token_ids"].shape[1])
        self.max_length = longest
        self.backbone = SimpleNamespace(
            max_length=longest,
            image_tokens=self._frame["image_tokens"],
            image_token=self._frame["image_token"] if self._frame["in_text"] else None,
        )
        self.reads_padding = self.processing().get("contrastive", {}).get("reads_padding", False)
        self._made: dict[str, Any] = {}

    def need_tokenizer(self) -> Any:
        return self.bundle._text

    def processing(self) -> dict:
        """How raw media become inputs; see `TaskModel.processing`."""
        return self.bundle.bundle.processing

    def compile_once(self, key: str, make: Callable[[], Any]) -> Any:
        """`make()` the first time, what it made from then on."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def predict_on_batch(self, x: Mapping) -> Any:
        return self._answer({key: np.asarray(value) for key, value in x.items()})

    def __call__(self, x: Mapping, training: bool | None = None) -> Any:
        return self.predict_on_batch(x)

    # === Each kind of signature ===

    def _served(self, x: Mapping) -> Any:
        return self.task.of_device(self._run("serve", x), x)

    def _embedded(self, x: Mapping) -> np.ndarray:
        """Vectors of texts (B, T), or of pairs of them (B, 2, T)."""
        length = x["token_ids"].shape[-1]
        flat = {key: value.reshape(-1, length) for key, value in x.items()}
        vectors = self._run("embed", flat)["embedding"]
        return vectors.reshape(*x["token_ids"].shape[:-1], -1)

    def _compared(self, x: Mapping) -> dict[str, np.ndarray]:
        """Vectors (B, E) of each kind that the rows hold."""
        return {
            kind: self._run(f"encode_{kind}", x)["embedding"]
            for kind in self.kinds
            if INPUTS[kind][0] in x
        }

    def _written(self, x: Mapping) -> np.ndarray:
        """Logits (B, T, V) of what a decoder reads; zeros in the padding, and where an image is."""
        prefix = "decoder_" if "decoder_token_ids" in x else ""
        ids, mask = x[f"{prefix}token_ids"], x[f"{prefix}padding_mask"].astype(bool)
        vocabulary = self.engine.signatures["decode"].outputs["logits"].shape[-1]
        found = np.zeros((*ids.shape, vocabulary), np.float32)
        # An image is at the positions `begin` to `end`; a text that does not mention it comes next.
        begin = len(self._frame["before"]) if self._frame["in_text"] else 0
        end = begin + self._frame["image_tokens"]
        shift = 0 if self._frame["in_text"] else end
        for row, tokens in enumerate(ids):
            stepper = self.engine.stepper(self._source(x, row))
            for place in range(shift and -shift, _ends(mask[row])):
                position = place + shift
                if begin < end and position == begin:
                    positions = np.arange(begin, end, dtype=np.int32)
                    stepper.prefill_image(x["images"][row : row + 1], positions[None])
                if not begin <= position < end:
                    inputs = (np.array([[one]], np.int32) for one in (tokens[place], position))
                    found[row, place] = stepper.decode(*inputs)[0]
        return found

    def _source(self, x: Mapping, row: int) -> dict[str, np.ndarray] | None:
        """The inputs of an encoder for a row."""
        signatures = self.engine.signatures
        if "encode" not in signatures:
            return None
        infos, media = signatures["encode"].inputs, {}
        own = {key: _fitted(x[key][row : row + 1], infos[key].shape) for key in infos}
        if media_kinds(signatures) and "frames" in x:
            frames = x["frames"][row]
            frames = frames[x["frame_mask"][row].astype(bool)] if "frame_mask" in x else frames
            media = media_inputs(frames if len(frames) else None)
        return {**own, **media}

    def _run(self, base: str, x: Mapping) -> dict[str, np.ndarray]:
        """The outputs of a signature for all rows; those of tokens as long as the rows."""
        signatures = self.engine.signatures
        names, reads_text = signatures[base].inputs, "token_ids" in signatures[base].inputs
        count = len(next(iter(x.values())))
        if reads_text:
            x = {"segment_ids": np.zeros_like(x["token_ids"]), **x}
            mask = x.get("padding_mask", np.ones_like(x["token_ids"]))
            sizes = sizes_of(signatures, base)
            of_tokens = self._of_tokens(sizes)
            # What is said of the padding counts where it is said of each token.
            length = mask.shape[1] if of_tokens else 0
            calls = plan_calls(sizes, [length or _ends(row) for row in mask])
        else:
            calls, of_tokens = [(Size(0, 1, base), [row]) for row in range(count)], set()
        found: dict[str, np.ndarray] = {}
        for size, rows in calls:
            infos = signatures[size.name].inputs
            filled = rows + rows[-1:] * (size.rows - len(rows))
            inputs = {key: _fitted(x[key][filled], infos[key].shape) for key in names}
            for key, value in self.engine.run(size.name, inputs).items():
                if key in of_tokens:
                    value = _fitted(value, (*x["token_ids"][filled].shape, *value.shape[2:]))
                if key not in found:
                    found[key] = np.zeros((count, *value.shape[1:]), value.dtype)
                found[key][rows] = value[: len(rows)]
        return found

    def _of_tokens(self, sizes: Sequence[Size]) -> set[str]:
        """The outputs that hold something for each token."""
        infos = [(size, self.engine.signatures[size.name].outputs) for size in sizes]
        several = len({size.length for size in sizes}) > 1
        return {
            key
            for key, first in infos[0][1].items()
            if (len(first.shape) > 2 or several or key != "logits")
            and all(outputs[key].shape[1:2] == (size.length,) for size, outputs in infos)
        }


def _ends(mask: np.ndarray) -> int:
    """Places up to the last real one; one at least."""
    return int(np.flatnonzero(mask)[-1]) + 1 if np.any(mask) else 1


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cut, or filled up with zeros, at the ends of its first two axes."""
    cut = array[tuple(slice(size) for size in shape[:2])] if array.ndim > 1 else array[: shape[0]]
    return np.pad(cut, [(0, size - own) for size, own in zip(shape, cut.shape, strict=True)])
